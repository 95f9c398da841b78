import { toAuditCursor, toEventId } from "../../audit/cursor.ts";
import type { AuditEvent } from "../../audit/event.ts";
import { listAuditEvents } from "../../audit/list-audit-events.ts";
import type { OperationContext } from "../../context.ts";
import type { Pages } from "../../lib/json-text.ts";
import { toSnakeCase } from "../../lib/snake-case.ts";
import { untilTurn } from "../../lib/turns.ts";
import { type PagedList, pagesOf } from "../../paging/list.ts";
import { MAX_PAGE_SIZE } from "../../paging/page-input.ts";
import { FIELDS, NAMES } from "../fields.ts";
import { listHolds } from "../holds/list-holds.ts";
import { listKycs } from "../list-kycs.ts";
import type { ShownKyc } from "../show-kyc.ts";
import {
  type Customer,
  findDeletions,
  findDeliveries,
  findErasures,
  findKeyTimes,
  findOwnIds,
  pageSequences,
} from "./store.ts";

/** Times of what is no record. */
const TIMES = new Set([
  ...["at", "createdAt", "deletedAt", "erasedAt", "queuedAt", "firstAttemptAt", "lastAttemptAt"],
  ...["placedAt", "until", "releasedAt"],
]);

/** A time that no calendar has is null. */
export const toIso = (millis: unknown): string | null =>
  typeof millis === "number" && Number.isFinite(millis) ? new Date(millis).toISOString() : null;

/** An object with the names and times of the file. */
const toBody = (values: object): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      toSnakeCase(name),
      TIMES.has(name) ? toIso(value) : value,
    ]),
  );

/** All values of a record, as an export of records has them. */
const toRecordBody = (kyc: ShownKyc): Record<string, unknown> =>
  Object.fromEntries(
    NAMES.map((name) => [toSnakeCase(name), FIELDS[name].kind === "time" ? toIso(kyc[name]) : kyc[name]]),
  );

/** The lists of the file, each read when it is called for. `before`: events from this sequence on are left out. */
export function sectionsOf(ctx: OperationContext, customer: Customer, before: number) {
  const { db } = ctx;
  const { accountId } = customer;
  const ofEvents = (find: (sequences: readonly number[]) => Promise<readonly object[]>) =>
    readOfEvents(ctx, pageSequences(db, customer, before), find);
  return {
    records: readRecords(ctx, customer),
    deleted_records: ofEvents(async (sequences) =>
      withKeys(ctx, accountId, await findDeletions(db, accountId, sequences), toBody),
    ),
    holds: readHolds(ctx, customer),
    erasures: ofEvents(async (sequences) => (await findErasures(db, customer, sequences)).map(toBody)),
    webhook_deliveries: ofEvents(async (sequences) =>
      (await findDeliveries(db, accountId, sequences)).map(toBody),
    ),
    events: readEvents(ctx, customer, before),
  } satisfies Record<string, Pages>;
}

/** Pages of a list, as long as the viewer's token is valid. */
async function* read<Item>(
  ctx: OperationContext,
  open: (page: { first: number; after?: string }) => PagedList<Item> | Promise<PagedList<Item>>,
): AsyncGenerator<readonly Item[]> {
  const pages = pagesOf(async (after) => {
    await ctx.confirmViewer();
    return open({ first: MAX_PAGE_SIZE, ...(after !== undefined && { after }) });
  });
  for await (const page of pages) {
    const turn = untilTurn();
    if (turn) await turn;
    yield page;
  }
}

async function* readRecords(ctx: OperationContext, { accountId, customerId }: Customer) {
  for await (const page of read(ctx, (asked) => listKycs(ctx, { ...asked, filter: { customerId } })))
    yield withKeys(ctx, accountId, page, toRecordBody);
}

async function* readHolds(ctx: OperationContext, { customerId }: Customer) {
  for await (const page of read(ctx, (asked) => listHolds(ctx, { ...asked, filter: { customerId } })))
    yield page.map(toBody);
}

async function* readOfEvents(
  ctx: OperationContext,
  pages: AsyncIterable<number[]>,
  find: (sequences: readonly number[]) => Promise<readonly object[]>,
) {
  for await (const sequences of pages) {
    await ctx.confirmViewer();
    yield find(sequences);
  }
}

/** The bodies of records, with the times at which idempotency keys were used for them. */
async function withKeys<Item extends { id: string }>(
  { db }: OperationContext,
  accountId: string,
  items: readonly Item[],
  render: (item: Item) => Record<string, unknown>,
) {
  const times = await findKeyTimes(
    db,
    accountId,
    items.map(({ id }) => id),
  );
  return items.map((item) => ({
    ...render(item),
    idempotency_keys: (times.get(item.id) ?? []).map((at) => ({ created_at: toIso(at) })),
  }));
}

async function* readEvents(ctx: OperationContext, customer: Customer, before: number) {
  const { customerId } = customer;
  const end = toAuditCursor({ sequence: before });
  const open = (asked: { first: number; after?: string }) =>
    listAuditEvents(ctx, { after: end, ...asked, filter: { customerId } });
  for await (const page of read(ctx, open)) {
    // An answer that showed numbers of several customers is one event.
    const shared = page.filter(({ kycIds }) => kycIds.length > 1).flatMap(({ kycIds }) => kycIds);
    const own = await findOwnIds(ctx.db, customer, [...new Set(shared)]);
    yield page.map((event) => toEventBody(event, own));
  }
}

/** An event, with the ids of the customer's own records only. */
function toEventBody({ sequence, ...event }: AuditEvent, own: ReadonlySet<string>): Record<string, unknown> {
  const { kycIds } = event;
  return {
    id: toEventId({ sequence }),
    ...toBody({ ...event, kycIds: kycIds.length > 1 ? kycIds.filter((id) => own.has(id)) : kycIds }),
  };
}
