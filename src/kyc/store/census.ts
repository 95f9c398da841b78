import { sql } from "drizzle-orm";
import type { Executor } from "../../db/client.ts";
import { statement } from "../../db/statement.ts";
import type { VerificationStatus } from "../../vocabulary.ts";

/** A record's position in the index of accounts and statuses. */
export type CensusPlace = readonly [
  accountId: string,
  status: VerificationStatus,
  createdAt: string,
  id: string,
];

/** The result of one step of a census. */
export interface CensusStep {
  /** False if another replica is counting now; then nothing was read. */
  isAlone: boolean;
  /** Records of an account with a status, in the index's order. */
  groups: { accountId: string; status: VerificationStatus; records: number }[];
  /** The last record of the step; null: none follows. */
  last: CensusPlace | null;
}

/** The position before all records. */
export const CENSUS_START: CensusPlace = ["", "pending", "-infinity", ""];

/** The number of the advisory lock that keeps replicas from counting at the same time. It is arbitrary. */
const LOCK = 5_207_314_186;

const given = sql.placeholder;

const readNext = statement(
  () => sql`
    with alone as materialized (select pg_try_advisory_xact_lock(${LOCK}::bigint) as had),
    step as materialized (
      select account_id, verification_status, created_at, id from kycs
      where (select had from alone)
        and (account_id, verification_status, created_at, id) > (${given("account")}, ${given("status")}::verification_status,
          ${given("createdAt")}::timestamptz, ${given("id")})
      order by account_id, verification_status, created_at, id
      limit ${given("limit")}::int
    )
    select (select had from alone),
      (select json_agg(json_build_object('accountId', account_id, 'status', verification_status, 'records', records)
          order by account_id, verification_status)
        from (select account_id, verification_status, count(*) as records from step group by 1, 2) as groups),
      (select json_build_array(account_id, verification_status, created_at, id) from step
        order by account_id desc, verification_status desc, created_at desc, id desc limit 1)`,
  ([isAlone, groups, last]: [boolean, CensusStep["groups"] | null, CensusPlace | null]): CensusStep => ({
    ...{ isAlone, groups: groups ?? [], last },
  }),
);

/**
 * Counts up to `limit` records after this position. They are one range of an index, regardless of the table's size. At most
 * one replica does this at any time.
 */
export async function countNext(
  db: Executor,
  [account, status, createdAt, id]: CensusPlace,
  limit: number,
): Promise<CensusStep> {
  const [step] = await readNext(db, { account, status, createdAt, id, limit });
  return step as CensusStep;
}
