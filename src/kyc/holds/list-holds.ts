import { sql } from "drizzle-orm";
import { z } from "zod";
import { requireScope } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import type { Executor } from "../../db/client.ts";
import { statement } from "../../db/statement.ts";
import { isKycId } from "../../kyc-id.ts";
import { type Bounds, openList, type PagedList } from "../../paging/list.ts";
import type { PageSlice } from "../../paging/list-store.ts";
import { pageInput } from "../../paging/page-input.ts";
import { parseInput, type Raw } from "../../parse-input.ts";
import { customerId } from "../input.ts";
import { findHoldsOf, holdColumns, inForce, type LegalHold, toHold } from "./store.ts";

const given = sql.placeholder;

interface Selection extends Bounds<string> {
  kycId?: string | undefined;
  /** In hex. */
  digest?: string | undefined;
  inForceOnly?: boolean;
}

/** The conditions of a list: each kind of filter has an index that ends in the id, by which the list is sorted. */
function matching({ kycId, digest, inForceOnly }: Selection) {
  return sql`
    from legal_holds where account_id = ${given("accountId")} and id >= ${given("from")} and id <= ${given("to")}
      and id > ${given("after")} and id < ${given("before")}
      ${kycId === undefined ? sql.empty() : sql`and kyc_id = ${given("kycId")}`}
      ${digest === undefined ? sql.empty() : sql`and customer_digest = decode(${given("digest")}::text, 'hex')`}
      ${inForceOnly ? sql`and ${inForce}` : sql.empty()}`;
}

interface Statements {
  newest(db: Executor, values: Record<string, unknown>): Promise<LegalHold[]>;
  oldest(db: Executor, values: Record<string, unknown>): Promise<LegalHold[]>;
  count(db: Executor, values: Record<string, unknown>): Promise<number[]>;
}
const variants = new Map<string, Statements>();

/** The statements for the filters that a selection has; there are eight variants. */
function statementsFor(selection: Selection): Statements {
  const name = `${selection.kycId !== undefined}${selection.digest !== undefined}${selection.inForceOnly}`;
  const known = variants.get(name);
  if (known) return known;
  const page = (order: "asc" | "desc") =>
    statement(
      () => sql`
        select ${holdColumns} ${matching(selection)}
        order by id ${sql.raw(order)} limit ${given("limit")}::int`,
      toHold,
    );
  const count = statement(
    () => sql`select count(*)::float8 ${matching(selection)}`,
    ([found]: [number]) => found,
  );
  const made = { newest: page("desc"), oldest: page("asc"), count };
  variants.set(name, made);
  return made;
}

/** Sorts behind every id of a hold. */
const LAST = "~";
const valuesOf = (accountId: string, selection: Selection) => ({
  accountId,
  kycId: selection.kycId ?? null,
  digest: selection.digest ?? null,
  from: selection.fromHereNewer ?? "",
  to: selection.fromHereOlder ?? LAST,
  after: selection.newerThan ?? "",
  before: selection.olderThan ?? LAST,
});

const SHAPE = /^hold_[0-9A-Za-z]{16}$/;
const toCursor = ({ id }: Pick<LegalHold, "id">) => Buffer.from(id, "latin1").toString("base64url");
function fromCursor(cursor: string): string | null {
  const id = Buffer.from(cursor, "base64url").toString("latin1");
  return SHAPE.test(id) && toCursor({ id }) === cursor ? id : null;
}

const cursor = z
  .string("must be a cursor")
  .refine((text) => fromCursor(text) !== null, "is not a cursor of this list");
const listHoldsInput = pageInput(
  cursor,
  z.object({
    kycId: z.string().refine(isKycId, "must be the id of a record").nullish(),
    customerId: customerId.nullish(),
    isInForce: z.boolean().nullish(),
  }),
);
export type ListHoldsInput = Raw<typeof listHoldsInput>;

/**
 * The account's holds that match the filter, newest first, also those that have ended. Needs `kyc:hold`. Fails with
 * BAD_USER_INPUT.
 */
export function listHolds(ctx: OperationContext, input: ListHoldsInput): PagedList<LegalHold> {
  const { accountId } = requireScope(ctx.viewer, "kyc:hold");
  const { first, last, after, before, filter } = parseInput(listHoldsInput, input);
  const idOf = (text: string | null | undefined) => (text == null ? undefined : (fromCursor(text) as string));
  const filtered: Selection = {
    kycId: filter?.kycId ?? undefined,
    digest:
      filter?.customerId == null
        ? undefined
        : ctx.digestCustomer(accountId, filter.customerId).toString("hex"),
    inForceOnly: filter?.isInForce === true,
  };
  return openList<LegalHold, string, Selection>(
    {
      select: (selection, { from, limit }: PageSlice) =>
        statementsFor(selection)[from](ctx.db, { ...valuesOf(accountId, selection), limit }),
      count: async (selection) =>
        (await statementsFor(selection).count(ctx.db, valuesOf(accountId, selection)))[0] ?? 0,
      positionOf: ({ id }) => id,
      compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0),
      cursorOf: toCursor,
    },
    { filtered, first, last, after: idOf(after), before: idOf(before) },
  );
}

/** Whether a hold in force is on the record or on its customer. Needs `kyc:read`. */
export async function isOnHold(
  ctx: OperationContext,
  record: { id: string; customerId: string },
): Promise<boolean> {
  return (await findHolds(ctx, requireScope(ctx.viewer, "kyc:read").accountId, record)).length > 0;
}

/** The holds in force on the record and on its customer, newest first. Needs `kyc:hold`. */
export async function listHoldsOf(
  ctx: OperationContext,
  record: { id: string; customerId: string },
): Promise<LegalHold[]> {
  return findHolds(ctx, requireScope(ctx.viewer, "kyc:hold").accountId, record);
}

function findHolds(
  { db, digestCustomer }: OperationContext,
  accountId: string,
  { id, customerId }: { id: string; customerId: string },
): Promise<LegalHold[]> {
  return findHoldsOf(db, { accountId, id, customerDigest: digestCustomer(accountId, customerId) });
}
