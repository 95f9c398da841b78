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
  /** Who signed in; null for one of the gateway's own tokens. */
  actorName: string | null;
}

/**
 * One run of a command. The CLI has no token. The user of the operating system is not recorded: it is often `root` or the
 * user of a container, and its name would look like proof of a person.
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
  /** The id of the token or key that it is about; null if it is about the whole database. */
  subject: string | null;
  /** Epoch milliseconds. */
  at: number;
  /** The caller's own text. */
  reason?: string | undefined;
  /** The record that it is about. */
  kycId?: string | null;
  /** The digest of the id of the customer that it is about. */
  customerDigest?: Buffer;
}

const inserting = (accounts: SQL) => sql`
  insert into audit_events (account_id, at, token_id, token_name, surface, other_surface, request_id, action,
    other_action, kyc_ids, changed_fields, actor_name, subject, reason, has_customers)
  select account_id, ${given("at")}::timestamptz, ${given("tokenId")}::text, ${given("tokenName")}::text,
    ${given("surface")}::surface, ${given("otherSurface")}::text, ${given("requestId")}::text,
    ${given("action")}::audit_action, ${given("otherAction")}::text,
    array_remove(array[${given("kycId")}::text], null), '{}', ${given("actorName")}::text, ${given("subject")}::text,
    ${given("reason")}::text, true
  from ${accounts}`;

const insertOne = statement(
  () => sql`
    with written as (
      ${inserting(sql`(values (${given("accountId")}::text)) as one (account_id)`)}
      returning account_id, sequence
    ),
    record as (
      insert into audit_event_records (account_id, kyc_id, sequence)
      select account_id, ${given("kycId")}::text, sequence from written where ${given("kycId")}::text is not null
    ),
    customer as (
      insert into audit_event_customers (account_id, customer_digest, sequence)
      select account_id, decode(${given("customerDigest")}::text, 'hex'), sequence from written
      where ${given("customerDigest")}::text is not null
    )
    select sequence::float8 from written`,
  ([sequence]: [number]) => sequence,
);

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

const valuesOf = (by: Administrator, { at, subject, reason, kycId, customerDigest, ...act }: Act) => ({
  ...by,
  ...{
    reason: reason ?? null,
    kycId: kycId ?? null,
    customerDigest: customerDigest?.toString("hex") ?? null,
  },
  ...toStoredWords({ action: act.action, surface: by.surface }),
  at: toTimestamptz(at),
  subject,
});

/**
 * Writes the event of an act that concerns one account, and returns its sequence. `tx` is the transaction that performs
 * the act.
 */
export async function recordAct(
  tx: Executor,
  by: Administrator,
  act: Act,
  accountId: string,
): Promise<number> {
  return (await insertOne(tx, { ...valuesOf(by, act), accountId }))[0] as number;
}

/** Writes the event of an act that concerns every account into the trail of each account that has a token or an event. */
export async function recordActForAll(tx: Executor, by: Administrator, act: Act): Promise<void> {
  await insertForAll(tx, valuesOf(by, act));
}

/** Whether the database can store these events. A database of an earlier release can't until it is migrated. */
export async function canRecordActs(tx: Executor): Promise<boolean> {
  const [found] = await tx.execute<{ can: boolean }>(
    "select to_regclass('audit_event_customers') is not null as can",
  );
  return found?.can ?? false;
}
