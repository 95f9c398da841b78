import type { AuditEvent } from "../../audit/event.ts";
import { listAuditEvents } from "../../audit/list-audit-events.ts";
import type { AUDIT_ACTIONS } from "../../vocabulary.ts";
import { ID_LIST_COST, PAGE_COST } from "../documents/cost.ts";
import { builder } from "./builder.ts";
import { connectionOf, pageArgs, readAhead } from "./connection.ts";
import { DateTimeRange, KycType, VerificationStatusEnum } from "./kyc.ts";

const AuditAction = builder.enumType("AuditAction", {
  description: "What was done to records.",
  values: {
    CREATED: { value: "created", description: "A record was created." },
    UPDATED: { value: "updated", description: "Values of a record were changed." },
    DELETED: { value: "deleted", description: "A record was deleted for good." },
    READ: {
      value: "read",
      description:
        "An answer showed document numbers. There are such events only if the operators set `AUDIT_READS`.",
    },
  } as const satisfies Record<Uppercase<(typeof AUDIT_ACTIONS)[number]>, unknown>,
});

const Surface = builder.enumType("Surface", {
  description: "The API that a request came through.",
  values: {
    GRAPHQL: { value: "graphql", description: "GraphQL." },
    REST: { value: "rest", description: "The REST API." },
  } as const,
});

export const AuditEventType = builder.objectRef<AuditEvent>("AuditEvent").implement({
  description:
    "One event of the audit trail: who did what to which records. It stays when the records are deleted, and never changes.",
  fields: (t) => ({
    // It is not a node, because single events can't be queried. Clients use the id to cache an event once.
    id: t.id({
      description:
        "The event's id, for clients that cache each object once. It is not the id of a record, and `node` does not find it.",
      resolve: ({ sequence }) => `evt_${sequence}`,
    }),
    sequence: t.expose("sequence", {
      type: "SafeInt",
      description:
        "The event's number. It increases with each event; numbers may be missing. Of two changes of one record, the later one has the higher number.",
    }),
    at: t.expose("at", { type: "DateTime", description: "When it happened." }),
    tokenId: t.exposeID("tokenId", { description: "The id of the token that was used." }),
    tokenName: t.exposeString("tokenName", { description: "The name of that token." }),
    surface: t.expose("surface", { type: Surface, description: "The API that the request came through." }),
    requestId: t.exposeString("requestId", {
      description: "The id of the request, which its answer and the gateway's log have too.",
    }),
    action: t.expose("action", { type: AuditAction, description: "What was done." }),
    kycId: t.id({
      nullable: true,
      description: "The id of the record that was created, updated or deleted; null if records were read.",
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
      description: "The record's status before the change; null if it was created or read.",
    }),
    statusAfter: t.expose("statusAfter", {
      type: VerificationStatusEnum,
      nullable: true,
      description: "The record's status after the change; null if it was deleted or read.",
    }),
    reason: t.exposeString("reason", {
      nullable: true,
      description: "Why the caller did it; null if they gave no reason.",
    }),
  }),
});

const { ConnectionType: AuditEventConnection } = connectionOf<AuditEvent>(AuditEventType, "event");

const AuditEventFilter = builder.inputType("AuditEventFilter", {
  description: "Which events to list: those that match all given fields. Null means the same as absent.",
  fields: (t) => ({
    kycId: t.id({ description: "Only events of the record with this id, which may have been deleted." }),
    tokenId: t.id({ description: "Only events that this token caused." }),
    action: t.field({ type: AuditAction, description: "Only events with this action." }),
    at: t.field({ type: DateTimeRange, description: "Only events in this span of time." }),
  }),
});

builder.queryField("auditEvents", (t) =>
  t.field({
    type: AuditEventConnection,
    extensions: { cost: PAGE_COST },
    description:
      "What was done to your account's records, newest first: the latest ten events if neither `first` nor `last` is given. Needs the scope `audit:read`.",
    args: {
      ...pageArgs(t),
      filter: t.arg({ type: AuditEventFilter, description: "Only events that match it." }),
    },
    resolve: (_root, { filter, ...page }, ctx, info) => {
      const { from, to } = filter?.at ?? {};
      const at = { from: from?.getTime(), to: to?.getTime() };
      return readAhead(listAuditEvents(ctx, { ...page, filter: { ...filter, at } }), info);
    },
  }),
);

builder.objectField(KycType, "history", (t) =>
  t.field({
    type: AuditEventConnection,
    extensions: { cost: PAGE_COST },
    nullable: true,
    description: "What was done to the record, newest first. Needs the scope `audit:read`; null without it.",
    args: pageArgs(t),
    resolve: ({ id }, page, ctx, info) =>
      readAhead(listAuditEvents(ctx, { ...page, filter: { kycId: id } }), info),
  }),
);
