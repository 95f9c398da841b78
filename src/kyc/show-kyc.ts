import { hasScope, requireViewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { maskNumber, openNumber } from "./document-number.ts";
import type { DocumentType, Kyc, VerificationStatus } from "./kyc.ts";

/** One record as one viewer may see it: what every operation answers with. Times are epoch milliseconds. */
export class ShownKyc {
  readonly id: string;
  readonly customerId: string;
  readonly verificationStatus: VerificationStatus;
  readonly documentType: DocumentType;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly version: number;
  readonly #stored: Kyc;
  readonly #ctx: OperationContext;

  constructor(ctx: OperationContext, stored: Kyc) {
    this.id = stored.id;
    this.customerId = stored.customerId;
    this.verificationStatus = stored.verificationStatus;
    this.documentType = stored.documentType;
    this.createdAt = stored.createdAt;
    this.updatedAt = stored.updatedAt;
    this.version = stored.version;
    this.#stored = stored;
    this.#ctx = ctx;
  }

  /** Whether this viewer sees the number masked. */
  get isMasked(): boolean {
    return !hasScope(requireViewer(this.#ctx.viewer), "kyc:pii");
  }

  /**
   * The number, or its mask where the viewer lacks `kyc:pii`. Opened each time it is read: a record may be shared by
   * requests of several tokens, and what one of them may see must not reach another. Fails as `openNumber` does.
   */
  get documentNumber(): string {
    const viewer = requireViewer(this.#ctx.viewer);
    const number = openNumber(this.#ctx.keys, viewer.accountId, this.#stored);
    if (this.isMasked) return maskNumber(number);
    // Who reads it shows it.
    this.#ctx.numbersShown?.add(this.id);
    return number;
  }
}
