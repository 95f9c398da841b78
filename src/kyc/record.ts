import type { PlainValues } from "./fields.ts";

/** A stored document number: encrypted for its record, with the digest for searches. */
export interface SealedNumber {
  sealedNumber: string;
  /** The record's version that it is bound to; null if it is bound to none, as in earlier releases. */
  sealedVersion: number | null;
  numberDigest: string;
}

/** One stored KYC record of one account. Times are in epoch milliseconds. */
export interface Kyc extends PlainValues {
  /** PII, encrypted. Null if an earlier release left it plain. */
  sealedNumber: string | null;
  /** Null if the number is plain or bound to no version. */
  sealedVersion: number | null;
  /** Null if the number is sealed. */
  plainNumber: string | null;
  /**
   * The plaintext of the number, if it has just been written or opened. Requests that share one read of a record share it.
   * A copy of the record does not have it.
   */
  openOnce?(open: () => string): string;
}
