import { randomBytes } from "node:crypto";
import { eq, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { secrets } from "../db/key-schema.ts";
import { statement } from "../db/statement.ts";
import { type Keyring, keyIdOf } from "./keyring.ts";
import type { SealedPlace } from "./place.ts";
import { goThrough } from "./reseal.ts";

/** Bytes. */
const LENGTH = 32;
const given = sql.placeholder;
/** The associated data: a sealed secret opens only under its own name. */
const associatedDataOf = (name: string) => `secrets ${name}`;

const insert = statement(
  () => sql`
    insert into secrets (name, sealed) values (${given("name")}, ${given("sealed")})
    on conflict do nothing returning 1`,
  () => true,
);
const selectOne = statement(
  (db) =>
    db
      .select({ sealed: secrets.sealed })
      .from(secrets)
      .where(eq(secrets.name, given("name"))),
  ([sealed]: [string]) => sealed,
);
const selectSome = statement(
  () => sql`select name, sealed from secrets where starts_with(name, ${given("prefix")}) order by name`,
  ([name, sealed]: [string, string]) => ({ name, sealed }),
);

const openOne = (keys: Keyring, name: string, sealed: string): Buffer =>
  Buffer.from(keys.open(sealed, associatedDataOf(name)), "base64url");

/**
 * The secret with this name: 32 random bytes, the same for every gateway on the database and after key rotation. The
 * first call creates it; concurrent first calls return the same secret. Fails with a MissingKeyError if the keyring does
 * not have its key, and with an Error if somebody has changed it.
 */
export async function openSecret(db: Executor, keys: Keyring, name: string): Promise<Buffer> {
  let [sealed] = await selectOne(db, { name });
  if (sealed === undefined) {
    await createSecret(db, keys, name);
    [sealed] = await selectOne(db, { name });
  }
  return openOne(keys, name, sealed as string);
}

/** Creates the secret with this name: 32 random bytes. Returns false, and changes nothing, if it exists. */
export async function createSecret(db: Executor, keys: Keyring, name: string): Promise<boolean> {
  const sealed = keys.seal(randomBytes(LENGTH).toString("base64url"), associatedDataOf(name));
  return (await insert(db, { name, sealed })).length > 0;
}

/** The existing secrets whose names begin with the prefix, by name. Fails as `openSecret`. */
export async function openSecrets(db: Executor, keys: Keyring, prefix: string): Promise<Map<string, Buffer>> {
  const found = await selectSome(db, { prefix });
  return new Map(found.map(({ name, sealed }) => [name, openOne(keys, name, sealed)]));
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

/** The secrets, for the `keys` commands. There are very few. */
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
  ...goThrough<{ name: string; sealed: string }, string>((db, keys) => ({
    steps: (async function* () {
      yield await selectAll(db, {});
    })(),
    nameOf: ({ name }) => ({ kind: "secret", account: null, id: name }),
    isDone: ({ sealed }) => keyIdOf(sealed) === keys.newestId,
    open: ({ name, sealed }) => {
      const text = keys.open(sealed, associatedDataOf(name));
      return () => keys.seal(text, associatedDataOf(name));
    },
    replace: async (replacements) => {
      let written = 0;
      for (const { from, to } of replacements) {
        written += (await replace(db, { name: from.name, old: from.sealed, sealed: to })).length;
      }
      return written;
    },
  })),
};
