import { hasScope, requireScope, requireViewer } from "../auth/scopes.ts";
import type { OperationContext, UnreadableNumber } from "../context.ts";
import { AppError } from "../errors.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { RecordValues } from "./fields.ts";
import { digestsOf, maskNumber, openNumber } from "./number/document-number.ts";
import type { Kyc } from "./record.ts";
import { countSameNumber } from "./store/same-number.ts";

/** One record as one viewer may see it. Every operation returns it. Times are in epoch milliseconds. */
export class ShownKyc extends RecordValues {
  readonly #stored: Kyc;
  readonly #ctx: OperationContext;

  constructor(ctx: OperationContext, stored: Kyc) {
    super(stored);
    this.#stored = stored;
    this.#ctx = ctx;
  }

  /** Whether this viewer sees the number masked. */
  get isMasked(): boolean {
    return !hasScope(requireViewer(this.#ctx.viewer), "kyc:pii");
  }

  /** Whether the viewer may see more of the record than its id and version. A viewer with only `kyc:write` may not. */
  get isReadable(): boolean {
    return hasScope(requireViewer(this.#ctx.viewer), "kyc:read");
  }

  /**
   * The number, or its mask if the viewer does not have `kyc:pii`; null if it can't be decrypted, which is recorded in the
   * context for the log. It is computed at each access, because requests of several tokens can share a record.
   */
  get documentNumber(): string | null {
    const viewer = requireViewer(this.#ctx.viewer);
    const number = readNumber(this.#ctx.keys, viewer.accountId, this.#stored);
    if (typeof number !== "string") {
      this.#ctx.unreadable.push(number);
      return null;
    }
    if (this.isMasked) return maskNumber(number);
    this.#ctx.reads?.shown.set(this.id, this.customerId);
    return number;
  }

  /**
   * How many other records of the account have the same number, counted up to `MOST_SAME`. If reads are audited, that is in the
   * trail as a search for the number. Needs `kyc:pii`, because it says which numbers are equal. Fails with INTERNAL if the
   * number can't be decrypted.
   */
  async countSameDocument(): Promise<number> {
    const { accountId } = requireScope(this.#ctx.viewer, "kyc:pii");
    const number = requireNumber(this.#ctx, accountId, this.#stored);
    this.#ctx.reads?.confirmed.set(this.id, this.customerId);
    const digests = digestsOf(this.#ctx.keys, accountId, number);
    return countSameNumber(this.#ctx.db, { accountId, id: this.id, digests });
  }
}

/** The record's number, or why it can't be decrypted: its key is lost, or it is damaged. */
export function readNumber(keys: Keyring, accountId: string, stored: Kyc): string | UnreadableNumber {
  try {
    const number: unknown = openNumber(keys, accountId, stored);
    if (typeof number === "string") return number;
    throw new Error("the record has no document number");
  } catch (cause) {
    return { kycId: stored.id, cause };
  }
}

/** As `readNumber`, but fails with INTERNAL if the number can't be decrypted, and records that in the context for the log. */
export function requireNumber(ctx: OperationContext, accountId: string, stored: Kyc): string {
  const number = readNumber(ctx.keys, accountId, stored);
  if (typeof number === "string") return number;
  ctx.unreadable.push(number);
  throw numberUnreadable();
}

/** The error for a document number that is needed and can't be decrypted. */
export function numberUnreadable(): AppError {
  return new AppError(
    "INTERNAL",
    "The document number of this record can't be decrypted. An update with the document number repairs the record.",
    { detail: "number_unreadable" },
  );
}
