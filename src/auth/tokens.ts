import { randomBytes } from "node:crypto";
import { and, asc, eq, sql } from "drizzle-orm";
import { type Administrator, recordAct } from "../administration/record-act.ts";
import { batched } from "../db/batch.ts";
import type { Database, Executor } from "../db/client.ts";
import { tokens, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { unavailable } from "../errors.ts";
import { type Keyring, MissingKeyError } from "../sealing/keyring.ts";
import type { AdministrativeAction } from "../vocabulary.ts";
import type { Scope } from "./scopes.ts";
import { macOf, requireAuthentic, type StoredToken, storedColumns, toStoredToken } from "./token-macs.ts";
import { hashToken, mintToken } from "./token-secret.ts";

const given = sql.placeholder;

/** A token for operators, without its secret. Times are in epoch milliseconds. */
export interface TokenRecord {
  id: string;
  accountId: string;
  name: string;
  scopes: Scope[];
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
  /** False if somebody has added or altered it in the database, or if its key is missing. Then it can't be used. */
  isAuthentic: boolean;
}

function toRecord({ hash: _hash, mac: _mac, ...token }: StoredToken, isAuthentic: boolean): TokenRecord {
  return { ...token, isAuthentic };
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
    mac: given("mac"),
  }),
);

const toStored = (millis: number | null) => (millis === null ? null : toTimestamptz(millis));
/** Rounds to whole milliseconds, as the database does, because the MAC covers the stored value. */
const toWhole = (millis: number | null) => (millis === null ? null : new Date(millis).getTime());

/**
 * Creates a token and returns its secret, which can't be read again. `expiresAt` is in epoch milliseconds; null means that
 * it never expires. The trail gets an event by `by`, and none if `by` is null, as in tests. The same applies to the other
 * functions here that change tokens.
 */
export async function issueToken(
  db: Database,
  keys: Keyring,
  token: {
    accountId: string;
    name: string;
    scopes: readonly Scope[];
    expiresAt: number | null;
    now: number;
  },
  by: Administrator | null,
): Promise<string> {
  const secret = mintToken();
  const stored: StoredToken = {
    accountId: token.accountId,
    id: `tok_${randomBytes(8).toString("hex")}`,
    name: token.name,
    hash: hashToken(secret),
    scopes: [...token.scopes],
    createdAt: new Date(token.now).getTime(),
    expiresAt: toWhole(token.expiresAt),
    revokedAt: null,
    mac: null,
  };
  const times = { createdAt: toStored(stored.createdAt), expiresAt: toStored(stored.expiresAt) };
  await db.transaction(async (tx) => {
    await insertToken(tx, { ...stored, ...times, mac: macOf(keys, stored) });
    await record(tx, by, "token_created", stored, stored.createdAt);
  });
  return secret;
}

async function record(
  tx: Executor,
  by: Administrator | null,
  action: AdministrativeAction,
  { accountId, id }: StoredToken,
  at: number,
): Promise<void> {
  if (by) await recordAct(tx, by, { action, subject: id, at }, accountId);
}

const selectTokens = statement(
  (db) =>
    db
      .select(storedColumns)
      .from(tokens)
      .where(sql`coalesce(${tokens.accountId} = ${given("accountId")}, true)`)
      .orderBy(asc(tokens.createdAt), asc(tokens.id)),
  toStoredToken,
);

/** All tokens of one account or of all accounts, including revoked and expired ones, oldest first. */
export async function listTokens(db: Database, keys: Keyring, accountId?: string): Promise<TokenRecord[]> {
  const stored = await selectTokens(db, { accountId: accountId ?? null });
  return stored.map((token) => toRecord(token, isAuthentic(keys, token)));
}

const selectIds = statement(
  (db) =>
    db
      .select({ id: tokens.id })
      .from(tokens)
      .where(and(eq(tokens.accountId, given("accountId")), eq(tokens.name, given("name")))),
  ([id]: [string]) => id,
);

/** The ids of the account's tokens with this name, including revoked and expired ones. */
export function findTokenIds(db: Executor, accountId: string, name: string): Promise<string[]> {
  return selectIds(db, { accountId, name });
}

