import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { checkWithKeys, keyArea } from "../../src/cli/doctor/check-keys.ts";
import { parseConfig } from "../../src/config/config.ts";
import { mintKey, replaceKeyFile } from "../../src/sealing/key-file.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { keyFileOf } from "../../src/sealing/open-keyring.ts";

const dataDir = mkdtempSync(join(tmpdir(), "doctor-keys-"));
const config = parseConfig({ DATA_DIR: dataDir });
const file = keyFileOf(config);
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

const [first, second, third] = [1, 2, 3].map((n) => mintKey(Date.UTC(2026, 0, n))) as [Key, Key, Key];
type Key = ReturnType<typeof mintKey>;

/** A check that finds fault with every keyring but those whose newest key is this one. */
const checkFor =
  ({ id }: Key, meanwhile: () => Promise<void>) =>
  async (keys: Keyring | null) => {
    await meanwhile();
    return [
      keys?.newestId === id ? keyArea.ok("tokens", "all") : keyArea.problem("tokens", "forged", "look"),
    ];
  };

test("what a check finds wrong is checked again with the keys that came meanwhile, as often as new ones come", async () => {
  const coming = [
    [second, first],
    [third, second, first],
  ];
  const add = async () => {
    const next = coming.shift();
    if (next) await replaceKeyFile(file, next);
  };
  const findings = await checkWithKeys(config, new Keyring([first]), checkFor(third, add));
  expect(findings.map(({ state }) => state)).toEqual(["ok"]);
});

test("what is wrong with the present keys is found once", async () => {
  await replaceKeyFile(file, [second, first]);
  let checks = 0;
  const count = async () => {
    checks += 1;
  };
  const findings = await checkWithKeys(config, new Keyring([second, first]), checkFor(third, count));
  expect(findings.map(({ state }) => state)).toEqual(["problem"]);
  expect(checks).toBe(1);
});
