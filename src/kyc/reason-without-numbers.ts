import type { Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { badUserInput } from "../errors.ts";
import { untilTurn } from "../lib/turns.ts";
import { foldText, LETTER_OR_DIGIT, toAuditReason } from "./reason.ts";
import type { Kyc } from "./record.ts";
import { requireNumber } from "./show-kyc.ts";

/** A reason is compared with the numbers of up to this many records of a customer. */
export const MOST_COMPARED = 10_000;

/**
 * The reason of an act that concerns a customer and these records of it. Fails as `toAuditReason` does for each of the
 * records, and if the reason contains the customer's id as a word: the act stays in the trail after the customer is erased.
 */
export async function toReasonWithoutNumbers(
  ctx: OperationContext,
  viewer: Viewer,
  reason: string,
  customerId: string,
  records: readonly Kyc[],
): Promise<string> {
  if (hasWord(foldText(reason), foldText(customerId))) {
    const message = "must not contain the customer's id";
    throw badUserInput([{ path: ["reason"], kind: "invalid", message }]);
  }
  let text = reason;
  for (const record of records) {
    const turn = untilTurn();
    if (turn) await turn;
    const confirm = () => ctx.reads?.confirmed.set(record.id, record.customerId);
    const open = () => requireNumber(ctx, viewer.accountId, record);
    text = toAuditReason(viewer, text, undefined, open, confirm) as string;
  }
  return text;
}

function hasWord(text: string, word: string): boolean {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    // The characters around it: a letter can be two UTF-16 units, of which neither is a letter.
    const end = at + word.length;
    const [before, after] = [
      [...text.slice(Math.max(0, at - 2), at)].at(-1),
      [...text.slice(end, end + 2)].at(0),
    ];
    if (![before, after].some((character = "") => LETTER_OR_DIGIT.test(character))) return true;
  }
  return false;
}
