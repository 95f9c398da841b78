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

/**
 * Afterwards the trail has one event for all records whose document numbers the answer to this request shows, and
 * keeps it; answers of one moment go in together. Where it shows none, nothing happens. Fails with UNAVAILABLE, and
 * with QUERY_TOO_COMPLEX where it shows more than a thousand: the answer must not leave then.
 */
export async function recordReads(ctx: OperationContext): Promise<void> {
  const { viewer, numbersShown } = ctx;
  if (viewer === null || numbersShown === null || numbersShown.size === 0) return;
  const kycIds = [...numbersShown];
  // What is answered instead, where this fails, shows none.
  numbersShown.clear();
  if (kycIds.length > MOST_NUMBERS) {
    throw new AppError(
      "QUERY_TOO_COMPLEX",
      `The answer shows ${kycIds.length} document numbers, and the limit is ${MOST_NUMBERS}.`,
    );
  }
  const event = newEvent(ctx, viewer, { action: "read", at: ctx.now(), kycIds });
  try {
    await insertOne(ctx.db, event);
  } catch (error) {
    throw error instanceof AppError ? error : unavailable(error);
  }
}
