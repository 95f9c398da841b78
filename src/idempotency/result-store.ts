import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { withRetries } from "../db/retry.ts";
import { statement } from "../db/statement.ts";

const given = sql.placeholder;

/** A stored result and its key. */
export interface StoredResult {
  accountId: string;
  keyHash: string;
  sealedResult: string;
}

const selectResults = statement(
  () =>
    sql`
      select account_id, key_hash, sealed_result from idempotency_keys
      where (account_id, key_hash) > (${given("accountId")}, ${given("keyHash")}) and sealed_result is not null
      order by account_id, key_hash limit ${given("limit")}`,
  ([accountId, keyHash, sealedResult]: [string, string, string]): StoredResult => ({
    accountId,
    keyHash,
    sealedResult,
  }),
);

/** Up to `limit` results of all accounts after a given key, in the order of accounts and hashes. */
export function findResults(
  db: Executor,
  after: Pick<StoredResult, "accountId" | "keyHash">,
  limit: number,
): Promise<StoredResult[]> {
  return selectResults(db, { accountId: after.accountId, keyHash: after.keyHash, limit });
}

// Rows are locked in the order of their keys, like everywhere else, so that deadlocks can't occur.
const replace = statement(
  () =>
    sql`
      with held as (
        select stored.account_id, stored.key_hash, new.sealed_result
        from unnest(${given("accountIds")}::text[], ${given("keyHashes")}::text[], ${given("old")}::text[],
          ${given("sealed")}::text[]) as new(account_id, key_hash, old, sealed_result)
        join idempotency_keys stored on stored.account_id = new.account_id and stored.key_hash = new.key_hash
          and stored.sealed_result = new.old
        order by stored.account_id, stored.key_hash for update of stored
      )
      update idempotency_keys stored set sealed_result = held.sealed_result from held
      where stored.account_id = held.account_id and stored.key_hash = held.key_hash
      returning 1`,
  () => true,
);

/** Replaces each text by its new one, unless it has changed in the meantime. Returns how many were replaced. */
export async function replaceResults(
  db: Executor,
  results: readonly { from: StoredResult; sealed: string }[],
): Promise<number> {
  const values = {
    accountIds: results.map(({ from }) => from.accountId),
    keyHashes: results.map(({ from }) => from.keyHash),
    old: results.map(({ from }) => from.sealedResult),
    sealed: results.map(({ sealed }) => sealed),
  };
  return (await withRetries(() => replace(db, values))).length;
}

const countKeys = statement(
  () =>
    sql`
      select split_part(sealed_result, '.', 1) as key_id, count(*)::float8 from idempotency_keys
      where sealed_result is not null group by key_id`,
  (row: [keyId: string, count: number]) => row,
);

/** The number of results that each encryption key seals. It reads the whole table. */
export function countResultsByKey(db: Executor): Promise<[keyId: string, count: number][]> {
  return countKeys(db, {});
}

const selectSealedUnder = statement(
  () =>
    sql`
      select 1 from idempotency_keys where split_part(sealed_result, '.', 1) = ${given("keyId")} limit 1`,
  () => true,
);

/** Whether the encryption key seals a result. It can read the whole table. */
export async function isAnyResultSealedUnder(db: Executor, keyId: string): Promise<boolean> {
  return (await selectSealedUnder(db, { keyId })).length > 0;
}
