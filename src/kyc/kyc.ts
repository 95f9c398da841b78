import { randomInt } from "node:crypto";

/** Every status that a verification can have; any may follow any other. */
export const VERIFICATION_STATUSES = ["pending", "in_review", "verified", "failed", "expired"] as const;
export type VerificationStatus = (typeof VERIFICATION_STATUSES)[number];

/** Every kind of document, in its canonical spelling. */
export const DOCUMENT_TYPES = [
  "passport",
  "drivers_license",
  "id_card",
  "residence_permit",
  "visa",
  "other",
] as const;
export type DocumentType = (typeof DOCUMENT_TYPES)[number];

/** A document number as it is stored: encrypted for its record, and the digest that it is found by. */
export interface SealedNumber {
  sealedNumber: string;
  /** The version of the record that it is bound to; null: any version, as earlier releases seal. */
  sealedVersion: number | null;
  numberDigest: string;
}

/** One KYC record of one account, as it is stored. Times are epoch milliseconds. */
export interface Kyc {
  id: string;
  customerId: string;
  verificationStatus: VerificationStatus;
  documentType: DocumentType;
  /** PII, encrypted. Null if an earlier release left it plain. */
  sealedNumber: string | null;
  /** Null if the number is plain, or sealed for any version. */
  sealedVersion: number | null;
  /** Null if the number is sealed. */
  plainNumber: string | null;
  createdAt: number;
  updatedAt: number;
  /** 1 for a new record, up by one with each change. */
  version: number;
  /**
   * The number: the one that was just written, or what `open` gives the first time, which those who read a record at
   * once share. A copy has no such.
   */
  openOnce?(open: () => string): string;
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TIME_LENGTH = 7;
const RANDOM_LENGTH = 9;
export const ID_SHAPE = /^[0-9A-Za-z]{16}$/;

/** A new record id: ids sort (byte-wise) by the millisecond they were made in, and can't be guessed. */
export function newKycId(now: number): string {
  let time = "";
  for (let rest = now, i = 0; i < TIME_LENGTH; i++, rest = Math.floor(rest / 62)) {
    time = ALPHABET[rest % 62] + time;
  }
  let random = "";
  for (let i = 0; i < RANDOM_LENGTH; i++) random += ALPHABET[randomInt(62)];
  return time + random;
}

/** Whether a string has the shape of a record id. Nothing else is ever the id of a record. */
export function isKycId(id: string): boolean {
  return ID_SHAPE.test(id);
}

/** The text as an id: one that no record has where it can't be any's, since no database takes every text. */
export function toKycId(text: string): string {
  return isKycId(text) ? text : "";
}
