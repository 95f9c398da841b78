import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Executor } from "../../src/db/client.ts";
import { sealNumber } from "../../src/kyc/number/document-number.ts";
import { insertKyc, type NewKyc } from "../../src/kyc/store/write.ts";
import { ConfigError } from "../../src/lib/settings.ts";
import { SEALED_PLACES } from "../../src/sealed-places.ts";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { findKeyring, keyFileOf, openKeyring } from "../../src/sealing/open-keyring.ts";
import { forgetUnusedKeys, listRegisteredKeys } from "../../src/sealing/registry.ts";
import { createTestDatabase } from "../support/database.ts";
import { newKey } from "../support/keys.ts";
import { someEvent } from "../support/records.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let dataDir: string;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "kyc-keys-"));
  await database.db.execute(
    "delete from kycs; delete from encryption_keys; delete from milestones; alter table kycs drop constraint if exists kycs_number_is_bound",
  );
  return () => rm(dataDir, { recursive: true, force: true });
});

const warnings: string[] = [];
/** A start with these keys, or with the file in the data folder. */
async function open(entries?: string[], databaseUrl?: string, folder = dataDir): Promise<Keyring> {
  warnings.length = 0;
  const encryptionKeys = entries && parseKeys(entries).keys;
  const config = { encryptionKeys, databaseUrl, dataDir: folder };
  return openKeyring(config, database.db, SEALED_PLACES, (message) => warnings.push(message), null);
}

const faultsOf = async (work: Promise<unknown>) => {
  const error = await work.then(() => undefined).catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(ConfigError);
  return (error as ConfigError).faults.join("\n");
};

const faultsIn = (start: PromiseSettledResult<unknown> | undefined) =>
  start?.status === "rejected" ? String(start.reason.faults) : "";

async function sealOne(keys: Keyring, account = "acme"): Promise<void> {
  const id = "0000000000000001";
  const kyc: NewKyc = {
    ...{ id, customerId: "c", verificationStatus: "pending", documentType: "visa", version: 1 },
    ...sealNumber(keys, account, { id, version: 1 }, "X1"),
    ...{
      plainNumber: null,
      createdAt: 1,
      updatedAt: 1,
      statusSince: 1,
      expiresAt: null,
      relationshipEndedAt: null,
    },
  };
  await insertKyc(database.db, account, kyc, someEvent(account, id));
}

/** Lets starts find the registry as it is, and register their keys only after `meanwhile`: how each of them went. */
async function startsAtOnce(
  starts: (() => Promise<unknown>)[],
  meanwhile: (tx: Executor) => Promise<void> = async () => {},
) {
  let started: Promise<PromiseSettledResult<unknown>[]> | undefined;
  await database.db.transaction(async (tx) => {
    await tx.execute("lock table encryption_keys in share row exclusive mode");
    started = Promise.allSettled(starts.map((start) => start()));
    const waiting = "select 1 from pg_locks where not granted and relation = 'encryption_keys'::regclass";
    await expect.poll(async () => (await tx.execute(waiting)).length).toBe(starts.length);
    await meanwhile(tx);
  });
  return (await started) ?? [];
}

const registered = async () => (await listRegisteredKeys(database.db)).map(({ id }) => id);

