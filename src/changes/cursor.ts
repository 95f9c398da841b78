import { createHash } from "node:crypto";

const SHAPE = /^([\w-]{8}):(0|[1-9]\d{0,15})$/;

/** Distinguishes the cursors of accounts, so that one can't be used with the log of another by mistake. */
function markOf(accountId: string): string {
  return createHash("sha256").update(accountId).digest("base64url").slice(0, 8);
}

/** The opaque cursor behind the first `seen` events of the account's log. */
export function toChangeCursor(accountId: string, seen: number): string {
  return Buffer.from(`${markOf(accountId)}:${seen}`, "latin1").toString("base64url");
}

/** How many events of the account's log are before a cursor; null if `toChangeCursor` did not make it for this account. */
export function fromChangeCursor(accountId: string, cursor: string): number | null {
  const [, mark, digits] = SHAPE.exec(Buffer.from(cursor, "base64url").toString("latin1")) ?? [];
  const seen = Number(digits);
  if (mark !== markOf(accountId) || !Number.isSafeInteger(seen)) return null;
  return toChangeCursor(accountId, seen) === cursor ? seen : null;
}
