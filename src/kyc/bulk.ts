import { z } from "zod";
import type { OperationContext } from "../context.ts";
import { AppError, type ErrorCode } from "../errors.ts";
import { findIdempotencyKeyFaults } from "../idempotency/key.ts";
import { MAX_PAGE_SIZE } from "../paging/page-input.ts";
import { parseInput } from "../parse-input.ts";
import { maskNumber } from "./number/document-number.ts";
import type { ShownKyc } from "./show-kyc.ts";

/** The outcome of one item of a bulk write: the record, or why it was not written. */
export type WrittenKyc = { kyc: ShownKyc; error: null } | { kyc: null; error: AppError };

/** The maximum number of items in one call. Sealing their numbers takes a few milliseconds. */
const MOST_ITEMS = MAX_PAGE_SIZE;
const items = z.array(z.unknown()).max(MOST_ITEMS, `must have at most ${MOST_ITEMS} items`);

/** Fails with BAD_USER_INPUT if there are too many items, or if the idempotency key is invalid. */
export function requireItems(ctx: OperationContext, input: readonly unknown[]): void {
  parseInput(items, input, findIdempotencyKeyFaults(ctx.idempotency));
}

/** The failures that one item can have by itself. Any other is the failure of the whole call. */
const OF_ITEMS: ReadonlySet<ErrorCode> = new Set([
  "BAD_USER_INPUT",
  "NOT_FOUND",
  "VERSION_CONFLICT",
  "INTERNAL",
]);

/** Does the work for one item. A failure that belongs to the item is its outcome. */
export function tryItem<T>(work: () => T): { value: T; failure?: undefined } | { failure: AppError } {
  try {
    return { value: work() };
  } catch (error) {
    if (error instanceof AppError && OF_ITEMS.has(error.code)) return { failure: error };
    throw error;
  }
}

/** The item with its fields in a fixed order, to compare repetitions under a key, and the same with its number masked. */
export function toCanonical(item: object): { item: unknown; masked: unknown } {
  const fields = Object.entries(item).filter(([, value]) => value !== undefined);
  const sorted = fields.sort(([a], [b]) => (a < b ? -1 : 1));
  const masked = sorted.map(([name, value]) => [
    name,
    name === "documentNumber" && typeof value === "string" ? maskNumber(value) : value,
  ]);
  return { item: sorted, masked };
}
