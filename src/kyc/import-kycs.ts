import { createHmac } from "node:crypto";
import type { DigestCustomer } from "../audit/customer-digest.ts";
import { newEvent } from "../audit/event.ts";
import { findCreatedBy } from "../audit/store.ts";
import type { Executor } from "../db/client.ts";
import { toKycId, toTimedId } from "../kyc-id.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { openSecret } from "../sealing/secrets.ts";
import { NAMES, PLAIN, type PlainName, RecordValues } from "./fields.ts";
import type { ImportKycInput } from "./input.ts";
import { sealNumber } from "./number/document-number.ts";
import type { Kyc } from "./record.ts";
import { readNumber } from "./show-kyc.ts";
import { findDeleted, findKycs } from "./store/read.ts";
import { insertKycs, type NewEntry } from "./store/write.ts";

/** An import into an account. Operators run it, so it needs no scope. */
export interface ImportContext {
  accountId: string;
  /** The request id of all its events. */
  requestId: string;
  keys: Keyring;
  digestCustomer: DigestCustomer;
  /** Makes the ids of records that have none. */
  idSecret: Buffer;
}

/** The secret with which ids are made: see `ImportContext`. Fails as `openSecret`. */
export const openIdSecret = (db: Executor, keys: Keyring): Promise<Buffer> =>
  openSecret(db, keys, "ids of imported records");

/** A record to import, with its number sealed. */
export interface PreparedKyc extends NewEntry {
  input: ImportKycInput;
}

/**
 * The outcome for a record: it is imported, or the account has had it with the same values, or it has the id of an earlier
 * record of this import, of a different record, or of one that was deleted.
 */
export type ImportOutcome = "imported" | "unchanged" | "repeated" | "different" | "deleted";

/**
 * Prepares a record with its event, and adds what is missing: the id is derived from the values, so that the same values
 * always get the same id; times are `now`, in epoch milliseconds, and the version is 1.
 */
export function prepareImport(ctx: ImportContext, input: ImportKycInput, now: number): PreparedKyc {
  const { accountId, keys } = ctx;
  const { id = makeId(ctx, input), createdAt = input.updatedAt ?? now, version = 1, documentNumber } = input;
  const { updatedAt = createdAt } = input;
  const { statusSince = updatedAt } = input;
  const values = new RecordValues({ ...input, id, createdAt, updatedAt, statusSince, version });
  const kyc = { ...values, ...sealNumber(keys, accountId, values, documentNumber), plainNumber: null };
  const by = { accountId, tokenId: "cli", tokenName: "cli" };
  const event = newEvent({ ...ctx, surface: "cli" }, by, {
    ...{ action: "created", at: now, records: [kyc] },
    statusAfter: kyc.verificationStatus,
    documentTypeAfter: kyc.documentType,
    versionAfter: kyc.version,
  });
  return { accountId, kyc, event, input };
}

/** The same values have the same id. Fields that a later release adds don't change it, as long as they have no value. */
function makeId({ accountId, idSecret }: ImportContext, input: ImportKycInput): string {
  const values = NAMES.flatMap((name) => (input[name] == null ? [] : [[name, input[name]]]));
  const digest = createHmac("sha256", idSecret).update(JSON.stringify([accountId, ...values]));
  return toTimedId(input.createdAt ?? 0, digest.digest().readBigUInt64BE());
}

/** Writes the records whose outcome is `imported`, as `judgeImport` gave it in the same transaction, with an event for each. */
export function insertImported(
  tx: Executor,
  { accountId }: ImportContext,
  records: readonly PreparedKyc[],
  outcomes: readonly ImportOutcome[],
): Promise<void> {
  return insertKycs(
    tx,
    accountId,
    records.filter((_, index) => outcomes[index] === "imported"),
  );
}

/** The outcome that an import of each of these records has. It writes nothing. */
export async function judgeImport(
  db: Executor,
  ctx: ImportContext,
  records: readonly PreparedKyc[],
): Promise<ImportOutcome[]> {
  const { accountId, requestId } = ctx;
  const ids = records.map(({ kyc }) => toKycId(kyc.id));
  const [found, deletedIds] = await Promise.all([
    findKycs(db, accountId, ids),
    findDeleted(db, accountId, ids),
  ]);
  const stored = new Map(found.map((kyc) => [kyc.id, kyc]));
  const deleted = new Set(deletedIds);
  const earlier = new Set(
    stored.size > 0 ? await findCreatedBy(db, accountId, requestId, [...stored.keys()]) : [],
  );
  return records.map(({ kyc, input }) => {
    const known = stored.get(kyc.id);
    if (earlier.has(kyc.id)) return "repeated";
    if (deleted.has(kyc.id)) return "deleted";
    if (known) return isSame(ctx, known, input) ? "unchanged" : "different";
    earlier.add(kyc.id);
    return "imported";
  });
}

/** What the expiry of a record changes. */
const CHANGED_BY_EXPIRY: readonly PlainName[] = ["verificationStatus", "updatedAt", "statusSince", "version"];

/** Whether the stored record has each given value, except those that its expiry has changed since. */
function isSame({ keys, accountId }: ImportContext, stored: Kyc, input: ImportKycInput): boolean {
  const hasExpired =
    input.verificationStatus === "verified" &&
    stored.verificationStatus === "expired" &&
    input.expiresAt != null;
  const compared = PLAIN.filter((name) => !hasExpired || !CHANGED_BY_EXPIRY.includes(name));
  const isEqual = compared.every((name) => input[name] == null || input[name] === stored[name]);
  return isEqual && readNumber(keys, accountId, stored) === input.documentNumber;
}
