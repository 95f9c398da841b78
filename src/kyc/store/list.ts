import { sql } from "drizzle-orm";
import type { Database } from "../../db/client.ts";
import { kycs } from "../../db/schema.ts";
import { createListStore, type PageSlice } from "../../paging/list-store.ts";
import { VERIFICATION_STATUSES, type VerificationStatus } from "../../vocabulary.ts";
import { comparePositions, positionOf } from "../cursor.ts";
import type { Kyc } from "../record.ts";
import { isOfEarlierRelease, rangesOf, writeCheck, writePage } from "./ranges.ts";
import { columns, type KycRow, toKyc } from "./read.ts";
import {
  type Aside,
  bind,
  conditions,
  hasOne,
  type KycSelection,
  orderingOf,
  withAllConditions,
} from "./selection.ts";

/** Distinguishes statements with the same conditions. */
function variantOf(selection: KycSelection): string {
  const { by, isDescending } = orderingOf(selection);
  const ones = (["customerIds", "verificationStatuses", "documentTypes"] as const).filter((name) =>
    hasOne(selection, name),
  );
  return [by, isDescending ? "desc" : "asc", selection.range ?? "", ...ones].join(" ");
}

const kycList = createListStore<KycSelection, Kyc, Aside>({
  columns,
  toRow: (values) => toKyc(values as KycRow),
  from: () => sql`${kycs}`,
  accountId: () => kycs.accountId,
  key: () => [kycs.createdAt, kycs.id],
  conditions,
  page: writePage,
  check: writeCheck,
  variant: variantOf,
  bind,
  compare: (a, b, selection) => {
    const { by, isDescending } = orderingOf(selection);
    const compared = comparePositions(positionOf(a, by), positionOf(b, by));
    return isDescending ? compared : -compared;
  },
});

/**
 * Up to `limit` records from one end of the selection, in its order: "newest" is the end with which the order begins. A page is
 * a range of an index, or some ranges that are merged, or it is looked for among `MOST_SEEN` records. Undefined if it may be
 * further away, unless release 0.2 had the filter.
 */
export async function findPage(
  db: Database,
  accountId: string,
  selection: KycSelection,
  slice: PageSlice,
): Promise<Kyc[] | undefined> {
  const ranges = rangesOf(selection);
  if (ranges.length === 0) return kycList.list(db, accountId, selection, slice);
  const wide = withAllConditions(selection);
  for (const range of ranges) {
    const ranged = { ...wide, range };
    if (await kycList.check(db, accountId, ranged, slice)) return kycList.list(db, accountId, ranged, slice);
  }
  if (isOfEarlierRelease(selection))
    return kycList.list(db, accountId, { ...selection, range: "all" }, slice);
  return undefined;
}

/** The number of records of the selection. It reads all of them, so its cost grows with their number. */
export function countSelected(db: Database, accountId: string, selection: KycSelection): Promise<number> {
  return kycList.count(db, accountId, selection);
}

/** The same for each status. */
export async function countByStatus(
  db: Database,
  accountId: string,
  selection: KycSelection,
): Promise<Map<VerificationStatus, number>> {
  const counts = await kycList.countBy(db, accountId, selection, kycs.verificationStatus);
  return new Map(VERIFICATION_STATUSES.map((status) => [status, counts.get(status) ?? 0]));
}
