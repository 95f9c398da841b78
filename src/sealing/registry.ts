import { eq, sql } from "drizzle-orm";
import type { Database } from "../db/client.ts";
import { encryptionKeys, epochMillis, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { Keyring } from "./keyring.ts";
import type { SealedPlace } from "./place.ts";

const given = sql.placeholder;

/** A key that has sealed something of this database. */
export interface RegisteredKey {
  id: string;
  fingerprint: string;
  /** When it was first used: epoch milliseconds. */
  createdAt: number;
}

const selectKeys = statement(
  (db) =>
    db
      .select({
        id: encryptionKeys.id,
        fingerprint: encryptionKeys.fingerprint,
        createdAt: epochMillis(encryptionKeys.createdAt),
      })
      .from(encryptionKeys)
      .orderBy(encryptionKeys.createdAt, encryptionKeys.id),
  ([id, fingerprint, createdAt]: [string, string, number]): RegisteredKey => ({ id, fingerprint, createdAt }),
);

/** The keys that the database knows, in the order of their first use. */
export function listRegisteredKeys(db: Database): Promise<RegisteredKey[]> {
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
 * What keeps these keys from opening all that is sealed under the registered ones, a line for each key; null: there are
 * none yet. For a key that is not among them it may read all records: where it has sealed nothing it is no fault.
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
  return faults;
}

/**
 * Afterwards the database does not know keys any more that came before the newest, are not among these and seal
 * nothing; their ids come back. No start does this: another gateway may have one as its newest, and be about to seal
 * under it.
 */
export async function forgetUnusedKeys(
  db: Database,
  keys: Keyring,
  places: readonly SealedPlace[],
): Promise<string[]> {
  const forgotten: string[] = [];
  for (const { id } of await listRegisteredKeys(db)) {
    if (id === keys.newestId) break;
    if (keys.keyIds.includes(id) || (await isUsed(db, id, places))) continue;
    await deleteKey(db, { id });
    forgotten.push(id);
  }
  return forgotten;
}

async function isUsed(db: Database, keyId: string, places: readonly SealedPlace[]): Promise<boolean> {
  for (const place of places) if (await place.isSealedUnder(db, keyId)) return true;
  return false;
}

const isAnother = (id: string) =>
  `the key "${id}" is another one than the key of this id that the database was sealed with`;

/**
 * Afterwards the database knows a key under the id of the newest one, and when it was first used. Of two that come with
 * one id at the same time it knows one: `findKeyFaults` tells which.
 */
export async function registerNewestKey(db: Database, keys: Keyring, now: number): Promise<void> {
  const id = keys.newestId;
  await insertKey(db, { id, fingerprint: keys.fingerprint(id), createdAt: toTimestamptz(now) });
}