describe("keys from the environment", () => {
  const [older, newer] = [newKey("2025"), newKey("2026")];

  test("the newest is registered, and others may come and go while nothing is sealed under them", async () => {
    await open([older]);
    await open([newer, older]);
    expect(await registered()).toEqual(["2025", "2026"]);
    await open([newer]);
    expect(await registered()).toEqual(["2025", "2026"]);
  });

  test("one that is sealed under only after another start went without it is still asked for", async () => {
    const gateway = await open([older]);
    await open([newer, older]);
    await open([newer]);
    await sealOne(gateway);
    expect(await faultsOf(open([newer]))).toContain('the key "2025" is missing');
  });

  test("a start with none of those that the database knows is refused, though nothing is sealed yet, and registers none", async () => {
    await open([older]);
    expect(await faultsOf(open([newer]))).toBe(
      'ENCRYPTION_KEYS: the key "2025" is missing, with which this database was started before: a new key comes beside it first',
    );
    expect(await registered()).toEqual(["2025"]);
    await open([newer, older]);
    expect(await faultsOf(open([newKey("2027")]))).toContain('the key "2026" is missing');
    expect(await registered()).toEqual(["2025", "2026"]);
  });

  test("of first starts at once with keys of their own one goes on, and the others are refused however often they are repeated", async () => {
    const wanted = ["a", "b", "c"].map((id) => [newKey(id)]);
    const starts = await startsAtOnce(wanted.map((entries) => () => open(entries)));
    expect(starts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
    const [winner, ...more] = await registered();
    expect(more).toEqual([]);
    const again = await Promise.allSettled(wanted.map((entries) => open(entries)));
    expect(again.map(({ status }) => status)).toEqual(starts.map(({ status }) => status));
    for (const faults of again.map(faultsIn).filter((text) => text !== "")) {
      expect(faults).toContain(`the key "${winner}" is missing`);
    }
  });

  test("a database whose key was rotated and forgotten starts with the new one alone", async () => {
    await sealOne(await open([older]));
    const keys = await open([newer, older]);
    for (const place of SEALED_PLACES) await place.reseal(database.db, keys, () => {});
    await forgetUnusedKeys(database.db, await open([newer]), SEALED_PLACES, null);
    expect(await registered()).toEqual(["2026"]);
    expect((await open([newer])).newestId).toBe("2026");
    expect(await faultsOf(open([older]))).toContain('the key "2026" is missing');
  });

  test("one is forgotten only when it was removed, came before the newest and seals nothing", async () => {
    const forget = async (entries: string[]) =>
      forgetUnusedKeys(database.db, new Keyring(parseKeys(entries).keys), SEALED_PLACES, null);
    await sealOne(await open([older]));
    await open([newer, older]);
    expect(await forget([newer, older])).toEqual([]);
    expect(await forget([newer])).toEqual([]);
    await database.db.execute("delete from kycs");
    expect(await forget([older])).toEqual([]);
    expect(await forget([newer])).toEqual(["2025"]);
    expect(await registered()).toEqual(["2026"]);
  });

  test("to find them writes nothing", async () => {
    const find = (entries?: string[]) =>
      findKeyring(
        { encryptionKeys: entries && parseKeys(entries).keys, databaseUrl: undefined, dataDir },
        database.db,
        SEALED_PLACES,
      );
    expect((await find([newer])).keys?.keyIds).toEqual(["2026"]);
    expect((await find()).keys).toBe(null);
    expect(await registered()).toEqual([]);
    await expect(stat(keyFileOf({ dataDir }))).rejects.toThrow("ENOENT");
  });

  test("one that another process sealed with while this one started refuses the start", async () => {
    const other = new Keyring(parseKeys([older]).keys);
    const [start] = await startsAtOnce([() => open([newer])], async (tx) => {
      await tx.execute("insert into encryption_keys values ('2025', $1, now())", [other.fingerprint("2025")]);
      await sealOne(other);
    });
    expect(faultsIn(start)).toContain('ENCRYPTION_KEYS: the key "2025" is missing');
    expect((await open([newer, older])).newestId).toBe("2026");
  });

  test("one that sealed something and lacks refuses the start, by its id", async () => {
    await sealOne(await open([older]), "zeta");
    await sealOne(await open([newer, older]), "acme");
    expect(await faultsOf(open([newer]))).toContain('ENCRYPTION_KEYS: the key "2025" is missing');
    expect(await faultsOf(open([older]))).toContain('ENCRYPTION_KEYS: the key "2026" is missing');
    expect((await open([older, newer])).newestId).toBe("2025");
  });

  test("another key of the same id refuses the start, also before it sealed anything", async () => {
    await open([older]);
    const other = newKey("2025");
    const faults = await faultsOf(open([other]));
    expect(faults).toContain('the key "2025" is another one');
    expect(faults).not.toContain(other.split(":")[1]);
  });

  test("of two starts at once with two keys of one id one is refused", async () => {
    const starts = await Promise.allSettled([open([newKey("x")]), open([newKey("x")])]);
    expect(starts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  test("they must be there for a database on another host", async () => {
    const faults = await faultsOf(open(undefined, "postgres://db.example/kyc"));
    expect(faults).toContain("ENCRYPTION_KEYS=2026:$(openssl rand -base64 32)");
    await expect(stat(keyFileOf({ dataDir }))).rejects.toThrow("ENOENT");
  });
});

describe("keys from the file", () => {
  test("the file is made at the first start, for its owner alone, and read at the next", async () => {
    const first = await open();
    const file = keyFileOf({ dataDir });
    expect(((await stat(file)).mode & 0o777).toString(8)).toBe("600");
    expect(await readFile(file, "utf8")).toMatch(/^[\w-]{1,32}:[\w+/]{43}=\n$/);
    expect(first.fingerprint(first.newestId)).toBe((await open()).fingerprint(first.newestId));
    expect(warnings).toEqual([]);
  });

  test.each(["localhost", "127.0.0.1:5432", "[::1]"])(
    "serves a database on %s too, with a warning",
    async (host) => {
      await open(undefined, `postgres://user:secret@${host}/kyc`);
      expect(warnings).toEqual([expect.stringContaining("ENCRYPTION_KEYS")]);
      expect(warnings.join()).not.toContain("secret");
    },
  );

  test("starts at once share one", async () => {
    const rings = await Promise.all(Array.from({ length: 6 }, () => open()));
    expect(new Set(rings.map((keys) => keys.fingerprint(keys.newestId))).size).toBe(1);
  });

  test("of first starts at once with a file each one goes on, and the other has made none", async () => {
    const folder = await mkdtemp(join(tmpdir(), "kyc-keys-"));
    const starts = await startsAtOnce([() => open(), () => open(undefined, undefined, folder)]);
    const files = await Promise.allSettled([dataDir, folder].map((dir) => stat(keyFileOf({ dataDir: dir }))));
    await rm(folder, { recursive: true });
    expect(starts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(files.map(({ status }) => status)).toEqual(starts.map(({ status }) => status));
    expect(starts.map(faultsIn).join("")).toMatch(/^the file .*is missing/);
  });

  test("none is made if the database knows a key, though nothing is sealed yet", async () => {
    await open([newKey("2025")]);
    expect(await faultsOf(open())).toMatch(/^the file .*: the key "2025" is missing/);
    await expect(stat(keyFileOf({ dataDir }))).rejects.toThrow("ENOENT");
  });

  test("one that can't be written refuses the start, as a fault of its own", async () => {
    await symlink(join(dataDir, "nowhere"), join(dataDir, "astray"));
    const faults = await faultsOf(open(undefined, undefined, join(dataDir, "astray")));
    expect(faults).toMatch(/^the file .*encryption-keys can't be made: E[A-Z]+$/);
    expect(await registered()).toEqual([]);
  });

  test("a lost one refuses the start, and is not made anew", async () => {
    const keys = await open();
    await rm(keyFileOf({ dataDir }));
    expect(await faultsOf(open())).toContain(`the key "${keys.newestId}" is missing, with which`);
    await sealOne(keys);
    expect(await faultsOf(open())).toContain(`the key "${keys.newestId}" is missing, and the database holds`);
    await expect(stat(keyFileOf({ dataDir }))).rejects.toThrow("ENOENT");
  });

  test.each(["", "x", "2026:short", `${newKey("a")}\n${newKey("a")}`])(
    "one that holds %j refuses the start",
    async (text) => {
      await writeFile(keyFileOf({ dataDir }), text);
      expect(await faultsOf(open())).toContain("entry");
    },
  );
});
