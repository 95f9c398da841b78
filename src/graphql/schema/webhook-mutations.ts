import {
  createEndpoint,
  deleteEndpoint,
  disableEndpoint,
  enableEndpoint,
  rotateSecret,
  type ShownEndpoint,
  type ShownSecret,
  updateEndpoint,
} from "../../webhooks/manage-endpoints.ts";
import { resendEvents } from "../../webhooks/resend.ts";
import { manageWebhooks } from "../../webhooks/webhook-operations.ts";
import { builder } from "./builder.ts";
import { runMutation } from "./mutation.ts";
import { WEBHOOK_ID, WebhookEventTypeEnum, WebhookType } from "./webhooks.ts";

const NULL_IF_FAILED = "Needs the scope `webhooks:manage`. Null if it fails.";
const WHERE_TO =
  "Where events are sent to: an `https` URL without a user name, whose host is on the internet. Redirects are not followed.";

const CreateWebhookInput = builder.inputType("CreateWebhookInput", {
  description: "A new webhook.",
  fields: (t) => ({
    url: t.string({ required: true, description: WHERE_TO }),
    eventTypes: t.field({
      type: [WebhookEventTypeEnum],
      required: true,
      description: "The types of events that it gets, at least one.",
    }),
  }),
});

const UpdateWebhookInput = builder.inputType("UpdateWebhookInput", {
  description: "Changes to a webhook. Absent fields stay as they are; null is an error.",
  fields: (t) => ({
    id: t.id({ required: true, description: WEBHOOK_ID }),
    url: t.string({ description: `${WHERE_TO} Waiting deliveries are sent there, too.` }),
    eventTypes: t.field({
      type: [WebhookEventTypeEnum],
      description: "The types of events that it gets from its position on, at least one.",
    }),
  }),
});

const RotateWebhookSecretInput = builder.inputType("RotateWebhookSecretInput", {
  description: "Which webhook gets a new secret.",
  fields: (t) => ({
    id: t.id({ required: true, description: WEBHOOK_ID }),
    overlapHours: t.int({
      description:
        "For how many hours the previous secret signs as well, 0 to 720; 24 if it is absent. 0 if it has leaked.",
    }),
  }),
});

const ResendWebhookEventsInput = builder.inputType("ResendWebhookEventsInput", {
  description: "Which events to send again.",
  fields: (t) => ({
    id: t.id({ required: true, description: WEBHOOK_ID }),
    from: t.field({ type: "SafeInt", required: true, description: "The position of the first event." }),
    to: t.field({
      type: "SafeInt",
      required: true,
      description: "The position of the last event: the same for one event, at most 9999 more.",
    }),
    onlyFailed: t.boolean({ description: "Whether only events that were given up are sent." }),
  }),
});

const idInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ id: t.id({ required: true, description: WEBHOOK_ID }) }),
  });
const EnableWebhookInput = idInput("EnableWebhookInput", "Which webhook to enable.");
const DisableWebhookInput = idInput("DisableWebhookInput", "Which webhook to disable.");
const DeleteWebhookInput = idInput("DeleteWebhookInput", "Which webhook to delete.");

const webhookPayload = (name: string, field: string) =>
  builder.objectRef<{ endpoint: ShownEndpoint }>(name).implement({
    description: `What \`${field}\` did.`,
    fields: (t) => ({
      webhook: t.expose("endpoint", { type: WebhookType, description: "The webhook as it is now." }),
    }),
  });
const secretPayload = (name: string, field: string) =>
  builder.objectRef<ShownSecret>(name).implement({
    description: `What \`${field}\` did.`,
    fields: (t) => ({
      webhook: t.expose("endpoint", { type: WebhookType, description: "The webhook as it is now." }),
      secret: t.exposeString("secret", {
        description: "The secret that verifies the `v1` signatures, `whsec_…`. It is shown only here.",
      }),
    }),
  });
