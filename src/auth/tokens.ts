import { randomBytes } from "node:crypto";
import { and, asc, eq, sql } from "drizzle-orm";
import { batched } from "../db/batch.ts";
import type { Database } from "../db/client.ts";
import { epochMillis, tokens, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { Scope } from "./scopes.ts";
import { hashToken, mintToken } from "./token.ts";

const given = sql.placeholder;

/** A token as its operators see it: everything but the secret. Times are epoch milliseconds. */
export interface TokenRecord {
  id: string;
  accountId: string;
  name: string;
  scopes: Scope[];
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
}

const columns = {
  id: tokens.id,
  accountId: tokens.accountId,
  name: tokens.name,
  scopes: tokens.scopes,
  createdAt: epochMillis(tokens.createdAt),
  expiresAt: epochMillis<number | null>(tokens.expiresAt),
  revokedAt: epochMillis<number | null>(tokens.revokedAt),
};

type TokenRow = [string, string, string, Scope[], number, number | null, number | null];

function toToken([id, accountId, name, scopes, createdAt, expiresAt, revokedAt]: TokenRow): TokenRecord {
  return { id, accountId, name, scopes, createdAt, expiresAt, revokedAt };
}

const insertToken = statement((db) =>
  db.insert(tokens).values({
    accountId: given("accountId"),
    id: given("id"),
    name: given("name"),
    hash: given("hash"),
    scopes: given("scopes"),
    createdAt: given("createdAt"),
    expiresAt: given("expiresAt"),
  }),
);

/**
 * Afterwards the account has one token more, and the answer is its secret, which can't be had again.
 * `expiresAt` is in epoch milliseconds; null: it never expires.
 */
export async function issueToken(
  db: Database,
  token: { accountId: string; name: string; scopes: readonly Scope[]; expiresAt: number | null; now: number },
): Promise<string> {
  const secret = mintToken();
  await insertToken(db, {
    accountId: token.accountId,
    id: `tok_${randomBytes(8).toString("hex")}`,
    name: token.name,
    hash: hashToken(secret),
    scopes: token.scopes,
    createdAt: toTimestamptz(token.now),
    expiresAt: token.expiresAt === null ? null : toTimestamptz(token.expiresAt),
  });
  return secret;
}

const selectTokens = statement(
  (db) =>
    db
      .select(columns)
      .from(tokens)
      .where(sql`coalesce(${tokens.accountId} = ${given("accountId")}, true)`)
      .orderBy(asc(tokens.createdAt), asc(tokens.id)),
  toToken,
);

/** Every token of every account, or of one; revoked and expired ones too, the oldest first. */
export function listTokens(db: Database, accountId?: string): Promise<TokenRecord[]> {
  return selectTokens(db, { accountId: accountId ?? null });
}

const revoke = statement(
  (db) =>
    db
      .update(tokens)
      .set({ revokedAt: sql`coalesce(${tokens.revokedAt}, ${given("now")})` })
      .where(eq(tokens.id, given("id")))
      .returning({ id: tokens.id }),
  ([id]: [string]) => id,
);

/** Afterwards the token is revoked; it stays in the list. Repeating is safe. False where no token has this id. */
export async function revokeToken(db: Database, id: string, now: number): Promise<boolean> {
  return (await revoke(db, { id, now: toTimestamptz(now) })).length > 0;
}

/** Afterwards the token with this secret is revoked, because whoever was to have it did not get it. */
export async function withdrawToken(db: Database, secret: string, now: number): Promise<void> {
  const token = await findToken(db, hashToken(secret));
  if (token) await revokeToken(db, token.id, now);
}

const addScope = statement((db) =>
  db
    .update(tokens)
    .set({ scopes: sql`array_append(${tokens.scopes}, ${given("scope")}::text)` })
    .where(and(eq(tokens.hash, given("hash")), sql`not ${given("scope")} = any(${tokens.scopes})`)),
);

/** Afterwards the token with this hash has the scope. */
export async function grantScope(db: Database, token: { hash: string; scope: Scope }): Promise<void> {
  await addScope(db, token);
}

const selectByHashes = statement(
  (db) =>
    db
      .select({ ...columns, hash: tokens.hash })
      .from(tokens)
      .where(sql`${tokens.hash} = any(${given("hashes")}::text[])`),
  ([...row]: [...TokenRow, string]) => ({
    hash: row.pop() as string,
    token: toToken(row as unknown as TokenRow),
  }),
);

/** Guesses share few statements, and those for tokens that are in use don't wait behind them. */
const findGrouped = batched(
  ({ isInUse }: { hash: string; isInUse: boolean }) => (isInUse ? "in use" : "new"),
  ({ hash }) => hash,
  async (db, keys) => {
    const hashes = keys.map(({ hash }) => hash);
    const found = new Map((await selectByHashes(db, { hashes })).map(({ hash, token }) => [hash, token]));
    return hashes.map((hash) => found.get(hash));
  },
);

/**
 * The token with this hash, whether it still is good or not. However many are asked for at a time, at most two statements
 * are under way for those that were found before (`isInUse`), and two for all others.
 */
export function findToken(db: Database, hash: string, isInUse = false): Promise<TokenRecord | undefined> {
  return findGrouped(db, { hash, isInUse });
}
