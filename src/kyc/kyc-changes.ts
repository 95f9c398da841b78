import { z } from "zod";
import { findDeletedKyc, isEventOfCustomer } from "../audit/deleted-store.ts";
import { requireScope, requireViewer } from "../auth/scopes.ts";
import { fromChangeCursor, toChangeCursor } from "../changes/cursor.ts";
import type { EventLogs, Follower, LoggedEvent, OperationContext } from "../context.ts";
import { badUserInput } from "../errors.ts";
import { isKycId } from "../kyc-id.ts";
import { parseInput, type Raw } from "../parse-input.ts";
import { DOCUMENT_TYPES, NOTICES, VERIFICATION_STATUSES, wordsOf } from "../vocabulary.ts";
import { customerId } from "./input.ts";
import type { Kyc } from "./record.ts";
import { type ReadRecord, readShared } from "./shared-records.ts";
import { ShownKyc } from "./show-kyc.ts";
import { findKyc } from "./store/read.ts";

/** Changes of records and notices about them. All other events of a log are acts of administration or reads. */
export const CHANGE_ACTIONS = ["created", "updated", "deleted", ...wordsOf(NOTICES)] as const;
type ChangeAction = (typeof CHANGE_ACTIONS)[number];

/** A change of a record, or how far the log was read if `action` and `kycId` are null. */
export interface ChangeOfKyc {
  cursor: string;
  /** Null if the log is empty. */
  position: number | null;
  at: number;
  action: ChangeAction | null;
  kycId: string | null;
  /** Reads the record; undefined if there is none. */
  read: () => Promise<Kyc | undefined>;
}

const filterInput = z.object({
  kycId: z.string().refine(isKycId, "must be the id of a record").nullish(),
  customerId: customerId.nullish(),
  verificationStatus: z.enum(VERIFICATION_STATUSES).nullish(),
  documentType: z.enum(DOCUMENT_TYPES).nullish(),
  action: z.enum(CHANGE_ACTIONS).nullish(),
});
const followInput = z.object({ after: z.string().nullish(), filter: filterInput.nullish() });
type FollowInput = Raw<typeof followInput>;
type Filter = z.infer<typeof filterInput>;

/** The logs. Fails in commands, which have none. */
export function requireLogs({ logs }: OperationContext): EventLogs {
  if (logs) return logs;
  throw new Error("this process follows no logs");
}

/**
 * How many events of the account's log are before the cursor; null if there is no cursor. Fails with BAD_USER_INPUT if it
 * is not a cursor of this account, or is ahead of the log. `name` is the name of the input.
 */
export function readChangeCursor(
  accountId: string,
  size: number,
  cursor: string | null | undefined,
  name = "after",
): number | null {
  if (cursor == null) return null;
  const seen = fromChangeCursor(accountId, cursor);
  const refuse = (message: string) => badUserInput([{ path: [name], kind: "invalid", message }]);
  if (seen === null) throw refuse("is not a cursor of your account's changes");
  if (seen > size) {
    throw refuse(
      "is ahead of your account's log, so the database was restored to an earlier state: load your data again, and begin without a cursor",
    );
  }
  return seen;
}

/** The cursor after the latest event of the account. Needs `kyc:read`. */
export async function getChangeCursor(ctx: OperationContext): Promise<string> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  return toChangeCursor(accountId, await requireLogs(ctx).sizeOf(accountId));
}

/**
 * Follows the changes of the account's records after a cursor, or from now on. `lastEventId` is the cursor with which a
 * client continues: it replaces `after`. Needs `kyc:read`. Fails with BAD_USER_INPUT, and if there are too many followers
 * as `EventLogs.follow`. The caller must close the result.
 */
export async function followKycChanges(
  ctx: OperationContext,
  input: FollowInput,
  lastEventId?: string,
): Promise<KycChanges> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  const { after, filter } = parseInput(followInput, input);
  const logs = requireLogs(ctx);
  const size = await logs.sizeOf(accountId);
  const from = lastEventId
    ? readChangeCursor(accountId, size, lastEventId, "Last-Event-ID")
    : readChangeCursor(accountId, size, after);
  return new KycChanges(ctx, filter ?? {}, logs.follow(accountId, from ?? size));
}

