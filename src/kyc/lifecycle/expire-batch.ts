import { type Administrator, byGateway } from "../../administration/record-act.ts";
import type { DigestCustomer } from "../../audit/customer-digest.ts";
import { newEvent } from "../../audit/event.ts";
import type { Database } from "../../db/client.ts";
import { untilTurn } from "../../lib/turns.ts";
import type { Keyring } from "../../sealing/keyring.ts";
import { RecordValues } from "../fields.ts";
import { isToBeBound, sealNumber } from "../number/document-number.ts";
import type { SealedNumber } from "../record.ts";
import { readNumber } from "../show-kyc.ts";
import { type KycChange, updateKycsAtVersion } from "../store/write.ts";
import {
  type DueKyc,
  type ExpiryGroup,
  type ExpiryPosition,
  findDueKycs,
  type NoticeStep,
  noteSteps,
} from "./expiry-store.ts";
import { lastNoticeFor, withNotice } from "./sent-notices.ts";
import { nameOfNotice } from "./settings.ts";

/** Records of one batch. Other writes of these records may have to wait for it. */
const BATCH = 100;

/** The parts of a gateway that expire records. */
export interface Expiring {
  db: Database;
  keys: Keyring;
  digestCustomer: DigestCustomer;
  /** When to announce it: seconds before the expiry, the earliest first. */
  notices: readonly number[];
}

/** What was done for a batch of records. */
export interface ExpiryBatch {
  expired: number;
  /** Notices sent. */
  notices: number;
  /** Records that can't expire: their numbers can't be decrypted, so nothing of them can change. */
  unreadable: string[];
  /** The last record; undefined: no more are due. */
  last: ExpiryPosition | undefined;
}

/**
 * The next step of records whose last step was this one: the seconds before the expiry at which it is due; 0 is the expiry.
 */
export const nextStep = (notices: readonly number[], step: number): number =>
  notices.find((seconds) => seconds < step) ?? 0;

/**
 * Expires the records of a group whose time has come, and sends the notices that are due for others: at most `BATCH` records
 * after the position. Of several notices of a record that are due, only the one closest to the expiry is sent. A record that
 * changes at the same time, or is locked, is left to a later run.
 */
export async function expireBatch(
  expiring: Expiring,
  group: ExpiryGroup,
  after: ExpiryPosition | undefined,
): Promise<ExpiryBatch> {
  const { db, notices } = expiring;
  const due = await findDueKycs(db, group, { after, seconds: nextStep(notices, group.step), limit: BATCH });
  const by = byGateway();
  const changes: KycChange[] = [];
  const steps: NoticeStep[] = [];
  const unreadable: string[] = [];
  for (const one of due) {
    const turn = untilTurn();
    if (turn) await turn;
    if (one.kyc.expiresAt > one.now) {
      steps.push(toStep(expiring, by, group.accountId, one));
      continue;
    }
    const change = toExpired(expiring, by, group.accountId, one);
    if (change) changes.push(change);
    else unreadable.push(one.kyc.id);
  }
  const expired = changes.length > 0 ? await updateKycsAtVersion(db, group.accountId, changes) : [];
  const noted = new Set(steps.length > 0 ? await noteSteps(db, group, steps) : []);
  const last = due.length === BATCH ? due.at(-1)?.kyc : undefined;
  return {
    expired: expired.length,
    notices: steps.filter(({ kyc, event }) => event && noted.has(kyc.id)).length,
    unreadable,
    last: last && { expiresAt: last.expiresAt, id: last.id },
  };
}

/** The event of what the gateway does by itself to a record. */
function toEvent(
  { digestCustomer }: Expiring,
  { surface, requestId, ...who }: Administrator,
  accountId: string,
  what: Parameters<typeof newEvent>[2],
) {
  return newEvent({ surface, requestId, digestCustomer }, { accountId, ...who }, what);
}

/** The change that makes a record expire; undefined if its number can't be decrypted, and must be sealed for the next version. */
function toExpired(
  expiring: Expiring,
  by: Administrator,
  accountId: string,
  { kyc: stored, now }: DueKyc,
): KycChange | undefined {
  const { keys } = expiring;
  const version = stored.version + 1;
  let number: SealedNumber | undefined;
  if (isToBeBound(keys, stored)) {
    const plain = readNumber(keys, accountId, stored);
    if (typeof plain !== "string") return undefined;
    number = sealNumber(keys, accountId, { id: stored.id, version }, plain, true);
  }
  const updatedAt = Math.max(stored.updatedAt, now);
  const verificationStatus = "expired";
  const values = new RecordValues({
    ...new RecordValues(stored),
    ...{ verificationStatus, updatedAt, statusSince: updatedAt, version },
  });
  const event = toEvent(expiring, by, accountId, {
    ...{ action: "updated", at: updatedAt, records: [stored], changedFields: ["verificationStatus"] },
    ...{ statusBefore: stored.verificationStatus, statusAfter: verificationStatus },
    ...{ documentTypeAfter: stored.documentType, versionAfter: version },
  });
  const { sealedNumber, sealedVersion, plainNumber } = stored;
  return { kyc: { ...values, sealedNumber, sealedVersion, plainNumber, ...number }, number, event };
}

/** The notice that is due and closest to the expiry, or that it was sent before. */
function toStep(
  expiring: Expiring,
  by: Administrator,
  accountId: string,
  { kyc, notices: sent, now }: DueKyc,
): NoticeStep {
  const isDue = (seconds: number) => kyc.expiresAt <= now + 1000 * seconds;
  const step = expiring.notices.findLast(isDue) as number;
  const last = lastNoticeFor(sent, kyc.expiresAt);
  if (last !== undefined && last <= step)
    return { kyc, step: last, notices: sent as string, event: undefined };
  const event = toEvent(expiring, by, accountId, {
    ...{ action: "expiring", at: now, records: [kyc], versionAfter: kyc.version },
    ...{ statusBefore: kyc.verificationStatus, statusAfter: kyc.verificationStatus },
  });
  const notices = withNotice(sent, kyc.expiresAt, step);
  return { kyc, step, notices, event: { ...event, subject: nameOfNotice(step) } };
}
