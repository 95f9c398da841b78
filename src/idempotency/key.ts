import { createHash } from "node:crypto";
import type { FieldFault } from "../errors.ts";
import { headerText } from "../lib/header-text.ts";

/** A request that is to be done once, however often it is sent. */
export interface IdempotencyRequest {
  /** The `Idempotency-Key` header as it came in. */
  header: string;
  /** Set by the write if it answers, or fails with, what the first request under the key was answered. */
  replayed: boolean;
}

const HEADER = "Idempotency-Key";
/** Characters. */
export const LONGEST_KEY = 255;
// Neither control nor format characters, lone surrogates, unassigned code points, nor line separators.
const KEY = new RegExp(`^[^\\p{C}\\p{Zl}\\p{Zp}]{1,${LONGEST_KEY}}$`, "u");

/** What a request's `Idempotency-Key` header asks for; null without one. */
export function toIdempotencyRequest(header: string | string[] | undefined): IdempotencyRequest | null {
  return header === undefined ? null : { header: String(header), replayed: false };
}

/** What is wrong with the key of a request, if it has one. */
export function findIdempotencyKeyFaults(request: IdempotencyRequest | null): FieldFault[] {
  if (!request || KEY.test(headerText(request.header))) return [];
  return [keyFault(`must have 1 to ${LONGEST_KEY} printable characters`)];
}

/** A fault of the header, which both surfaces call by its own name. */
export function keyFault(message: string): FieldFault {
  return { path: [HEADER], kind: "invalid", message };
}

/** Whether a fault is one of the header, and not of a field. */
export function isKeyFault({ path }: FieldFault): boolean {
  return path[0] === HEADER;
}

/** What a key is stored as, and the number of the lock that its request holds while it runs: 64 bits, signed. */
export function hashKey(
  accountId: string,
  { header }: IdempotencyRequest,
): { keyHash: string; lock: string } {
  const hash = createHash("sha256")
    .update(`${accountId}\n${headerText(header)}`)
    .digest();
  return { keyHash: hash.toString("base64url"), lock: String(hash.readBigInt64LE()) };
}