function isAuthentic(keys: Keyring, token: StoredToken): boolean {
  try {
    requireAuthentic(keys, token);
    return true;
  } catch {
    return false;
  }
}

const lockToken = statement(
  (db) =>
    db
      .select(storedColumns)
      .from(tokens)
      .where(sql`${given("id")} = ${tokens.id} or ${given("hash")} = ${tokens.hash}`)
      .for("update"),
  toStoredToken,
);

const rewrite = statement(
  () => sql`
    update tokens
    set scopes = ${given("scopes")}::text[], revoked_at = ${given("revokedAt")}::timestamptz, mac = ${given("mac")}
    where account_id = ${given("accountId")} and id = ${given("id")}`,
);

async function writeToken(tx: Executor, keys: Keyring, token: StoredToken): Promise<void> {
  const { accountId, id, scopes } = token;
  await rewrite(tx, { accountId, id, scopes, revokedAt: toStored(token.revokedAt), mac: macOf(keys, token) });
}

/**
 * Revokes a token. It stays in the list. A token that is not authentic gets a valid MAC, because it can't be used any more.
 * It is safe to repeat. Returns false if no token has this id. `now` is in epoch milliseconds.
 */
export function revokeToken(
  db: Database,
  keys: Keyring,
  id: string,
  now: number,
  by: Administrator | null,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const found = await lockToken(tx, { id, hash: null });
    for (const token of found) {
      await writeToken(tx, keys, { ...token, revokedAt: token.revokedAt ?? toWhole(now) });
      if (token.revokedAt === null) await record(tx, by, "token_revoked", token, now);
    }
    return found.length > 0;
  });
}

/** Revokes the token with this secret, because it could not be delivered to its user. */
export async function withdrawToken(
  db: Database,
  keys: Keyring,
  secret: string,
  now: number,
  by: Administrator | null,
): Promise<void> {
  const token = await findToken(db, keys, hashToken(secret));
  if (token) await revokeToken(db, keys, token.id, now, by);
}

/** Adds the scope to the token with this hash, if it is authentic. */
export async function grantScope(
  db: Database,
  keys: Keyring,
  { hash, scope, now }: { hash: string; scope: Scope; now: number },
  by: Administrator | null,
): Promise<void> {
  await db.transaction(async (tx) => {
    const [token] = await lockToken(tx, { id: null, hash });
    if (!token || token.scopes.includes(scope) || !isAuthentic(keys, token)) return;
    await writeToken(tx, keys, { ...token, scopes: [...token.scopes, scope] });
    await record(tx, by, "token_changed", token, now);
  });
}

const selectByHashes = statement(
  (db) =>
    db
      .select(storedColumns)
      .from(tokens)
      .where(sql`${tokens.hash} = any(${given("hashes")}::text[])`),
  toStoredToken,
);

/** Look-ups of unknown tokens share few statements, and look-ups of tokens in use don't wait for them. */
const findGrouped = batched(
  ({ isInUse }: { hash: string; isInUse: boolean }) => (isInUse ? "in use" : "new"),
  ({ hash }) => hash,
  async (db, wanted) => {
    const hashes = wanted.map(({ hash }) => hash);
    const found = new Map((await selectByHashes(db, { hashes })).map((token) => [token.hash, token]));
    return hashes.map((hash) => found.get(hash));
  },
);

/**
 * Finds the token with this hash, even if it is expired or revoked; undefined if there is none, or if somebody has added or
 * altered it in the database. At any time at most two statements run for tokens that were found before (`isInUse`), and
 * two for all others. Fails with UNAVAILABLE if the keyring does not have the key of its MAC, as while a new key is being
 * distributed to the replicas. `onForged` is called for a token that was added or altered.
 */
export async function findToken(
  db: Database,
  keys: Keyring,
  hash: string,
  isInUse = false,
  onForged = () => {},
): Promise<TokenRecord | undefined> {
  const token = await findGrouped(db, { hash, isInUse });
  if (!token) return undefined;
  try {
    requireAuthentic(keys, token);
  } catch (error) {
    if (error instanceof MissingKeyError) throw unavailable(error);
    onForged();
    return undefined;
  }
  return toRecord(token, true);
}
