import {
  type CHANGE_ACTIONS,
  type ChangeOfKyc,
  followKycChanges,
  getChangeCursor,
  getChangedKyc,
} from "../../kyc/kyc-changes.ts";
import { builder } from "./builder.ts";
import { KycType } from "./kyc.ts";
import { DocumentTypeEnum, VerificationStatusEnum } from "./kyc-filter.ts";

const KycChangeAction = builder.enumType("KycChangeAction", {
  description: "What happened to a record.",
  values: {
    CREATED: { value: "created", description: "It was created." },
    UPDATED: { value: "updated", description: "Values of it were changed." },
    DELETED: { value: "deleted", description: "It was deleted permanently." },
    EXPIRING: {
      value: "expiring",
      description:
        "It will expire soon, and nothing of it has changed. Its expiry itself is an update of its status.",
    },
  } as const satisfies Record<Uppercase<(typeof CHANGE_ACTIONS)[number]>, unknown>,
});

const KycChangeType = builder.objectRef<ChangeOfKyc>("KycChange").implement({
  description:
    "A change of a record. If nothing has matched for some 25 seconds, an event without `action`, `kycId` and `kyc` says how far the log was read: keep its cursor and ignore the rest.",
  fields: (t) => ({
    cursor: t.exposeString("cursor", {
      description:
        "Where a stream continues after this event: give it as `after`. It works on every replica and contains no personal data.",
    }),
    position: t.expose("position", {
      type: "SafeInt",
      nullable: true,
      description:
        "The event's position in your account's log, which numbers all events without a gap. Events that are no changes of records, or don't match the filter, are left out. If this event only reports how far the log was read, it is the position of the last event that was read; null if the log is empty.",
    }),
    at: t.expose("at", {
      type: "DateTime",
      description: "When it happened; if the event only reports how far the log was read, when it was sent.",
    }),
    action: t.expose("action", {
      type: KycChangeAction,
      nullable: true,
      description: "What happened; null if the event only reports how far the log was read.",
    }),
    kycId: t.exposeID("kycId", {
      nullable: true,
      description: "The id of the record; null if the event only reports how far the log was read.",
    }),
    kyc: t.field({
      type: KycType,
      nullable: true,
      description:
        "The record as your token sees it now, which can be later than the change; null if it is deleted, or if the event only reports how far the log was read.",
      resolve: (change, _args, ctx) => getChangedKyc(ctx, change),
    }),
  }),
});

const KycChangeFilter = builder.inputType("KycChangeFilter", {
  description:
    "Which changes to get: those that match all given fields. Null means the same as absent. The changes of a record that is deleted match by what it was until then.",
  fields: (t) => ({
    kycId: t.id({ description: "Only changes of the record with this id." }),
    customerId: t.string({ description: "Only changes of this customer's records." }),
    verificationStatus: t.field({
      type: VerificationStatusEnum,
      description:
        "Only changes that left the record with this status, deletions of records that had it, and what is announced about records that have it.",
    }),
    documentType: t.field({
      type: DocumentTypeEnum,
      description:
        "Only changes of records that have this kind of document now, or had it when they were deleted.",
    }),
    action: t.field({ type: KycChangeAction, description: "Only changes of this kind." }),
  }),
});

builder.queryField("changeCursor", (t) =>
  t.string({
    description:
      "The cursor of your account's latest event. Read it before you load records, and give it to `kycChanged` as `after`: then no change is missed in between. Needs the scope `kyc:read`.",
    resolve: (_root, _args, ctx) => getChangeCursor(ctx),
  }),
);

builder.subscriptionField("kycChanged", (t) =>
  t.field({
    type: KycChangeType,
    description:
      "The changes of your account's records, each once and in order, from now on or after a cursor. Needs the scope `kyc:read`.",
    args: {
      after: t.arg.string({
        description: "Continue after this cursor. The header `Last-Event-ID` replaces it.",
      }),
      filter: t.arg({ type: KycChangeFilter, description: "Only changes that match it." }),
    },
    subscribe: (root, input, ctx) =>
      followKycChanges(ctx, input, (root as { lastEventId?: string }).lastEventId),
    resolve: (change) => change as ChangeOfKyc,
  }),
);
