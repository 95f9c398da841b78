import { sql } from "drizzle-orm";
import type { NewAuditEvent } from "../../audit/event.ts";
import { eventValues, writingEventsAbout } from "../../audit/store.ts";
import type { Executor } from "../../db/client.ts";
import { epochMillis, kycs, toTimestamptz } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";
import type { Kyc } from "../record.ts";
import { columns, type KycRow, toKyc } from "../store/read.ts";

const given = sql.placeholder;

/** The condition of the index `kycs_to_expire`. */
const willExpire = sql`${kycs.verificationStatus} = 'verified' and ${kycs.expiresAt} is not null`;

/** The records of an account that will expire, and whose last step towards it was the same. */
export interface ExpiryGroup {
  accountId: string;
  /** See `kycs.expiryStep`. */
  step: number;
}

/** A group with its first expiry and the time of the database. Epoch milliseconds. */
export interface FoundGroup extends ExpiryGroup {
  firstExpiresAt: number;
  now: number;
}

const groupColumns = sql`${kycs.accountId}, ${kycs.expiryStep}, ${kycs.expiresAt}`;
const inOrder = sql`order by ${groupColumns} limit 1`;

// Each step of the recursion is one look-up in the index, so the cost grows with the groups, not with the records.
const selectGroups = statement(
  () => sql`
    with recursive found (account_id, step, expires_at) as (
      (
        select ${groupColumns} from ${kycs}
        where ${willExpire} and (${kycs.accountId}, ${kycs.expiryStep}) > (${given("accountId")}, ${given("step")}::int)
        ${inOrder}
      )
      union all
      select next.* from found cross join lateral (
        select ${groupColumns} from ${kycs}
        where ${willExpire} and (${kycs.accountId}, ${kycs.expiryStep}) > (found.account_id, found.step)
        ${inOrder}
      ) as next
    )
    select account_id, step, ${epochMillis(sql`expires_at`)}, ${epochMillis(sql`now()`)} from found
    limit ${given("limit")}::int`,
  ([accountId, step, firstExpiresAt, now]: [string, number, number, number]): FoundGroup => ({
    ...{ accountId, step, firstExpiresAt, now },
  }),
);

/** Groups of one statement. */
const GROUPS_AT_ONCE = 1000;

/** All groups of all accounts. */
export async function* findGroups(db: Executor): AsyncGenerator<FoundGroup> {
  let last: ExpiryGroup | undefined = { accountId: "", step: 0 };
  while (last) {
    const groups: FoundGroup[] = await selectGroups(db, { ...last, limit: GROUPS_AT_ONCE });
    yield* groups;
    last = groups.length === GROUPS_AT_ONCE ? groups.at(-1) : undefined;
  }
}

/** The position of a record in its group. */
export interface ExpiryPosition {
  /** Epoch milliseconds. */
  expiresAt: number;
  id: string;
}

/** A record with a step to do. */
export interface DueKyc {
  kyc: Kyc & { expiresAt: number };
  /** See `sent-notices.ts`. */
  notices: string | null;
  /** By the database's clock. Epoch milliseconds. */
  now: number;
}

const selectDue = statement(
  (db) =>
    db
      .select({
        ...columns,
        notices: kycs.expiryNotices,
        now: epochMillis(sql`now()`).as("now_millis"),
      })
      .from(kycs)
      .where(
        sql`${kycs.accountId} = ${given("accountId")} and ${kycs.expiryStep} = ${given("step")} and ${willExpire}
          and (${kycs.expiresAt}, ${kycs.id}) > (${given("afterAt")}::timestamptz, ${given("afterId")})
          and ${kycs.expiresAt} <= now() + make_interval(secs => ${given("seconds")}::float8)`,
      )
      .orderBy(kycs.expiresAt, kycs.id)
      .limit(given("limit")),
  (row: KycRow): DueKyc => ({
    kyc: toKyc(row) as DueKyc["kyc"],
    notices: row.at(-2) as string | null,
    now: row.at(-1) as number,
  }),
);

/** Up to `limit` records of the group that expire within so many seconds, after a position and in this order. */
export function findDueKycs(
  db: Executor,
  { accountId, step }: ExpiryGroup,
  { after, seconds, limit }: { after: ExpiryPosition | undefined; seconds: number; limit: number },
): Promise<DueKyc[]> {
  const afterAt = toTimestamptz(after?.expiresAt ?? Number.NEGATIVE_INFINITY);
  return selectDue(db, { accountId, step, afterAt, afterId: after?.id ?? "", seconds, limit });
}

/** A step towards the expiry that does not change the record. */
export interface NoticeStep {
  kyc: Kyc;
  /** The step that it is. */
  step: number;
  notices: string;
  /** Undefined: the notice was sent before. */
  event: NewAuditEvent | undefined;
}

const note = statement(
  () => sql`
    with held as (
      select wanted.* from unnest(${given("ids")}::text[], ${given("versions")}::int[], ${given("steps")}::int[],
        ${given("notices")}::text[]) as wanted(id, version, step, notices)
      join kycs stored on stored.account_id = ${given("accountId")} and stored.id = wanted.id
        -- With the same version, it has the same status and expires at the same time.
        and stored.version = wanted.version and stored.expiry_step = ${given("step")}::int
      for update of stored skip locked
    ),
    noted as (
      update kycs set expiry_step = held.step, expiry_notices = held.notices
      from held where kycs.account_id = ${given("accountId")} and kycs.id = held.id
      returning kycs.id
    ),
    ${writingEventsAbout(sql`select id from noted`)}
    select id from noted`,
  ([id]: [string]) => id,
);

/**
 * Does these steps of records of the group, each with its event if it has one, in one statement. Records that have changed
 * since they were read, are locked, or have done a step stay as they are. Returns the ids of the others.
 */
export function noteSteps(
  db: Executor,
  { accountId, step }: ExpiryGroup,
  steps: readonly NoticeStep[],
): Promise<string[]> {
  return note(db, {
    ...eventValues(steps.flatMap(({ event }) => event ?? [])),
    ...{ accountId, step },
    ids: steps.map(({ kyc }) => kyc.id),
    versions: steps.map(({ kyc }) => kyc.version),
    steps: steps.map((one) => one.step),
    notices: steps.map(({ notices }) => notices),
  });
}
