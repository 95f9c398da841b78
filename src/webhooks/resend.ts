import { z } from "zod";
import { recordAct } from "../administration/record-act.ts";
import type { Executor } from "../db/client.ts";
import { badUserInput } from "../errors.ts";
import { parseInput, type Raw } from "../parse-input.ts";
import { lockEndpoint } from "./endpoint-store.ts";
import { endpointNotFound, type Managing } from "./manage-endpoints.ts";
import { countWaiting, MOST_WAITING, queueRange } from "./queue-store.ts";

/** Positions of one call. */
const MOST_POSITIONS = 10_000;

const position = z
  .number("must be a position: a whole number from 0 on")
  .refine(
    (value) => Number.isSafeInteger(value) && value >= 0,
    "must be a position: a whole number from 0 on",
  );
const resendInput = z
  .object({
    id: z.string("must be a string"),
    from: position,
    to: position,
    onlyFailed: z.boolean().optional(),
  })
  .refine(({ from, to }) => to >= from, { path: ["to"], message: "must not be before from" })
  .refine(({ from, to }) => to - from < MOST_POSITIONS, {
    path: ["to"],
    message: `must be less than ${MOST_POSITIONS} positions after from`,
  });
export type ResendInput = Raw<typeof resendInput>;

/**
 * Sends the events at the positions `from` to `to`, both included, to the webhook again: those of its types that its
 * cursor has passed, and with `onlyFailed` those that were given up. Each has all its attempts again. Returns how many
 * they are. Later events of the same records wait until then. Fails with NOT_FOUND and BAD_USER_INPUT, also if too many
 * wait already.
 */
export async function resendEvents(tx: Executor, managing: Managing, input: ResendInput): Promise<number> {
  const { id, from, to, onlyFailed = false } = parseInput(resendInput, input);
  const { accountId, by, now } = managing;
  if (!(await lockEndpoint(tx, accountId, id))) throw endpointNotFound();
  if ((await countWaiting(tx, accountId, id, MOST_WAITING)) >= MOST_WAITING) {
    const message = `must not be a webhook with ${MOST_WAITING} deliveries that wait: repeat this when fewer do`;
    throw badUserInput([{ path: ["id"], kind: "invalid", message }]);
  }
  const queued = await queueRange(tx, { accountId, id }, { from, to: to + 1, onlyFailed });
  if (queued > 0) await recordAct(tx, by, { action: "webhook_resent", subject: id, at: now }, accountId);
  return queued;
}
