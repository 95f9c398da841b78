import { randomUUID } from "node:crypto";
import { type SQL, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { AdministrativeAction, Surface } from "../vocabulary.ts";
import { toStoredWords } from "./stored-words.ts";

const given = sql.placeholder;

/** Who performs an act of administration. */
export interface Administrator {
  surface: Surface;
  tokenId: string;
  tokenName: string;
  requestId: string;
  /** Who signed in; null for a token of the gateway's own. */
  actorName: string | null;
}

/**
 * One run of a command. The CLI has no token, and the user of the operating system is not recorded: it says who may use
 * the machine, often `root` or the user of a container, and the name would look like proof of a person.
 */
export function byCommand(): Administrator {
  const requestId = `cmd_${randomUUID()}`;
  return { surface: "cli", tokenId: "cli", tokenName: "cli", requestId, actorName: null };
}

/** The gateway itself, at its start or in the background. */
export function byGateway(): Administrator {
  const requestId = `job_${randomUUID()}`;
  return { surface: "gateway", tokenId: "gateway", tokenName: "gateway", requestId, actorName: null };
}

/** An act of administration. */
export interface Act {
  action: AdministrativeAction;
  /** The id of the token or key that it is about; null: it is about the whole database. */
  subject: string | null;
  /** Epoch milliseconds. */
  at: number;
}

const inserting = (accounts: SQL) => sql`
  insert into audit_events (account_id, at, token_id, token_name, surface, other_surface, request_id, action,
    other_action, kyc_ids, changed_fields, actor_name, subject, has_customers)
  select account_id, ${given("at")}::timestamptz, ${given("tokenId")}::text, ${given("tokenName")}::text,
    ${given("surface")}::surface, ${given("otherSurface")}::text, ${given("requestId")}::text,
    ${given("action")}::audit_action, ${given("otherAction")}::text, '{}', '{}', ${given("actorName")}::text,
    ${given("subject")}::text, true
  from ${accounts}`;

const insertOne = statement(() => inserting(sql`(values (${given("accountId")}::text)) as one (account_id)`));

// Each step of the recursion is one look-up in the primary key, so the cost grows with the accounts, not with the events.
const insertForAll = statement(
  () => sql`
    with recursive with_events (account_id) as (
      (select account_id from audit_events order by account_id limit 1)
      union all
      select (
        select next.account_id from audit_events next where next.account_id > known.account_id
        order by next.account_id limit 1
      ) from with_events known where known.account_id is not null
    )
    ${inserting(sql`(
      select account_id from with_events where account_id is not null union select account_id from tokens
    ) as every (account_id)`)}`,
);

const valuesOf = (by: Administrator, { at, subject, ...act }: Act) => ({
  ...by,
  ...toStoredWords({ action: act.action, surface: by.surface }),
  at: toTimestamptz(at),
  subject,
});

/** Writes the event of an act that concerns one account. `tx` is the transaction that performs the act. */
export async function recordAct(tx: Executor, by: Administrator, act: Act, accountId: string): Promise<void> {
  await insertOne(tx, { ...valuesOf(by, act), accountId });
}

/** Writes the event of an act that concerns every account into the trail of each one that has a token or an event. */
export async function recordActForAll(tx: Executor, by: Administrator, act: Act): Promise<void> {
  await insertForAll(tx, valuesOf(by, act));
}

/** Whether the database can have such events: one of an earlier release can't until it is migrated. */
export async function canRecordActs(tx: Executor): Promise<boolean> {
  const [found] = await tx.execute<{ can: boolean }>(
    "select to_regclass('audit_event_customers') is not null as can",
  );
  return found?.can ?? false;
}
