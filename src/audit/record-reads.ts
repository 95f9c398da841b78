import { sql } from "drizzle-orm";
import type { OperationContext } from "../context.ts";
import { batched } from "../db/batch.ts";
import { statement, withFirst } from "../db/statement.ts";
import { AppError, unavailable } from "../errors.ts";
import { type NewAuditEvent, newEvent } from "./event.ts";
import { eventValues, writingEvents } from "./store.ts";

/** Ids of one event. */
const MOST_NUMBERS = 1000;

const insertEvents = statement(() => withFirst(writingEvents, sql`select from event where false`));

const insertOne = batched<NewAuditEvent, void>(
  ({ accountId }) => accountId,
  // No two answers share an event.
  ({ requestId }) => requestId,
  async (db, events) => {
    await insertEvents(db, eventValues(events));
    return [];
  },
);

/** Whether an event of reads must be written before the answer to this request is sent. */
export function hasReads({ reads }: OperationContext): boolean {
  return reads !== null && reads.shown.size + reads.confirmed.size > 0;
}

/**
 * Afterwards the trail has one event for all records whose document numbers the answer to this request shows or
 * confirms; answers of one moment are written together. If there are none, nothing happens. Fails with UNAVAILABLE, and
 * with QUERY_TOO_COMPLEX if there are more than a thousand: the answer must not leave then.
 */
export async function recordReads(ctx: OperationContext): Promise<void> {
  const { viewer, reads } = ctx;
  if (viewer === null || reads === null) return;
  const records = [...new Map([...reads.shown, ...reads.confirmed])].map(([id, customerId]) => ({
    id,
    customerId,
  }));
  // If this fails, the answer is replaced by one that shows and confirms none.
  reads.shown.clear();
  reads.confirmed.clear();
  if (records.length === 0) return;
  if (records.length > MOST_NUMBERS) {
    throw new AppError(
      "QUERY_TOO_COMPLEX",
      `The answer shows ${records.length} document numbers, and the limit is ${MOST_NUMBERS}.`,
    );
  }
  const event = newEvent(ctx, viewer, { action: "read", at: ctx.now(), records });
  try {
    await insertOne(ctx.db, event);
  } catch (error) {
    throw error instanceof AppError ? error : unavailable(error);
  }
}
