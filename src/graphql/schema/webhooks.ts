import type { WebhookDelivery } from "../../webhooks/delivery-list-store.ts";
import {
  DELIVERY_STATES,
  type DeliveryState,
  DISABLED_REASONS,
  type DisabledReason,
  WEBHOOK_EVENT_TYPES,
  type WebhookEventType,
} from "../../webhooks/event-types.ts";
import { listDeliveries } from "../../webhooks/list-deliveries.ts";
import type { ShownEndpoint } from "../../webhooks/manage-endpoints.ts";
import { getWebhook, listWebhooks } from "../../webhooks/webhook-operations.ts";
import { LIST_COST, PAGE_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";
import { connectionOf, pageArgs, readAhead } from "./connection.ts";
import { enumValues } from "./enum-values.ts";

const NEEDS = "Needs the scope `webhooks:manage`.";
/** The description of an argument. */
export const WEBHOOK_ID = "The id of the webhook.";

export const WebhookEventTypeEnum = builder.enumType("WebhookEventType", {
  description:
    "A type of event that webhooks deliver. In the body of a request it is written as `kyc.created`.",
  values: {
    KYC_CREATED: { value: "kyc.created", description: WEBHOOK_EVENT_TYPES["kyc.created"] },
    KYC_UPDATED: { value: "kyc.updated", description: WEBHOOK_EVENT_TYPES["kyc.updated"] },
    KYC_DELETED: { value: "kyc.deleted", description: WEBHOOK_EVENT_TYPES["kyc.deleted"] },
    KYC_EXPIRING: { value: "kyc.expiring", description: WEBHOOK_EVENT_TYPES["kyc.expiring"] },
  } as const satisfies Record<string, { value: WebhookEventType; description: string }>,
});

const WebhookDeliveryStateEnum = builder.enumType("WebhookDeliveryState", {
  description: "The state of a delivery.",
  values: enumValues<DeliveryState>(DELIVERY_STATES),
});

const WebhookDisabledReasonEnum = builder.enumType("WebhookDisabledReason", {
  description: "Why a webhook is disabled.",
  values: enumValues<DisabledReason>(DISABLED_REASONS),
});

const WebhookDeliveryType = builder.objectRef<WebhookDelivery>("WebhookDelivery").implement({
  description: "An event that was delivered to a webhook, or is to be.",
  fields: (t) => ({
    position: t.expose("position", {
      type: "SafeInt",
      description: "The event's position in your account's log.",
    }),
    kycId: t.exposeID("kycId", { description: "The id of the record that the event is about." }),
    eventType: t.expose("eventType", { type: WebhookEventTypeEnum, description: "The type of the event." }),
    state: t.expose("state", { type: WebhookDeliveryStateEnum, description: "The state of the delivery." }),
    attempts: t.exposeInt("attempts", {
      description: "How many attempts there were, since it was sent again if it was.",
    }),
    nextAttemptAt: t.expose("nextAttemptAt", {
      type: "DateTime",
      nullable: true,
      description:
        "When it is sent next, unless an earlier change of the same record waits; null if it was delivered or given up.",
    }),
    lastAttemptAt: t.expose("lastAttemptAt", {
      type: "DateTime",
      nullable: true,
      description: "When it was sent last; null if it was not yet.",
    }),
    lastStatus: t.exposeInt("lastStatus", {
      nullable: true,
      description: "The HTTP status of the last answer; null if there was none.",
    }),
    lastResult: t.exposeString("lastResult", {
      nullable: true,
      description: "What the receiver did, in the gateway's words. Nothing else of an answer is kept.",
    }),
  }),
});

const { ConnectionType: WebhookDeliveryConnection } = connectionOf<WebhookDelivery>(
  WebhookDeliveryType,
  "delivery",
);

const WebhookDeliveryFilter = builder.inputType("WebhookDeliveryFilter", {
  description: "Which deliveries to list. Null means the same as absent.",
  fields: (t) => ({
    state: t.field({ type: WebhookDeliveryStateEnum, description: "Only deliveries in this state." }),
  }),
});

export const WebhookType = builder.objectRef<ShownEndpoint>("Webhook").implement({
  description: "A receiver of your account's events. docs/webhooks.md says what it gets.",
  fields: (t) => ({
    id: t.exposeID("id", { description: WEBHOOK_ID }),
    url: t.exposeString("url", { description: "Where events are sent to." }),
    eventTypes: t.expose("eventTypes", {
      extensions: { cost: { weight: 1 } },
      type: [WebhookEventTypeEnum],
      description: "The types of events that it gets.",
    }),
    publicKey: t.exposeString("publicKey", {
      description: "The Ed25519 key that verifies the `v1a` signatures: `whpk_` and 32 bytes in Base64.",
    }),
    previousSecretUntil: t.expose("previousUntil", {
      type: "DateTime",
      nullable: true,
      description: "Until when the previous secret signs as well; null if there is none.",
    }),
    createdAt: t.expose("createdAt", { type: "DateTime", description: "When it was created." }),
    disabledAt: t.expose("disabledAt", {
      type: "DateTime",
      nullable: true,
      description: "Since when it gets nothing; null if it is enabled.",
    }),
    disabledReason: t.expose("disabledBecause", {
      type: WebhookDisabledReasonEnum,
      nullable: true,
      description: "Why it gets nothing; null if it is enabled.",
    }),
    position: t.expose("position", {
      type: "SafeInt",
      description:
        "The position in your account's log that it has reached: events before it were delivered or are in `deliveries`. A disabled one continues there.",
    }),
    lastSuccessAt: t.expose("lastSuccessAt", {
      type: "DateTime",
      nullable: true,
      description: "When it last accepted an event; null if it never has.",
    }),
    failingSince: t.expose("failingSince", {
      type: "DateTime",
      nullable: true,
      description: "When the first attempt after the last success failed; null if none did.",
    }),
    deliveries: t.field({
      type: WebhookDeliveryConnection,
      extensions: { cost: PAGE_COST },
      description:
        "The deliveries, newest first: all that wait, those that were given up within a month, and the latest that were delivered.",
      args: {
        ...pageArgs(t),
        filter: t.arg({ type: WebhookDeliveryFilter, description: "Only deliveries that match it." }),
      },
      resolve: ({ id }, input, ctx, info) => readAhead(listDeliveries(ctx, id, input), info),
    }),
  }),
});

builder.queryFields((t) => ({
  webhooks: t.field({
    type: [WebhookType],
    extensions: { cost: LIST_COST },
    description: `The webhooks of your account, oldest first: 20 at most. ${NEEDS}`,
    resolve: (_root, _args, ctx) => listWebhooks(ctx),
  }),
  webhook: t.field({
    type: WebhookType,
    nullable: true,
    description: `The webhook with this id; null if your account has none. ${NEEDS}`,
    args: { id: t.arg.id({ required: true, description: WEBHOOK_ID }) },
    resolve: (_root, { id }, ctx) => getWebhook(ctx, id),
  }),
}));
