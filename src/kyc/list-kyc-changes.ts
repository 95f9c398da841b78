import { requireScope } from "../auth/scopes.ts";
import { toChangeCursor } from "../changes/cursor.ts";
import type { EventLogs, LoggedEvent, OperationContext } from "../context.ts";
import { badUserInput, type FieldFault } from "../errors.ts";
import { isChange, readChangeCursor, requireLogs } from "./kyc-changes.ts";

/** Pages of the log after which a request answers with the changes that it has found, even if they are few. */
const ENOUGH_PAGES = 5;
/** Pages of the log that a request reads, at most: Stripe's libraries can't continue after a page without any event. */
const MOST_PAGES = 20;

interface ListKycChangesInput {
  /** Undefined: from the first event of the log. */
  after: string | undefined;
  /** The name of `after` in errors. */
  nameOfAfter: string;
  limit: number;
  /** How long to wait for a change if there is none. Milliseconds. */
  waitMs: number;
}

/** A page of changes, oldest first. */
interface ChangePage {
  changes: readonly { event: LoggedEvent; cursor: string }[];
  /** Whether there are further changes, or may be. */
  hasMore: boolean;
  /** The beginning of the next page, also if this one is empty. */
  cursor: string;
}

/** Waits for `work`, and calls `leave` to end it early. Meanwhile the request does not count as in progress. */
export type Idle = <T>(work: Promise<T>, leave: () => void) => Promise<T>;

/**
 * The changes of the account's records after a cursor. If there is none, it waits for the first one. It ends early if the
 * client leaves, the token is no longer valid, or the gateway stops. Needs `kyc:read`. Fails with BAD_USER_INPUT, also for
 * the faults that the surface has found.
 */
export async function listKycChanges(
  ctx: OperationContext,
  { after, nameOfAfter, limit, waitMs }: ListKycChangesInput,
  found: readonly FieldFault[],
  idle: Idle,
): Promise<ChangePage> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  if (found.length > 0) throw badUserInput(found);
  const logs = requireLogs(ctx);
  const size = after === undefined ? 0 : await logs.sizeOf(accountId);
  const from = readChangeCursor(accountId, size, after, nameOfAfter) ?? 0;
  const page = await readPage(logs, accountId, from, limit);
  if (page.changes.length > 0 || page.hasMore || waitMs === 0) return page;
  const position = await waitForChange(ctx, accountId, page.position, waitMs, idle);
  await ctx.confirmViewer();
  return readPage(logs, accountId, position, limit);
}

async function readPage(
  logs: EventLogs,
  accountId: string,
  from: number,
  limit: number,
): Promise<ChangePage & { position: number }> {
  const changes: LoggedEvent[] = [];
  let position = from;
  let isEnd = false;
  // Find one more than is shown, to know whether there are more.
  for (let pages = 0; changes.length <= limit && !isEnd; pages++) {
    if (pages >= (changes.length > 0 ? ENOUGH_PAGES : MOST_PAGES)) break;
    const events = await logs.read(accountId, position);
    isEnd = events.length === 0;
    changes.push(...events.filter(isChange));
    position += events.length;
  }
  const shown = changes.slice(0, limit);
  const hasMore = changes.length > limit || !isEnd;
  const next = changes.length > limit ? (shown.at(-1)?.position ?? from) + 1 : position;
  return {
    changes: shown.map((event) => ({ event, cursor: toChangeCursor(accountId, event.position + 1) })),
    ...{ hasMore, position: next, cursor: toChangeCursor(accountId, next) },
  };
}

/** The position of the first change after this one, or of the end of the log if there is none in time. */
async function waitForChange(
  ctx: OperationContext,
  accountId: string,
  from: number,
  waitMs: number,
  idle: Idle,
): Promise<number> {
  const follower = requireLogs(ctx).follow(accountId, from);
  const leave = () => follower.close();
  const stopWatching = ctx.watchViewer(leave);
  const deadline = performance.now() + waitMs;
  const wait = async () => {
    for (let left = waitMs; left > 0; left = deadline - performance.now()) {
      const events = await follower.next(left);
      if (!events || events.some(isChange)) return follower.position;
      follower.advance(events.length);
    }
    return follower.position;
  };
  try {
    return await idle(wait(), leave);
  } finally {
    stopWatching();
    leave();
  }
}
