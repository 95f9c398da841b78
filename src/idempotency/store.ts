import { type SQL, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement, withFirst } from "../db/statement.ts";

/**
 * A key is kept for one day after its first use. Only the database's clock counts: otherwise a replica with a wrong clock
 * could treat a fresh key as old, or write a time that makes it old for others.
 */
const expired = sql`now() - interval '24 hours'`;

/** A key, and what is stored with it if it is new. */
export interface Claim {
  keyHash: string;
  /** The number of the advisory lock that excludes a second request while the first one runs. */
  lock: string;
  kycId: string;
  /** Both null if the result is not known yet; `completeKey` adds it. */
  requestDigest: string | null;
  sealedResult: string | null;
}

/** The result of a claim. */
export interface ClaimFinding {
  /** The record of the claim that now has the key; null if no claim of the statement got it. */
  claimedFor: string | null;
  /** No other request under the key was running. */
  free: boolean;
  /** The result of the first write under the key. */
  first: { requestDigest: string | null; sealedResult: string | null } | null;
}

const COLUMNS = [
  "keyHash",
  "lock",
  "kycId",
  "requestDigest",
  "sealedResult",
] as const satisfies (keyof Claim)[];
const given = sql.placeholder;
const bindingOf = (column: string) => `claim.${column}`;

/**
 * Common table expressions, after `with`, that claim the keys that `claimValues` binds. A stored key that has not expired
 * stays as it is. Of the others, `claimed` has those that no other transaction is claiming: `(key_hash, kyc_id)`.
 */
export const claimingKeys: SQL = (() => {
  const lists = sql.join(
    COLUMNS.map((name) => sql`${given(bindingOf(name))}::${sql.raw(name === "lock" ? "bigint" : "text")}[]`),
    sql`, `,
  );
  const account = given(bindingOf("accountId"));
  return sql`
    wanted as (
      select * from unnest(${lists}) with ordinality
        as new(key_hash, lock, kyc_id, request_digest, sealed_result, place)
    ),
    known as (
      select stored.* from wanted cross join lateral (
        select key_hash, request_digest, sealed_result from idempotency_keys
        where account_id = ${account} and key_hash = wanted.key_hash and created_at > ${expired}
        -- One look into the index for each key, whatever the planner knows of the table.
        limit 1
      ) stored
    ),
    free as materialized (
      select * from wanted where key_hash not in (select key_hash from known) and pg_try_advisory_xact_lock(lock)
    ),
    claimed as (
      insert into idempotency_keys as old (account_id, key_hash, kyc_id, request_digest, sealed_result, created_at)
      select ${account}, key_hash, kyc_id, request_digest, sealed_result, now() from free
      on conflict (account_id, key_hash) do update
        set kyc_id = excluded.kyc_id, request_digest = excluded.request_digest,
          sealed_result = excluded.sealed_result, created_at = excluded.created_at
        where old.created_at <= ${expired}
      returning key_hash, kyc_id
    )`;
})();

/** Selects the results of the claims before it, in their order. */
export const selectFindings: SQL = sql`
  select claimed.kyc_id, free.key_hash is not null, known.key_hash is not null, known.request_digest,
    known.sealed_result
  from wanted left join known using (key_hash) left join free using (key_hash) left join claimed using (key_hash)
  order by wanted.place`;

type FindingRow = [
  claimedFor: string | null,
  free: boolean,
  known: boolean,
  requestDigest: string | null,
  sealedResult: string | null,
];

export function toFinding([claimedFor, free, known, requestDigest, sealedResult]: FindingRow): ClaimFinding {
  return { claimedFor, free, first: known ? { requestDigest, sealedResult } : null };
}

/** The values of an account's claims, for a statement with `claimingKeys`. */
export function claimValues(accountId: string, claims: readonly Claim[]): Record<string, unknown> {
  const values: Record<string, unknown> = { [bindingOf("accountId")]: accountId };
  for (const column of COLUMNS) values[bindingOf(column)] = claims.map((claim) => claim[column]);
  return values;
}

const claim = statement(() => withFirst(claimingKeys, selectFindings), toFinding);

/** Claims a key for the transaction. If it succeeds, no other transaction can claim the key until this one ends. */
export async function claimKey(tx: Executor, accountId: string, wanted: Claim): Promise<ClaimFinding> {
  const [finding] = await claimKeys(tx, accountId, [wanted]);
  return finding as ClaimFinding;
}

/** The same for several keys, in their order. */
export function claimKeys(
  tx: Executor,
  accountId: string,
  wanted: readonly Claim[],
): Promise<ClaimFinding[]> {
  return claim(tx, claimValues(accountId, wanted));
}

const complete = statement(
  () =>
    sql`
    update idempotency_keys
    set request_digest = ${given("requestDigest")}, sealed_result = ${given("sealedResult")}
    where account_id = ${given("accountId")} and key_hash = ${given("keyHash")}`,
);

/** Adds the result to a key that the transaction has claimed. */
export async function completeKey(
  tx: Executor,
  accountId: string,
  { keyHash, requestDigest, sealedResult }: Claim,
): Promise<void> {
  await complete(tx, { accountId, keyHash, requestDigest, sealedResult });
}

/**
 * Common table expressions that delete the results of the records `ids` of `accountId`, for the statement that deletes the
 * records. The keys stay used. Rows are locked in their order, as in a key rotation.
 */
export const deletingResults: SQL = sql`
  spent as (
    update idempotency_keys set request_digest = null, sealed_result = null
    where account_id = ${given("accountId")} and kyc_id = any(${given("ids")}::text[]) and key_hash = any(array(
      select key_hash from idempotency_keys
      where account_id = ${given("accountId")} and kyc_id = any(${given("ids")}::text[]) and sealed_result is not null
      order by key_hash for update))
  )`;

const removeExpired = statement(
  () =>
    sql`
      with expired as (
        select account_id, key_hash from idempotency_keys where created_at <= ${expired}
        order by created_at limit ${given("limit")} for update skip locked
      )
      delete from idempotency_keys stored
      -- Out of arrays: the planner then takes one look into the index for each key, whatever it knows of the table.
      using (select array_agg(account_id) as accounts, array_agg(key_hash) as hashes from expired) lists,
        unnest(lists.accounts, lists.hashes) as gone(account_id, key_hash)
      where stored.account_id = gone.account_id and stored.key_hash = gone.key_hash
      returning 1`,
  () => true,
);

/**
 * Removes up to `limit` expired keys, the oldest first, and returns how many. Keys that another replica is removing are
 * skipped.
 */
export async function removeExpiredKeys(db: Executor, limit: number): Promise<number> {
  return (await removeExpired(db, { limit })).length;
}
