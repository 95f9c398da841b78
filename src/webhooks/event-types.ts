/** Every type of event that webhooks deliver, and what it means. A new one needs no migration. */
export const WEBHOOK_EVENT_TYPES = {
  "kyc.created": "A record was created.",
  "kyc.updated": "Values of a record were changed.",
  "kyc.deleted": "A record was deleted permanently.",
  "kyc.expiring": "A verified record will expire soon.",
} as const;
export type WebhookEventType = keyof typeof WEBHOOK_EVENT_TYPES;

/** The state of a delivery, and what it means. */
export const DELIVERY_STATES = {
  pending:
    "It is to be sent: for the first time, again after a failure, or after an earlier change of its record.",
  delivered: "The receiver has accepted it.",
  failed: "It was given up after all attempts, while other events arrived. It can be sent again.",
} as const;
export type DeliveryState = keyof typeof DELIVERY_STATES;

/** Why a webhook gets no events, and what it means. */
export const DISABLED_REASONS = {
  requested: "A user or an operator disabled it.",
  gone: "Its receiver has answered with the status 410.",
  failing: "All attempts for one event failed, and no other event was delivered in that time.",
} as const;
export type DisabledReason = keyof typeof DISABLED_REASONS;
