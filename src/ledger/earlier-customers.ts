import { sql } from "drizzle-orm";
import type { DigestCustomer } from "../audit/customer-digest.ts";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { untilTurn } from "../lib/turns.ts";
import type { UnsealedEvent } from "./unsealed-event.ts";

/** An event is about a record of a customer: a row of `audit_event_customers`. */
export interface EventCustomer {
  accountId: string;
  customerDigest: Buffer;
  sequence: number;
}

/** Opens the function that digests customers' ids. It may need the encryption keys, and fail without them. */
export type OpenDigests = () => Promise<DigestCustomer>;

/** Records of one statement. */
const STEP = 5000;

const selectCustomers = statement(
  () => sql`
    select account_id, id, customer_id
    from unnest(${sql.placeholder("accountIds")}::text[], ${sql.placeholder("kycIds")}::text[]) as wanted("account", kyc)
    join kycs on account_id = "account" and id = kyc`,
  ([accountId, kycId, customerId]: [string, string, string]) => ({ accountId, kycId, customerId }),
);

const nameOf = (accountId: string, kycId: string) => `${accountId} ${kycId}`;

/**
 * The customers of the events that replicas of release 0.2 wrote: these name none. They are known as long as the records
 * exist. The digests are opened only if there is such an event.
 */
export async function findEarlierCustomers(
  db: Executor,
  events: readonly UnsealedEvent[],
  openDigests: OpenDigests,
): Promise<EventCustomer[]> {
  const unnamed = events.filter(({ hasCustomers, kycIds }) => !hasCustomers && kycIds.length > 0);
  const digests = await digestCustomersOf(db, unnamed, openDigests);
  const found: EventCustomer[] = [];
  for (const { accountId, sequence, kycIds } of unnamed) {
    const ofEvent = new Set(kycIds.map((kycId) => digests.get(nameOf(accountId, kycId))));
    for (const customerDigest of ofEvent)
      if (customerDigest) found.push({ accountId, customerDigest, sequence });
  }
  return found;
}

/** The digests of the customers of those of the events' records that exist. Those of one customer are one object. */
async function digestCustomersOf(
  db: Executor,
  events: readonly UnsealedEvent[],
  openDigests: OpenDigests,
): Promise<Map<string, Buffer>> {
  const named = new Map<string, { accountId: string; kycId: string }>();
  for (const { accountId, kycIds } of events) {
    for (const kycId of kycIds) named.set(nameOf(accountId, kycId), { accountId, kycId });
  }
  const wanted = [...named.values()];
  const ofCustomers = new Map<string, Buffer>();
  const ofRecords = new Map<string, Buffer>();
  for (let start = 0; start < wanted.length; start += STEP) {
    const some = wanted.slice(start, start + STEP);
    const records = await selectCustomers(db, {
      accountIds: some.map(({ accountId }) => accountId),
      kycIds: some.map(({ kycId }) => kycId),
    });
    if (records.length === 0) continue;
    const digest = await openDigests();
    for (const { accountId, kycId, customerId } of records) {
      const turn = untilTurn();
      if (turn) await turn;
      const customer = JSON.stringify([accountId, customerId]);
      const known = ofCustomers.get(customer) ?? digest(accountId, customerId);
      ofCustomers.set(customer, known);
      ofRecords.set(nameOf(accountId, kycId), known);
    }
  }
  return ofRecords;
}
