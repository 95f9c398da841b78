import { z } from "zod";
import { requireScope } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import { isKycId } from "../../kyc-id.ts";
import { openList, type PagedList } from "../../paging/list.ts";
import { pageInput } from "../../paging/page-input.ts";
import { parseInput, type Raw } from "../../parse-input.ts";
import { customerId } from "../input.ts";
import { compareHoldIds, type HoldSelection, holdList } from "./list-store.ts";
import { findHoldsOf, type LegalHold } from "./store.ts";

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
  const { kycId, customerId, isInForce } = filter ?? {};
  const filtered: HoldSelection = {
    ...(kycId != null && { kycId }),
    ...(customerId != null && { customerDigest: ctx.digestCustomer(accountId, customerId) }),
    ...(isInForce === true && { isInForce }),
  };
  return openList<LegalHold, string, HoldSelection>(
    {
      select: (selection, slice) => holdList.list(ctx.db, accountId, selection, slice),
      count: (selection) => holdList.count(ctx.db, accountId, selection),
      positionOf: ({ id }) => id,
      compare: compareHoldIds,
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
