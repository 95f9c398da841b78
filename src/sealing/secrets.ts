import { randomBytes } from "node:crypto";
import { eq, sql } from "drizzle-orm";
import type { Database } from "../db/client.ts";
import { secrets } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { type Keyring, keyIdOf } from "./keyring.ts";
import { describeFailure, type Resealing, type SealedPlace } from "./place.ts";

/** Bytes. */
const LENGTH = 32;
const given = sql.placeholder;
/** The associated data: a sealed secret opens only under its own name. */
const placeOf = (name: string) => `secrets ${name}`;

const insert = statement((db) =>
  db
    .insert(secrets)
    .values({ name: given("name"), sealed: given("sealed") })
    .onConflictDoNothing(),
);
const selectOne = statement(
  (db) =>
    db
      .select({ sealed: secrets.sealed })
      .from(secrets)
      .where(eq(secrets.name, given("name"))),
  ([sealed]: [string]) => sealed,
);

/**
 * The secret with this name: 32 random bytes, the same for every gateway on the database and after key rotation. The
 * first call creates it; concurrent first calls return the same secret. Fails with a MissingKeyError if the keyring does
 * not have its key, and with an Error if somebody has changed it.
 */
export async function openSecret(db: Database, keys: Keyring, name: string): Promise<Buffer> {
  let [sealed] = await selectOne(db, { name });
  if (sealed === undefined) {
    await insert(db, { name, sealed: keys.seal(randomBytes(LENGTH).toString("base64url"), placeOf(name)) });
    [sealed] = await selectOne(db, { name });
  }
  return Buffer.from(keys.open(sealed as string, placeOf(name)), "base64url");
}

const selectAll = statement(
  (db) => db.select({ name: secrets.name, sealed: secrets.sealed }).from(secrets).orderBy(secrets.name),
  ([name, sealed]: [string, string]) => ({ name, sealed }),
);
const replace = statement(
  () => sql`
    update secrets set sealed = ${given("sealed")}
    where name = ${given("name")} and sealed = ${given("old")} returning 1`,
  () => true,
);

/** The secrets, as the `keys` commands see them: there are very few. */
export const sealedSecrets: SealedPlace = {
  name: "secrets",
  countByKey: async (db) => {
    const counts = new Map<string, number>();
    for (const { sealed } of await selectAll(db, {})) {
      const id = keyIdOf(sealed);
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    return counts;
  },
  isSealedUnder: async (db, keyId) =>
    (await selectAll(db, {})).some(({ sealed }) => keyIdOf(sealed) === keyId),
  reseal: (db, keys, onStep) => visit(db, keys, { writes: true, onStep }),
  check: async (db, keys, onStep) => (await visit(db, keys, { writes: false, onStep })).unreadable,
};

/** Opens all secrets and, if it `writes`, seals those anew that are not sealed under the newest key. */
async function visit(
  db: Database,
  keys: Keyring,
  { writes, onStep }: { writes: boolean; onStep: (seen: number) => void },
): Promise<Resealing> {
  const total: Resealing = { resealed: 0, unreadable: [] };
  for (const { name, sealed: old } of await selectAll(db, {})) {
    onStep(1);
    try {
      const text = keys.open(old, placeOf(name));
      if (!writes || keyIdOf(old) === keys.newestId) continue;
      const sealed = keys.seal(text, placeOf(name));
      total.resealed += (await replace(db, { name, old, sealed })).length;
    } catch (error) {
      total.unreadable.push({ kind: "secret", account: null, id: name, why: describeFailure(error) });
    }
  }
  return total;
}
