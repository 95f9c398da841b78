import { sql } from "drizzle-orm";
import { legalHolds } from "../../db/hold-schema.ts";
import { boundConditions } from "../../paging/bound-conditions.ts";
import type { Bounds } from "../../paging/list.ts";
import { createListStore } from "../../paging/list-store.ts";
import { holdFields, inForce, type LegalHold, toHold } from "./store.ts";

/** Selects holds of an account. Positions are ids, which sort by creation. */
export interface HoldSelection extends Bounds<string> {
  kycId?: string;
  customerDigest?: Buffer;
  isInForce?: true;
}

/** Negative if the first id is older, positive if it is newer. */
export const compareHoldIds = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The holds of an account, newest first. Each kind of filter has an index that ends in the id. */
export const holdList = createListStore<HoldSelection, LegalHold>({
  columns: Object.fromEntries(Object.entries(holdFields).map(([name, field]) => [name, field.as(name)])),
  toRow: toHold,
  from: () => sql`${legalHolds}`,
  accountId: () => legalHolds.accountId,
  key: () => [legalHolds.id],
  conditions: {
    kycId: (source) => sql`${legalHolds.kycId} = ${source("kycId")}`,
    customerDigest: (source) =>
      sql`${legalHolds.customerDigest} = decode(${source("customerDigest")}, 'hex')`,
    isInForce: () => inForce,
    ...boundConditions(legalHolds.id, "text"),
  },
  bind: (name, value) =>
    name === "isInForce" ? {} : { [name]: Buffer.isBuffer(value) ? value.toString("hex") : String(value) },
  compare: (a, b) => compareHoldIds(a.id, b.id),
});
