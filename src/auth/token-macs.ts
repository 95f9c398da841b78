import { eq, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { withRetries } from "../db/retry.ts";
import { epochMillis, tokens } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { type Keyring, keyIdOf } from "../sealing/keyring.ts";
import { recordMilestone } from "../sealing/milestones.ts";
import type { SealedPlace } from "../sealing/place.ts";
import { goThrough, inSteps } from "../sealing/reseal.ts";
import type { Scope } from "./scopes.ts";

const given = sql.placeholder;

/** A token as it is stored. Times are epoch milliseconds. */
export interface StoredToken {
  accountId: string;
  id: string;
  name: string;
  hash: string;
  scopes: Scope[];
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
  /** Null if an earlier release, or somebody else, wrote the row. */
  mac: string | null;
}

/** The text that the MAC covers: everything that the gateway relies on. */
function textOf({ accountId, id, name, hash, scopes, createdAt, expiresAt, revokedAt }: StoredToken): string {
  return JSON.stringify(["tokens", accountId, id, name, hash, scopes, createdAt, expiresAt, revokedAt]);
}

/** The MAC of the token's other fields, under the newest key. */
export function macOf(keys: Keyring, token: StoredToken): string {
  return keys.authenticate(textOf(token));
}

/**
 * Fails with an Error without values unless a gateway with these keys wrote the token exactly like this, and with a
 * MissingKeyError if the keyring does not have the key of its MAC.
 */
export function requireAuthentic(keys: Keyring, token: StoredToken): void {
  if (token.mac === null) throw new Error("it has no MAC: a gateway of this release did not write it");
  if (!keys.isAuthentic(token.mac, textOf(token))) throw new Error("its MAC is not that of its fields");
}

export const storedColumns = {
  accountId: tokens.accountId,
  id: tokens.id,
  name: tokens.name,
  hash: tokens.hash,
  scopes: tokens.scopes,
  createdAt: epochMillis(tokens.createdAt),
  expiresAt: epochMillis<number | null>(tokens.expiresAt),
  revokedAt: epochMillis<number | null>(tokens.revokedAt),
  mac: tokens.mac,
};

export type TokenRow = [
  accountId: string,
  id: string,
  name: string,
  hash: string,
  scopes: Scope[],
  createdAt: number,
  expiresAt: number | null,
  revokedAt: number | null,
  mac: string | null,
];

export function toStoredToken(row: TokenRow): StoredToken {
  const [accountId, id, name, hash, scopes, createdAt, expiresAt, revokedAt, mac] = row;
  return { accountId, id, name, hash, scopes, createdAt, expiresAt, revokedAt, mac };
}

/** Tokens per step. */
const STEP = 500;

const selectSome = statement(
  (db) =>
    db
      .select(storedColumns)
      .from(tokens)
      .where(sql`(${tokens.accountId}, ${tokens.id}) > (${given("accountId")}, ${given("id")})`)
      .orderBy(tokens.accountId, tokens.id)
      .limit(given("limit")),
  toStoredToken,
);

/** All tokens, in steps. */
const listSteps = (db: Executor) =>
  inSteps<{ accountId: string; id: string }, StoredToken>(
    ({ accountId, id }, limit) => selectSome(db, { accountId, id, limit }),
    { accountId: "", id: "" },
    STEP,
  );

const replace = statement(
  () => sql`
    update tokens set mac = new.mac
    from unnest(${given("accounts")}::text[], ${given("ids")}::text[], ${given("old")}::text[], ${given("macs")}::text[])
      as new(account_id, id, old, mac)
    where tokens.account_id = new.account_id and tokens.id = new.id and tokens.mac is not distinct from new.old
    returning 1`,
  () => true,
);

/** Gives each token a MAC under the newest key, unless its MAC has changed since it was read. Returns how many changed. */
async function replaceMacs(db: Executor, keys: Keyring, some: readonly StoredToken[]): Promise<number> {
  if (some.length === 0) return 0;
  const written = await replace(db, {
    accounts: some.map(({ accountId }) => accountId),
    ids: some.map(({ id }) => id),
    old: some.map(({ mac }) => mac),
    macs: some.map((token) => macOf(keys, token)),
  });
  return written.length;
}

const countKeys = statement(
  () => sql`select split_part(mac, '.', 1) as key_id, count(*)::float8 from tokens group by key_id`,
  (row: [keyId: string | null, count: number]) => row,
);

const selectUnder = statement(
  (db) =>
    db
      .select({ id: tokens.id })
      .from(tokens)
      .where(eq(sql`split_part(${tokens.mac}, '.', 1)`, given("keyId")))
      .limit(1),
  () => true,
);

/** The MACs of tokens, for the `keys` commands. */
export const tokenMacs: SealedPlace = {
  name: "tokens",
  settle: async (tx, keys, { now, onWarning }) => {
    if (keys.reached.has("tokens_authentic")) return;
    let count = 0;
    for await (const some of listSteps(tx)) {
      const old = some.filter(({ mac }) => mac === null);
      count += await replaceMacs(tx, keys, old);
    }
    // An operator who sees this twice knows that somebody has removed the milestone.
    if (count > 0) onWarning(`${count} tokens of an earlier release are taken as authentic, this once`);
    await recordMilestone(tx, keys, "tokens_authentic", now);
  },
  countByKey: async (db) => new Map(await countKeys(db, {})),
  isSealedUnder: async (db, keyId) => (await selectUnder(db, { keyId })).length > 0,
  ...goThrough<StoredToken, null>((db, keys) => ({
    steps: listSteps(db),
    nameOf: ({ accountId, id }) => ({ kind: "token", account: accountId, id }),
    isDone: ({ mac }) => mac !== null && keyIdOf(mac) === keys.newestId,
    open: (token) => {
      requireAuthentic(keys, token);
      return () => null;
    },
    replace: (replacements) => {
      const old = replacements.map(({ from }) => from);
      return withRetries(() => replaceMacs(db, keys, old));
    },
  })),
};
