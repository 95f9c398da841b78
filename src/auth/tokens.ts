import { randomBytes } from "node:crypto";
import { and, asc, eq, isNull, sql } from "drizzle-orm";
import type { Database } from "../db/client.ts";
import { epochMillis, tokens, toTimestamptz } from "../db/schema.ts";
import { run, statement } from "../db/statement.ts";
import type { Scope } from "./scopes.ts";
import { hashToken, mintToken } from "./token.ts";

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
  scopes: sql<Scope[]>`${tokens.scopes}`,
  createdAt: epochMillis(tokens.createdAt),
  expiresAt: epochMillis<number | null>(tokens.expiresAt),
  revokedAt: epochMillis<number | null>(tokens.revokedAt),
};

/**
 * Afterwards the account has one token more, and the answer is its secret, which can't be had again.
 * `expiresAt` is in epoch milliseconds; null: it never expires.
 */
export async function issueToken(
  db: Database,
  token: { accountId: string; name: string; scopes: readonly Scope[]; expiresAt: number | null; now: number },
): Promise<string> {
  const secret = mintToken();
  await run(
    db.insert(tokens).values({
      accountId: token.accountId,
      id: `tok_${randomBytes(8).toString("hex")}`,
      name: token.name,
      hash: hashToken(secret),
      scopes: [...token.scopes],
      createdAt: toTimestamptz(token.now),
      expiresAt: token.expiresAt === null ? null : toTimestamptz(token.expiresAt),
    }),
  );
  return secret;
}

/** Every token of every account, or of one; revoked and expired ones too, the oldest first. */
export function listTokens(db: Database, accountId?: string): Promise<TokenRecord[]> {
  return run(
    db
      .select(columns)
      .from(tokens)
      .where(accountId === undefined ? undefined : eq(tokens.accountId, accountId))
      .orderBy(asc(tokens.createdAt), asc(tokens.id)),
  );
}

/** Afterwards the token is revoked; it stays in the list. Repeating is safe. False where no token has this id. */
export async function revokeToken(db: Database, id: string, now: number): Promise<boolean> {
  const revoked = await run(
    db
      .update(tokens)
      .set({ revokedAt: toTimestamptz(now) })
      .where(and(eq(tokens.id, id), isNull(tokens.revokedAt)))
      .returning({ id: tokens.id }),
  );
  if (revoked.length > 0) return true;
  return (await run(db.select({ id: tokens.id }).from(tokens).where(eq(tokens.id, id)))).length > 0;
}

const selectByHash = statement((db) =>
  db
    .select(columns)
    .from(tokens)
    .where(eq(tokens.hash, sql.placeholder("hash")))
    .prepare("find_token"),
);

/** The token with this hash, whether it still is good or not. */
export async function findToken(db: Database, hash: string): Promise<TokenRecord | undefined> {
  return (await selectByHash(db, { hash }))[0];
}
