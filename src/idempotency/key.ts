import { createHash } from "node:crypto";
import type { FieldFault } from "../errors.ts";
import { headerText } from "../lib/header-text.ts";

/** A request with an idempotency key: it is executed once, even if it is sent several times. */
export interface IdempotencyRequest {
  /** The raw `Idempotency-Key` header. */
  header: string;
  /** Set by the write if it repeats the answer or failure of the first request under the key. */
  replayed: boolean;
}

const HEADER = "Idempotency-Key";
/** Characters. */
export const LONGEST_KEY = 255;
// No control or format characters, lone surrogates, unassigned code points, or line separators.
const KEY = new RegExp(`^[^\\p{C}\\p{Zl}\\p{Zp}]{1,${LONGEST_KEY}}$`, "u");

/** The idempotency key of a request; null if there is none. */
export function toIdempotencyRequest(header: string | string[] | undefined): IdempotencyRequest | null {
  return header === undefined ? null : { header: String(header), replayed: false };
}

/** The faults of a request's key, if it has one. */
export function findIdempotencyKeyFaults(request: IdempotencyRequest | null): FieldFault[] {
  if (!request || KEY.test(headerText(request.header))) return [];
  return [keyFault(`must have 1 to ${LONGEST_KEY} printable characters`)];
}

/** A fault of the header. Both surfaces use the header's own name for it. */
export function keyFault(message: string): FieldFault {
  return { path: [HEADER], kind: "invalid", message };
}

/** Whether a fault is about the header rather than a field. */
export function isKeyFault({ path }: FieldFault): boolean {
  return path[0] === HEADER;
}

/** The stored form of a key, and the number (signed, 64 bits) of the lock that its request holds while it runs. */
export function hashKey(
  accountId: string,
  { header }: IdempotencyRequest,
): { keyHash: string; lock: string } {
  const hash = createHash("sha256")
    .update(`${accountId}\n${headerText(header)}`)
    .digest();
  return { keyHash: hash.toString("base64url"), lock: String(hash.readBigInt64LE()) };
}