/**
 * The record of a change as the viewer sees it, which can be later than the change; null if there is none. The followers of
 * a log share the read. Needs `kyc:read`.
 */
export async function getChangedKyc(ctx: OperationContext, change: ChangeOfKyc): Promise<ShownKyc | null> {
  requireScope(ctx.viewer, "kyc:read");
  const stored = change.action === "deleted" ? undefined : await change.read();
  return stored ? new ShownKyc(ctx, stored) : null;
}

/** The changes that one caller follows. It is iterable so that graphql-js accepts it as the source of a subscription. */
export class KycChanges implements AsyncIterable<never> {
  readonly #accountId: string;
  readonly #filter: Filter;
  readonly follower: Follower;

  constructor(ctx: OperationContext, filter: Filter, follower: Follower) {
    this.#accountId = requireViewer(ctx.viewer).accountId;
    this.#filter = filter;
    this.follower = follower;
  }

  /** The cursor after the last event that the follower has passed. */
  get cursor(): string {
    return toChangeCursor(this.#accountId, this.follower.position);
  }

  /** Selects the events that are changes and match the filter. Fails with UNAVAILABLE. */
  async select(ctx: OperationContext, events: readonly LoggedEvent[]): Promise<ChangeOfKyc[]> {
    const records = readShared(events, (kycId) => findKyc(ctx.db, this.#accountId, kycId));
    const selected = await Promise.all(events.map((event) => this.#matches(ctx, event, records)));
    return events
      .filter((_event, index) => selected[index])
      .map((event) => toChange(this.#accountId, event, () => records(event.kycId as string)));
  }

  /** An entry that only says how far the log was read. */
  progress(now: number): ChangeOfKyc {
    const { position } = this.follower;
    return {
      ...{ cursor: this.cursor, position: position === 0 ? null : position - 1 },
      ...{ at: now, action: null, kycId: null, read: async () => undefined },
    };
  }

  async #matches(ctx: OperationContext, event: LoggedEvent, records: ReadRecord): Promise<boolean> {
    const { kycId, customerId, verificationStatus, documentType, action } = this.#filter;
    if (!isChange(event)) return false;
    if (action != null && event.action !== action) return false;
    if (kycId != null && event.kycId !== kycId) return false;
    const status = event.action === "deleted" ? event.statusBefore : event.statusAfter;
    if (verificationStatus != null && status !== verificationStatus) return false;
    if (customerId == null && documentType == null) return true;
    const record = await records(event.kycId as string);
    if (!record) return this.#matchesDeleted(ctx, event.kycId as string);
    if (customerId != null && record.customerId !== customerId) return false;
    return documentType == null || record.documentType === documentType;
  }

  /** Whether a deleted record was of the customer and had the kind of document, according to the trail. */
  async #matchesDeleted({ db, digestCustomer }: OperationContext, kycId: string): Promise<boolean> {
    const { customerId, documentType } = this.#filter;
    const accountId = this.#accountId;
    const deleted = await findDeletedKyc(db, accountId, kycId);
    if (!deleted || (documentType != null && deleted.documentType !== documentType)) return false;
    if (customerId == null) return true;
    const digest = digestCustomer(accountId, customerId);
    return isEventOfCustomer(db, { accountId, sequence: deleted.sequence, digest });
  }

  /** Not used: a stream takes whole pages of events from the follower. */
  [Symbol.asyncIterator](): never {
    throw new Error("changes are taken from their follower");
  }
}

/** Whether a record was created, changed or deleted, or something was announced about it. */
export function isChange({ action }: LoggedEvent): boolean {
  return (CHANGE_ACTIONS as readonly string[]).includes(action);
}

function toChange(
  accountId: string,
  { position, at, action, kycId }: LoggedEvent,
  read: ChangeOfKyc["read"],
): ChangeOfKyc {
  const cursor = toChangeCursor(accountId, position + 1);
  return { cursor, position, at, action: action as ChangeAction, kycId, read };
}
