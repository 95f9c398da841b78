import { eq, sql } from "drizzle-orm";
import type { Database, Executor } from "../db/client.ts";
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
  /** About how many texts it has sealed so far: those are counted once a minute. */
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

/** The keys that the database knows, in the order of their first use. */
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
 * What keeps a gateway with these keys from starting, a line for each key; null: there are none yet. Keys are changed
 * one beside the other: with none of the registered ones a gateway would seal what the others can't open, and they
 * what it can't. One that lacks besides is a fault where it seals something of the `places`, for which all records
 * may be read.
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

/** Whether the key seals anything. All records may be read for it. */
export async function isUsed(db: Database, keyId: string, places: readonly SealedPlace[]): Promise<boolean> {
  for (const place of places) if (await place.isSealedUnder(db, keyId)) return true;
  return false;
}

const isAnother = (id: string) =>
  `the key "${id}" is another one than the key of this id that the database was sealed with`;

const isUnknown = (id: string) =>
  `the key "${id}" is missing, with which this database was started before: a new key comes beside it first`;

/**
 * The keys that `choose` returns when it gets the registered ones. Afterwards the newest of them is registered, too. No
 * other process registers keys meanwhile, nor sees what `choose` does in the transaction. If it fails, nothing happens.
 */
export function registerNewestKey(
  db: Database,
  now: number,
  choose: (registered: readonly RegisteredKey[], tx: Executor) => Promise<Keyring>,
): Promise<Keyring> {
  return db.transaction(async (tx) => {
    await tx.execute("lock table encryption_keys in share row exclusive mode");
    const keys = await choose(await listRegisteredKeys(tx), tx);
    const id = keys.newestId;
    await insertKey(tx, { id, fingerprint: keys.fingerprint(id), createdAt: toTimestamptz(now) });
    return keys;
  });
}
