import { toChangeCursor } from "../changes/cursor.ts";
import type { DueDelivery } from "./delivery-store.ts";
import type { SignMessage } from "./secrets.ts";

/** A request to a receiver. */
interface SignedMessage {
  headers: Record<string, string>;
  body: string;
}

/**
 * The body of an event: ids, positions and statuses, and nothing else of a record. It is the same in each attempt.
 */
function toBody(due: DueDelivery): string {
  const { eventType, at, position, previousPosition, kycId, statusBefore, statusAfter, versionAfter } = due;
  const action = eventType.slice(eventType.indexOf(".") + 1);
  const data = { position, previousPosition, kycId, action, statusBefore, statusAfter, versionAfter };
  return JSON.stringify({ type: eventType, timestamp: new Date(at).toISOString(), data });
}

/** The event as it is sent at this time. Its id is that of the feed, and the same in each attempt. */
export function toMessage(
  accountId: string,
  sign: SignMessage,
  due: DueDelivery,
  now: number,
): SignedMessage {
  const body = toBody(due);
  const id = toChangeCursor(accountId, due.position + 1);
  const at = new Date(now);
  return {
    body,
    headers: {
      "content-type": "application/json",
      "user-agent": "kyc-gateway",
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(now / 1000)),
      "webhook-signature": sign({ id, at, text: body }),
    },
  };
}
