import { type Keyring, MissingKeyError } from "../../sealing/keyring.ts";
import { pad, unpad } from "../../sealing/padding.ts";
import { RecordValues } from "../fields.ts";
import type { Kyc, SealedNumber } from "../record.ts";

/** The number of a record can't be opened: it was changed, planted, or moved from elsewhere. Carries no values. */
export class UnreadableNumberError extends Error {
  override readonly name = "UnreadableNumberError";
  readonly accountId: string;
  readonly kycId: string;

  constructor(accountId: string, kycId: string, cause: unknown) {
    super(`the number of the record ${kycId} of the account ${accountId} can't be opened`, { cause });
    this.accountId = accountId;
    this.kycId = kycId;
  }
}

/**
 * What is authenticated with a sealed number: it opens as the number of this record at this version alone, or, as
 * earlier releases seal, at any version. No account's name has a space.
 */
const placeOf = (accountId: string, id: string, version: number | null) =>
  version === null ? `kycs ${accountId} ${id}` : `kycs ${accountId} ${id} ${version}`;

/** Whether the number is to be bound whenever it is sealed: one that is bound stays so, whatever this replica knows. */
export const isToBeBound = (keys: Keyring, { sealedVersion }: Pick<Kyc, "sealedVersion">): boolean =>
  sealedVersion !== null || keys.reached.has("numbers_bind");

/** No number has it: it is not printable. */
const FILLER = "\0";

/**
 * The number as the record stores it, under the newest key. It is bound to this version of the record and padded, once
 * the database has reached that, or if `bound` says so.
 */
export function sealNumber(
  keys: Keyring,
  accountId: string,
  { id, version }: Pick<Kyc, "id" | "version">,
  number: string,
  bound = isToBeBound(keys, { sealedVersion: null }),
): SealedNumber {
  const sealedVersion = bound ? version : null;
  const text = bound ? pad(number, FILLER) : number;
  return {
    sealedNumber: keys.seal(text, placeOf(accountId, id, sealedVersion)),
    sealedVersion,
    numberDigest: keys.digest("document_number", accountId, number),
  };
}

type StoredNumber = Pick<
  Kyc,
  "id" | "version" | "sealedNumber" | "sealedVersion" | "plainNumber" | "openOnce"
>;

/**
 * The record's number. Fails with a MissingKeyError if its key is not among the given ones, and with an
 * UnreadableNumberError if it was sealed for another record or version, changed since, or is stored as the database has
 * left behind: plain, or bound to no version.
 */
export function openNumber(keys: Keyring, accountId: string, kyc: StoredNumber): string {
  const open = () => decryptNumber(keys, accountId, kyc);
  try {
    return kyc.openOnce ? kyc.openOnce(open) : open();
  } catch (error) {
    throw error instanceof MissingKeyError ? error : new UnreadableNumberError(accountId, kyc.id, error);
  }
}

function decryptNumber(keys: Keyring, accountId: string, kyc: StoredNumber): string {
  const { id, version, sealedNumber, sealedVersion, plainNumber } = kyc;
  if (sealedNumber === null) {
    if (keys.reached.has("numbers_sealed")) throw new Error("it is not sealed");
    return plainNumber as string;
  }
  if (sealedVersion === null) {
    if (keys.reached.has("numbers_bound")) throw new Error("it is not bound to a version");
    return keys.open(sealedNumber, placeOf(accountId, id, null));
  }
  if (sealedVersion !== version) throw new Error("it is bound to another version");
  return unpad(keys.open(sealedNumber, placeOf(accountId, id, version)), FILLER);
}

/** The record with its number in the clear: what says all of it without its keys, and must be sealed as a whole. */
export function toSnapshot(kyc: Kyc, number: string): Kyc {
  return { ...new RecordValues(kyc), sealedNumber: null, sealedVersion: null, plainNumber: number };
}

/** The record of a snapshot that was sealed as a whole: its number is known, and is nobody's to doubt. */
export function fromSnapshot(snapshot: Kyc): Kyc {
  return { ...snapshot, ...new RecordValues(snapshot), openOnce: () => snapshot.plainNumber as string };
}

/** What a record of the account has as its digest if it has this number, whichever of the keys sealed it. */
export function digestsOf(keys: Keyring, accountId: string, number: string): string[] {
  return keys.keyIds.map((keyId) => keys.digest("document_number", accountId, number, keyId));
}

/** Stands for a character that is not shown, and in no number. */
export const MASK = "•";
const SHOWN = 4;

/** Stands for a number that can't be decrypted. No number has this mask: one of four characters shows two. */
export const UNREADABLE_MASK = MASK.repeat(4);

/** The number with its last four characters, or the last half of a shorter one; the others are masked. */
export function maskNumber(number: string): string {
  const characters = [...number];
  const shown = Math.min(SHOWN, Math.floor(characters.length / 2));
  const hidden = characters.length - shown;
  return MASK.repeat(hidden) + characters.slice(hidden).join("");
}

/** The input with its number masked, where it has one. */
export function maskInput<T extends { documentNumber?: string | undefined }>(input: T): T {
  if (input.documentNumber === undefined) return input;
  return { ...input, documentNumber: maskNumber(input.documentNumber) };
}
