import { type Keyring, MissingKeyError } from "../../sealing/keyring.ts";
import { pad, unpad } from "../../sealing/padding.ts";
import { RecordValues } from "../fields.ts";
import type { Kyc, SealedNumber } from "../record.ts";

/** A record's number can't be opened, because it was changed or is another record's. The error contains no values. */
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
 * The associated data: a sealed number opens only for this record at this version or, if an earlier release sealed it, at
 * any version. Account ids contain no space.
 */
const associatedDataOf = (accountId: string, id: string, version: number | null) =>
  version === null ? `kycs ${accountId} ${id}` : `kycs ${accountId} ${id} ${version}`;

/** Whether the number must be bound to a version when it is sealed. A bound number stays bound. */
export const isToBeBound = (keys: Keyring, { sealedVersion }: Pick<Kyc, "sealedVersion">): boolean =>
  sealedVersion !== null || keys.reached.has("numbers_bind");

/** Numbers can't contain it, because it is not printable. */
const FILLER = "\0";

/**
 * Seals a number under the newest key. If the database has reached the milestone `numbers_bind`, or if `bound` is true, it
 * is padded and bound to this version of the record.
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
    sealedNumber: keys.seal(text, associatedDataOf(accountId, id, sealedVersion)),
    sealedVersion,
    numberDigest: keys.digest("document_number", accountId, number),
  };
}

type StoredNumber = Pick<
  Kyc,
  "id" | "version" | "sealedNumber" | "sealedVersion" | "plainNumber" | "openOnce"
>;

/**
 * Opens the record's number. Fails with a MissingKeyError if the keyring does not have its key, and with an
 * UnreadableNumberError if it was changed, was sealed for another record or version, or is in a form that the database's
 * milestones no longer allow (plain, or bound to no version).
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
    return keys.open(sealedNumber, associatedDataOf(accountId, id, null));
  }
  if (sealedVersion !== version) throw new Error("it is bound to another version");
  return unpad(keys.open(sealedNumber, associatedDataOf(accountId, id, version)), FILLER);
}

/** The record with its plain number. It must be sealed as a whole. */
export function toSnapshot(kyc: Kyc, number: string): Kyc {
  return { ...new RecordValues(kyc), sealedNumber: null, sealedVersion: null, plainNumber: number };
}

/** The record of a snapshot that was sealed as a whole. Its number needs no further check. */
export function fromSnapshot(snapshot: Kyc): Kyc {
  // A snapshot of release 0.2 does not say since when the record had its status.
  const values = new RecordValues({ ...snapshot, statusSince: snapshot.statusSince ?? snapshot.updatedAt });
  return { ...snapshot, ...values, openOnce: () => snapshot.plainNumber as string };
}

/** The possible digests of this number in the account, one for each key. */
export function digestsOf(keys: Keyring, accountId: string, number: string): string[] {
  return keys.keyIds.map((keyId) => keys.digest("document_number", accountId, number, keyId));
}

/** Replaces each hidden character. Numbers can't contain it. */
export const MASK = "•";
const SHOWN = 4;

/** Shown for a number that can't be decrypted. It differs from all masks: the mask of a four-character number shows two. */
export const UNREADABLE_MASK = MASK.repeat(4);

/** Masks all but the last four characters, or all but the last half of a short number. */
export function maskNumber(number: string): string {
  const characters = [...number];
  const shown = Math.min(SHOWN, Math.floor(characters.length / 2));
  const hidden = characters.length - shown;
  return MASK.repeat(hidden) + characters.slice(hidden).join("");
}

/** The input with its number masked, if it has one. */
export function maskInput<T extends { documentNumber?: string | undefined }>(input: T): T {
  if (input.documentNumber === undefined) return input;
  return { ...input, documentNumber: maskNumber(input.documentNumber) };
}
