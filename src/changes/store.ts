import { sql } from "drizzle-orm";
import type { LoggedEvent } from "../context.ts";
import { batched } from "../db/batch.ts";
import type { Database, Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { GROWN_CHANNEL } from "../ledger/store.ts";

const given = sql.placeholder;

/** Events of one page. */
const PAGE_SIZE = 200;

const selectEvents = statement(
  () => sql`
    select entry.position::float8, round(date_part('epoch', event.at) * 1000),
      coalesce(event.other_action, event.action::text), event.kyc_ids[1],
      event.status_before, event.status_after
    from ledger_entries entry
      join audit_events event on event.account_id = entry.account_id and event.sequence = entry.sequence
    where entry.account_id = ${given("accountId")} and entry.position >= ${given("from")}::bigint
      and entry.position < ${given("to")}::bigint
    order by entry.position`,
  ([position, at, action, kycId, statusBefore, statusAfter]): LoggedEvent => ({
    ...{ position, at, action, kycId, statusBefore, statusAfter },
  }),
);

/** A page of the account's log, from this position on. Callers that ask for the same page at the same time share it. */
export const findEvents = batched<{ accountId: string; from: number }, LoggedEvent[]>(
  ({ accountId }) => accountId,
  ({ from }) => from,
  (db, keys) =>
    Promise.all(
      keys.map(({ accountId, from }) =>
        selectEvents(db, { accountId, from: String(from), to: String(from + PAGE_SIZE) }),
      ),
    ),
  // Each page is a statement of its own.
  () => 1,
);

interface LogSize {
  accountId: string;
  size: number;
}

const selectSizes = statement(
  () => sql`
    select account_id, size::float8 from ledger_heads where account_id = any(${given("accountIds")}::text[])`,
  ([accountId, size]: [string, number]): LogSize => ({ accountId, size }),
);

/** How many events the logs of these accounts have; those without an event are absent. */
export function findSizes(db: Executor, accountIds: readonly string[]): Promise<LogSize[]> {
  return selectSizes(db, { accountIds });
}

const findOneSize = batched<{ accountId: string }, number>(
  ({ accountId }) => accountId,
  ({ accountId }) => accountId,
  async (db, keys) => {
    const [found] = await findSizes(db, [keys[0].accountId]);
    return [found?.size ?? 0];
  },
);

/** How many events the account's log has. */
export function findSize(db: Database, accountId: string): Promise<number> {
  return findOneSize(db, { accountId });
}

const notify = statement(
  () => sql`select count(pg_notify('${sql.raw(GROWN_CHANNEL)}', ${given("payload")}::text))`,
  () => true,
);

/** Sends a notification to all that listen for logs that have grown. */
export async function notifyListeners(db: Executor, payload: string): Promise<void> {
  await notify(db, { payload });
}