const CreateWebhookPayload = secretPayload("CreateWebhookPayload", "createWebhook");
const RotateWebhookSecretPayload = secretPayload("RotateWebhookSecretPayload", "rotateWebhookSecret");
const UpdateWebhookPayload = webhookPayload("UpdateWebhookPayload", "updateWebhook");
const EnableWebhookPayload = webhookPayload("EnableWebhookPayload", "enableWebhook");
const DisableWebhookPayload = webhookPayload("DisableWebhookPayload", "disableWebhook");
const DeleteWebhookPayload = builder.objectRef<{ deletedId: string }>("DeleteWebhookPayload").implement({
  description: "What `deleteWebhook` did.",
  fields: (t) => ({ deletedId: t.exposeID("deletedId", { description: "The id of the deleted webhook." }) }),
});
const ResendWebhookEventsPayload = builder
  .objectRef<{ events: number }>("ResendWebhookEventsPayload")
  .implement({
    description: "What `resendWebhookEvents` did.",
    fields: (t) => ({
      events: t.exposeInt("events", {
        description:
          "How many events are sent again: those of its types that the webhook has already reached.",
      }),
    }),
  });

builder.mutationFields((t) => ({
  createWebhook: t.field({
    type: CreateWebhookPayload,
    nullable: true,
    description: `Adds a webhook. It gets the events from now on. ${NULL_IF_FAILED}`,
    args: { input: t.arg({ type: CreateWebhookInput, required: true, description: "The new webhook." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, () =>
        manageWebhooks(ctx, "createWebhook", input, (tx, managing, id) =>
          createEndpoint(tx, managing, input, id),
        ),
      ),
  }),
  updateWebhook: t.field({
    type: UpdateWebhookPayload,
    nullable: true,
    description: `Changes a webhook. ${NULL_IF_FAILED}`,
    args: { input: t.arg({ type: UpdateWebhookInput, required: true, description: "The changes." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, () =>
        manageWebhooks(ctx, "updateWebhook", input, async (tx, managing) => ({
          endpoint: await updateEndpoint(tx, managing, input),
        })),
      ),
  }),
  rotateWebhookSecret: t.field({
    type: RotateWebhookSecretPayload,
    nullable: true,
    description: `Gives a webhook a new secret; for some time, both sign. ${NULL_IF_FAILED}`,
    args: { input: t.arg({ type: RotateWebhookSecretInput, required: true, description: "Which webhook." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, () =>
        manageWebhooks(ctx, "rotateWebhookSecret", input, (tx, managing) =>
          rotateSecret(tx, managing, input),
        ),
      ),
  }),
}));

builder.mutationFields((t) => ({
  enableWebhook: t.field({
    type: EnableWebhookPayload,
    nullable: true,
    description: `Enables a webhook. It continues where it was: nothing that happened meanwhile is left out. ${NULL_IF_FAILED}`,
    args: { input: t.arg({ type: EnableWebhookInput, required: true, description: "Which webhook." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, () =>
        manageWebhooks(ctx, "enableWebhook", input, async (tx, managing) => ({
          endpoint: await enableEndpoint(tx, managing, input.id),
        })),
      ),
  }),
  disableWebhook: t.field({
    type: DisableWebhookPayload,
    nullable: true,
    description: `Disables a webhook: it gets nothing until it is enabled, and then what happened meanwhile. ${NULL_IF_FAILED}`,
    args: { input: t.arg({ type: DisableWebhookInput, required: true, description: "Which webhook." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, () =>
        manageWebhooks(ctx, "disableWebhook", input, async (tx, managing) => ({
          endpoint: await disableEndpoint(tx, managing, input.id),
        })),
      ),
  }),
  deleteWebhook: t.field({
    type: DeleteWebhookPayload,
    nullable: true,
    description: `Deletes a webhook and its stored deliveries. ${NULL_IF_FAILED}`,
    args: { input: t.arg({ type: DeleteWebhookInput, required: true, description: "Which webhook." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, () =>
        manageWebhooks(ctx, "deleteWebhook", input, async (tx, managing) => {
          await deleteEndpoint(tx, managing, input.id);
          return { deletedId: input.id };
        }),
      ),
  }),
  resendWebhookEvents: t.field({
    type: ResendWebhookEventsPayload,
    nullable: true,
    description: `Sends events to a webhook again, whether they were delivered, given up or never sent to it. Later events of the same records wait for them. ${NULL_IF_FAILED}`,
    args: { input: t.arg({ type: ResendWebhookEventsInput, required: true, description: "Which events." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, () =>
        manageWebhooks(ctx, "resendWebhookEvents", input, async (tx, managing) => ({
          events: await resendEvents(tx, managing, input),
        })),
      ),
  }),
}));
