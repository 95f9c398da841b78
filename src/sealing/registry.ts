import { eq, sql } from "drizzle-orm";
import { type Administrator, recordActForAll } from "../administration/record-act.ts";
import type { Database, Executor } from "../db/client.ts";
import { encryptionKeys } from "../db/key-schema.ts";
import { epochMillis, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { Keyring } from "./keyring.ts";
import type { SealedPlace } from "./place.ts";

const given = sql.placeholder;

/** A key that has been used with this database. */
export interface RegisteredKey {
  id: string;
  fingerprint: string;
  /** When it was first used: epoch milliseconds. */
  createdAt: number;
  /** Approximately how many texts it has sealed. The count is updated once a minute. */
  seals: number;
}

const selectKeys = statement(
  (db) =>
    db
      .select({
        id: encryptionKeys.id,
        fingerprint: encryptionKeys.fingerprint,
        createdAt: epochMillis(encryptionKeys.createdAt),
        seals: sql<number>`${encryptionKeys.seals}::float8`,
      })
      .from(encryptionKeys)
      .orderBy(encryptionKeys.createdAt, encryptionKeys.id),
  ([id, fingerprint, createdAt, seals]: [string, string, number, number]): RegisteredKey => ({
    ...{ id, fingerprint, createdAt, seals },
  }),
);

/** The registered keys in the order of their first use. */
export function listRegisteredKeys(db: Executor): Promise<RegisteredKey[]> {
  return selectKeys(db, {});
}

const insertKey = statement((db) =>
  db
    .insert(encryptionKeys)
    .values({ id: given("id"), fingerprint: given("fingerprint"), createdAt: given("createdAt") })
    .onConflictDoNothing(),
);

const deleteKey = statement((db) => db.delete(encryptionKeys).where(eq(encryptionKeys.id, given("id"))));

/**
 * Returns one line for each key that prevents a start; `keys` is null if there are none yet. At least one registered key
 * must be present: otherwise this gateway would seal texts that others can't open, and vice versa. Any other missing key
 * is a fault if something in `places` is sealed under it. Checking that can read all records.
 */
export async function findKeyFaults(
  db: Database,
  keys: Keyring | null,
  registered: readonly RegisteredKey[],
  places: readonly SealedPlace[],
): Promise<string[]> {
  const faults: string[] = [];
  for (const { id, fingerprint } of registered) {
    if (keys?.keyIds.includes(id)) {
      if (keys.fingerprint(id) !== fingerprint) faults.push(isAnother(id));
    } else if (await isUsed(db, id, places)) {
      faults.push(`the key "${id}" is missing, and the database holds what only it can open`);
    }
  }
  const latest = registered.at(-1);
  const knowsNone = latest && !registered.some(({ id }) => keys?.keyIds.includes(id));
  if (knowsNone && faults.length === 0) faults.push(isUnknown(latest.id));
  return faults;
}

/**
 * Unregisters keys that are older than the newest, are not in the keyring, and seal nothing. Returns their ids. A start
 * must not do this, because another gateway could have such a key as its newest and be about to use it. Every account's
 * trail gets an event by `by`, and none if `by` is null, as in tests.
 */
export async function forgetUnusedKeys(
  db: Database,
  keys: Keyring,
  places: readonly SealedPlace[],
  by: Administrator | null,
): Promise<string[]> {
  const forgotten: string[] = [];
  for (const { id } of await listRegisteredKeys(db)) {
    if (id === keys.newestId) break;
    if (keys.keyIds.includes(id) || (await isUsed(db, id, places))) continue;
    await db.transaction(async (tx) => {
      await deleteKey(tx, { id });
      if (by)
        await recordActForAll(tx, by, { action: "encryption_key_retired", subject: id, at: Date.now() });
    });
    forgotten.push(id);
  }
  return forgotten;
}

/** Whether anything is sealed under the key. This can read all records. */
export async function isUsed(db: Database, keyId: string, places: readonly SealedPlace[]): Promise<boolean> {
  for (const place of places) if (await place.isSealedUnder(db, keyId)) return true;
  return false;
}

const isAnother = (id: string) =>
  `the key "${id}" is another one than the key of this id that the database was sealed with`;

const isUnknown = (id: string) =>
  `the key "${id}" is missing, with which this database was started before: a new key comes beside it first`;

/**
 * Calls `choose` with the registered keys, registers the newest of the keys that it returns, and returns them. It is one
 * transaction, during which no other process registers keys. If it fails, nothing has changed. If the key was not
 * registered before, every account's trail has the event.
 */
export function registerNewestKey(
  db: Database,
  now: number,
  choose: (registered: readonly RegisteredKey[], tx: Executor) => Promise<Keyring>,
  by: Administrator | null,
): Promise<Keyring> {
  return db.transaction(async (tx) => {
    await tx.execute("lock table encryption_keys in share row exclusive mode");
    const registered = await listRegisteredKeys(tx);
    const keys = await choose(registered, tx);
    const id = keys.newestId;
    if (by && !registered.some((known) => known.id === id)) {
      await recordActForAll(tx, by, { action: "encryption_key_added", subject: id, at: now });
    }
    await insertKey(tx, { id, fingerprint: keys.fingerprint(id), createdAt: toTimestamptz(now) });
    return keys;
  });
}
