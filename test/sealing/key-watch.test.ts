import { randomBytes } from "node:crypto";
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, describe, test } from "vitest";
import { ConfigError } from "../../src/lib/settings.ts";
import { replaceKeyFile } from "../../src/sealing/key-file.ts";
import { SEEN_WITHIN_MS, watchKeyFile } from "../../src/sealing/key-watch.ts";
import { Keyring } from "../../src/sealing/keyring.ts";

const folder = mkdtempSync(join(tmpdir(), "key-watch-"));
const key = (id: string) => ({ id, secret: randomBytes(32) });
const [older, newer, newest] = [key("2024"), key("2025"), key("2026")];
/** Long enough for two looks. */
const LOOKED_MS = SEEN_WITHIN_MS / 2;
const ends: (() => void)[] = [];

afterAll(() => {
  for (const end of ends) end();
  rmSync(folder, { recursive: true, force: true });
});

function watch(file: string, keys: Keyring) {
  const seen = { newest: [] as string[], failures: [] as unknown[] };
  const end = watchKeyFile(file, keys, {
    onNewest: (id) => seen.newest.push(id),
    onFailure: (error) => seen.failures.push(error),
  });
  ends.push(end);
  return { ...seen, end };
}

// They mostly wait.
describe.concurrent("a watch of the key file", () => {
  test("adopts a key that was added after the keyring was opened and before the watch began", async ({
    expect,
  }) => {
    const file = join(folder, "early");
    const keys = new Keyring([older]);
    await replaceKeyFile(file, [newer, older]);
    const { newest: seen, failures } = watch(file, keys);
    await expect.poll(() => keys.newestId).toBe("2025");
    await replaceKeyFile(file, [newest, newer, older]);
    await expect.poll(() => keys.newestId).toBe("2026");
    expect({ seen, failures }).toEqual({ seen: ["2025", "2026"], failures: [] });
  });

  test("reports a file that can't be read once, and adopts its keys once it can", async ({ expect }) => {
    const file = join(folder, "damaged");
    const keys = new Keyring([older]);
    writeFileSync(file, "no key\n");
    const { failures } = watch(file, keys);
    await expect.poll(() => failures).toEqual([expect.any(ConfigError)]);
    await wait(LOOKED_MS);
    expect(failures).toHaveLength(1);
    await replaceKeyFile(file, [newest]);
    await expect.poll(() => keys.newestId).toBe("2026");
    expect(failures).toHaveLength(1);
    // What is there again can be lost again.
    for (const count of [2, 3]) {
      renameSync(file, `${file}.aside`);
      symlinkSync(file, file);
      await expect.poll(() => failures.length).toBe(count);
      renameSync(`${file}.aside`, file);
      await wait(LOOKED_MS);
    }
  });

  test("adopts no key once it was ended", async ({ expect }) => {
    const file = join(folder, "ended");
    const keys = new Keyring([older]);
    await replaceKeyFile(file, [older]);
    const { newest: seen, failures, end } = watch(file, keys);
    await wait(LOOKED_MS / 2);
    end();
    await replaceKeyFile(file, [newest, older]);
    await wait(LOOKED_MS);
    expect(keys.newestId).toBe("2024");
    expect({ seen, failures }).toEqual({ seen: [], failures: [] });
  });
});
