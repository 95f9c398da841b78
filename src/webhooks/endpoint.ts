import type { DisabledReason, WebhookEventType } from "./event-types.ts";

/** A receiver of an account's events, without its secrets. Times are epoch milliseconds. */
export interface WebhookEndpoint {
  accountId: string;
  id: string;
  url: string;
  eventTypes: WebhookEventType[];
  /** Until when the last of the secrets before the present one signs, too; null: there is none. */
  previousUntil: number | null;
  createdAt: number;
  /** Null: it is enabled. */
  disabledAt: number | null;
  disabledBecause: DisabledReason | null;
  /** All events before this position were delivered, are to be delivered, or were given up. */
  position: number;
  lastSuccessAt: number | null;
  /** When the first attempt after the last success failed; null: the last one did not. */
  failingSince: number | null;
}

/** An endpoint as it is stored. */
export interface StoredEndpoint extends WebhookEndpoint {
  sealedSecrets: string;
}
