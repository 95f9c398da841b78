import { toEventId } from "../../audit/cursor.ts";
import type { AuditEvent } from "../../audit/event.ts";
import { type KycState, kycAsOf } from "../../audit/kyc-as-of.ts";
import { listAuditEvents } from "../../audit/list-audit-events.ts";
import { ADMINISTRATIVE_ACTS, type AuditAction, NOTICES, type Surface } from "../../vocabulary.ts";
import { AS_OF_COST, ID_LIST_COST, PAGE_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";
import { connectionOf, pageArgs, readAhead } from "./connection.ts";
import { enumValues } from "./enum-values.ts";
import { KycType } from "./kyc.ts";
import { DateTimeRange, DocumentTypeEnum, VerificationStatusEnum } from "./kyc-filter.ts";

const AuditActionEnum = builder.enumType("AuditAction", {
  description: "What was done to records or announced about them, or an act of administration.",
  values: {
    CREATED: { value: "created", description: "A record was created." },
    UPDATED: { value: "updated", description: "Values of a record were changed." },
    DELETED: { value: "deleted", description: "A record was deleted permanently." },
    READ: {
      value: "read",
      description:
        "An answer showed document numbers. There are such events only if the operators set `AUDIT_READS`.",
    },
    ...enumValues(NOTICES),
    ...enumValues(ADMINISTRATIVE_ACTS),
  } as const satisfies { [A in AuditAction as Uppercase<A>]: unknown },
});

const SurfaceEnum = builder.enumType("Surface", {
  description: "Where an act came from.",
  values: {
    GRAPHQL: { value: "graphql", description: "GraphQL." },
    REST: { value: "rest", description: "The REST API." },
    CLI: { value: "cli", description: "A command that an operator ran." },
    GATEWAY: { value: "gateway", description: "The gateway itself, at its start or in the background." },
  } as const satisfies { [S in Surface as Uppercase<S>]: unknown },
});

export const AuditEventType = builder.objectRef<AuditEvent>("AuditEvent").implement({
  description:
    "One event of the audit trail: who did what, mostly to records. It stays when the records are deleted, and never changes, except that `eraseCustomer` removes its reason.",
  fields: (t) => ({
    // It is not a node, because single events can't be queried. Clients use the id to cache an event once.
    id: t.id({
      description:
        "The event's id, for clients that cache each object once. It is not the id of a record, and `node` does not find it.",
      resolve: toEventId,
    }),
    sequence: t.expose("sequence", {
      type: "SafeInt",
      description:
        "The event's number. It increases with each event; numbers may be missing. Of two changes of one record, the later one has the higher number.",
    }),
    at: t.expose("at", { type: "DateTime", description: "When it happened." }),
    tokenId: t.exposeID("tokenId", {
      description:
        "The id of the token that was used, or a keyed digest of who signed in; `cli` or `gateway` if there was neither.",
    }),
    tokenName: t.exposeString("tokenName", {
      description: "The name of that token, as it was then; `sign-in` for a sign-in.",
    }),
    actor: t.string({
      description:
        "Who did it: the name of the person who signed in, if the operators set `JWT_NAME_CLAIM` and the identity provider's token has one; otherwise the name of the token. A sign-in without a name is shown as `sign-in`.",
      resolve: ({ actorName, tokenName }) => actorName ?? tokenName,
    }),
    surface: t.expose("surface", { type: SurfaceEnum, description: "Where the act came from." }),
    requestId: t.exposeString("requestId", {
      description:
        "The id of the request, which its answer and the gateway's log have too. All events of one run of a command have the same.",
    }),
    action: t.expose("action", { type: AuditActionEnum, description: "What was done." }),
    subject: t.exposeString("subject", {
      nullable: true,
      description:
        "What an act of administration is about: the id of a token, key, webhook, hold or erasure; of `EXPIRING`, the notice as the operators set it, such as `30d`. Null for everything else that is done to records, for exports and backups.",
    }),
    kycId: t.id({
      nullable: true,
      description:
        "The id of the record that was created, updated, deleted or held, or will expire; null if the event is about no single record.",
      resolve: ({ action, kycIds }) => (action === "read" ? null : (kycIds[0] ?? null)),
    }),
    kycIds: t.exposeIDList("kycIds", {
      extensions: { cost: ID_LIST_COST },
      description:
        "The ids of all records that the event is about: several if one answer showed several numbers.",
    }),
    changedFields: t.exposeStringList("changedFields", {
      description: "The fields of `Kyc` that an update changed, by name; empty for every other action.",
    }),
    statusBefore: t.expose("statusBefore", {
      type: VerificationStatusEnum,
      nullable: true,
      description:
        "The record's status before the event; null if it was created, and if its status has no part in the event.",
    }),
    statusAfter: t.expose("statusAfter", {
      type: VerificationStatusEnum,
      nullable: true,
      description:
        "The record's status after the event; null if it was deleted, and if its status has no part in the event.",
    }),
    documentTypeAfter: t.expose("documentTypeAfter", {
      type: DocumentTypeEnum,
      nullable: true,
      description:
        "The record's kind of document after it was created or updated; null for every other action, and in events of release 0.2.",
    }),
    versionAfter: t.exposeInt("versionAfter", {
      nullable: true,
      description:
        "The record's version after it was created or updated, or when `EXPIRING` was announced; null for every other action, and in events of release 0.2.",
    }),
    reason: t.exposeString("reason", {
      nullable: true,
      description: "Why the caller did it; null if they gave no reason, or if the customer was erased since.",
    }),
  }),
});

const { ConnectionType: AuditEventConnection } = connectionOf<AuditEvent>(AuditEventType, "event");

const AuditEventFilter = builder.inputType("AuditEventFilter", {
  description: "Which events to list: those that match all given fields. Null means the same as absent.",
  fields: (t) => ({
    kycId: t.id({ description: "Only events of the record with this id, which may have been deleted." }),
    customerId: t.string({
      description:
        "Only events of this customer's records, also of deleted ones: your own identifier of the customer. It is not kept: a keyed digest finds the events.",
    }),
    tokenId: t.id({ description: "Only events that this token caused." }),
    actor: t.string({
      description:
        "Only events that this person or token caused: the name of who signed in, or the name or id of a token. It is compared exactly. Sign-ins without a name are found by `tokenId` only.",
    }),
    action: t.field({ type: AuditActionEnum, description: "Only events with this action." }),
    actionIn: t.field({ type: [AuditActionEnum], description: "Only events with one of these actions." }),
    statusAfter: t.field({
      type: VerificationStatusEnum,
      description: "Only events after which the record had this status, whether they changed it or not.",
    }),
    at: t.field({ type: DateTimeRange, description: "Only events in this span of time." }),
  }),
});

builder.queryField("auditEvents", (t) =>
  t.field({
    type: AuditEventConnection,
    extensions: { cost: PAGE_COST },
    description:
      "What was done in your account, newest first: the latest ten events if neither `first` nor `last` is given. Needs the scope `audit:read`.",
    args: {
      ...pageArgs(t),
      filter: t.arg({ type: AuditEventFilter, description: "Only events that match it." }),
    },
    resolve: async (_root, { filter, ...page }, ctx, info) => {
      const { from, to } = filter?.at ?? {};
      const at = { from: from?.getTime(), to: to?.getTime() };
      return readAhead(await listAuditEvents(ctx, { ...page, filter: { ...filter, at } }), info);
    },
  }),
);

const KycStateType = builder.objectRef<KycState>("KycState").implement({
  description:
    "What a record was at a time, according to its events. A null value is unknown, unless the record was deleted.",
  fields: (t) => ({
    kycId: t.exposeID("kycId", { description: "The id of the record." }),
    isDeleted: t.exposeBoolean("isDeleted", {
      description:
        "Whether it had been deleted by then. If so, `since` says when, and all other values are null.",
    }),
    verificationStatus: t.expose("verificationStatus", {
      type: VerificationStatusEnum,
      nullable: true,
      description: "Its status at that time.",
    }),
    documentType: t.expose("documentType", {
      type: DocumentTypeEnum,
      nullable: true,
      description:
        "Its kind of document at that time. Events of release 0.2 do not have it: then it is known only if a later event or the record says it, and nothing changed it in between.",
    }),
    version: t.exposeInt("version", { nullable: true, description: "Its version at that time." }),
    since: t.expose("since", {
      type: "DateTime",
      nullable: true,
      description:
        "Since when it was like this: the time of the change that made this version, or of the deletion.",
    }),
    statusSince: t.expose("statusSince", {
      type: "DateTime",
      nullable: true,
      description: "Since when it had this status. Later changes of other values leave it as it is.",
    }),
  }),
});

builder.queryField("kycAsOf", (t) =>
  t.field({
    type: KycStateType,
    nullable: true,
    extensions: { cost: AS_OF_COST },
    description:
      "What the record was at a time, computed from its events, also if it has been deleted since: status, kind of document and version, without the document number. Null if your account had no such record then. Needs the scope `audit:read`.",
    args: {
      id: t.arg.id({ required: true, description: "The id of the record, which may have been deleted." }),
      at: t.arg({ type: "DateTime", required: true, description: "The time." }),
    },
    resolve: (_root, { id, at }, ctx) => kycAsOf(ctx, id, at.earlier),
  }),
);

builder.objectField(KycType, "history", (t) =>
  t.field({
    type: AuditEventConnection,
    extensions: { cost: PAGE_COST },
    nullable: true,
    description: "What was done to the record, newest first. Needs the scope `audit:read`; null without it.",
    args: pageArgs(t),
    resolve: async ({ id }, page, ctx, info) =>
      readAhead(await listAuditEvents(ctx, { ...page, filter: { kycId: id } }), info),
  }),
);
