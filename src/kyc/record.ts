import type { PlainValues } from "./fields.ts";

/** A document number as it is stored: encrypted for its record, and the digest that it is found by. */
export interface SealedNumber {
  sealedNumber: string;
  /** The version of the record that it is bound to; null: any version, as earlier releases seal. */
  sealedVersion: number | null;
  numberDigest: string;
}

/** One KYC record of one account, as it is stored. Times are epoch milliseconds. */
export interface Kyc extends PlainValues {
  /** PII, encrypted. Null if an earlier release left it plain. */
  sealedNumber: string | null;
  /** Null if the number is plain, or sealed for any version. */
  sealedVersion: number | null;
  /** Null if the number is sealed. */
  plainNumber: string | null;
  /**
   * The number: the one that was just written, or what `open` gives the first time, which those who read a record at
   * once share. A copy has no such.
   */
  openOnce?(open: () => string): string;
}
