import { sql } from "drizzle-orm";
import { batched } from "../../db/batch.ts";
import type { Database } from "../../db/client.ts";
import { statement } from "../../db/statement.ts";

const given = sql.placeholder;

/** Records with the same number are counted up to this many, so that a page of records with one number costs no more. */
const MOST_SAME = 1000;

/** A record and the digests that records with its number can have. */
export interface NumberOfRecord {
  accountId: string;
  id: string;
  digests: readonly string[];
}

const selectCounts = statement(
  () => sql`
    select (
      select count(*)::float8 from (
        select from kycs
        where account_id = ${given("accountId")} and number_digest = any(string_to_array(wanted.digests, ','))
          and id <> wanted.id
        limit ${sql.raw(String(MOST_SAME))}
      ) as others
    )
    from unnest(${given("ids")}::text[], ${given("digests")}::text[]) with ordinality as wanted(id, digests, place)
    order by place`,
  ([count]: [number]) => count,
);

const countOne = batched<NumberOfRecord, number>(
  ({ accountId }) => accountId,
  ({ id, digests }) => `${id} ${digests[0]}`,
  (db, keys) =>
    selectCounts(db, {
      accountId: keys[0].accountId,
      ids: keys.map(({ id }) => id),
      digests: keys.map(({ digests }) => digests.join()),
    }),
);

/** How many other records of the account are sealed with the same number: `MOST_SAME` if there are as many or more. */
export function countSameNumber(db: Database, record: NumberOfRecord): Promise<number> {
  return countOne(db, record);
}
