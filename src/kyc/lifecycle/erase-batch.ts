import { byGateway } from "../../administration/record-act.ts";
import type { DigestCustomer } from "../../audit/customer-digest.ts";
import { newEvent } from "../../audit/event.ts";
import type { Database, Executor } from "../../db/client.ts";
import { eraseTexts } from "../erasure/store.ts";
import { withoutHeld } from "../holds/store.ts";
import type { Kyc } from "../record.ts";
import { deleteLockedKycs, lockForDeletion } from "../store/deletion.ts";
import { findCustomersWithoutRecord } from "../store/of-customer.ts";
import { findPastRetention, findRetained, type RetentionPosition } from "../store/retention.ts";

/** Records of one batch. Other writes of these records may have to wait for it. */
const BATCH = 100;
/** The time limit of the transaction of a batch: a customer can have very many events. Milliseconds. */
const DEADLINE_MS = 60_000;
/** The reason in the events. */
const REASON = "retention";

/** The parts of a gateway that erase records after their time of retention. */
export interface Retaining {
  db: Database;
  digestCustomer: DigestCustomer;
  /** The time after the end of a relationship: an interval of PostgreSQL. */
  retention: string;
}

/** What was done for a batch of records. */
export interface RetentionBatch {
  erased: number;
  /** Records that were not held before the transaction began, and are not erased: they changed, or are locked. */
  left: number;
  /** The last record; undefined: no more are due. */
  last: RetentionPosition | undefined;
}

/**
 * Erases the records of an account whose time of retention has passed: at most `BATCH` after the position, in one transaction
 * with their events. Records that are held stay, and so do those that are locked or whose relationship ends later since they
 * were read. If a customer has no record left, the texts of the reasons in its earlier events and of its holds go, too.
 */
export async function eraseBatch(
  retaining: Retaining,
  accountId: string,
  after: RetentionPosition | undefined,
): Promise<RetentionBatch> {
  const { db, digestCustomer, retention } = retaining;
  const due = await findPastRetention(db, accountId, { after, retention, limit: BATCH });
  const last = due.length === BATCH ? due.at(-1) : undefined;
  const withDigests = due.map((one) => ({
    ...one,
    customerDigest: digestCustomer(accountId, one.customerId),
  }));
  const free = await withoutHeld(db, accountId, withDigests);
  const [first] = free;
  if (!first) return { erased: 0, left: 0, last };
  const ids = free.map(({ id }) => id);
  const erased = await db.transaction(
    (tx) => eraseFree(tx, retaining, accountId, { ids, now: first.now }),
    DEADLINE_MS,
  );
  return { erased, left: free.length - erased, last };
}

async function eraseFree(
  tx: Executor,
  { digestCustomer, retention }: Retaining,
  accountId: string,
  { ids, now }: { ids: readonly string[]; now: number },
): Promise<number> {
  const locked = await lockForDeletion(tx, accountId, ids, { skipsLocked: true });
  const retained = new Set((await findRetained(tx, accountId, ids, retention)).map(({ id }) => id));
  const withDigests = locked
    .filter(({ id }) => !retained.has(id))
    .map((kyc) => ({ ...kyc, customerDigest: digestCustomer(accountId, kyc.customerId) }));
  const records = await withoutHeld(tx, accountId, withDigests);
  if (records.length === 0) return 0;
  const by = byGateway();
  const ctx = { surface: by.surface, requestId: by.requestId, digestCustomer };
  const deletions = records.map((kyc: Kyc) => ({
    kyc,
    event: newEvent(
      ctx,
      { accountId, ...by },
      {
        ...{ action: "deleted", at: Math.max(kyc.updatedAt, now), records: [kyc] },
        ...{ statusBefore: kyc.verificationStatus, reason: REASON },
      },
    ),
  }));
  const rules = { digestCustomer, enforcedRetention: retention };
  const removed = await deleteLockedKycs(tx, accountId, deletions, rules);
  const customers = [...new Set(records.map(({ customerId }) => customerId))];
  const gone = await findCustomersWithoutRecord(tx, accountId, customers);
  if (gone.length === 0) return removed.length;
  const digests = gone.map((customerId) => digestCustomer(accountId, customerId));
  const below = Math.min(...removed.map(({ sequence }) => sequence));
  const kycIds = records.filter(({ customerId }) => gone.includes(customerId)).map(({ id }) => id);
  await eraseTexts(tx, accountId, digests, { kycIds, below });
  return removed.length;
}
