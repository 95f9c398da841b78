import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { DatabaseError } from "../db/database-error.ts";
import type { FieldFault } from "../errors.ts";
import { type CreateKycInput, createKycInput, parseInput } from "./input.ts";
import { type Kyc, newKycId } from "./kyc.ts";
import { insertKyc } from "./store.ts";

const ID_IS_UNIQUE = "kycs_account_id_id_pk";

/**
 * Afterwards the viewer's account has this record, at version 1. Repeating makes another record. Needs `kyc:write`.
 * Fails with BAD_USER_INPUT, naming every fault; `found` are those that the surface met already.
 */
export async function createKyc(
  ctx: OperationContext,
  input: CreateKycInput,
  found: readonly FieldFault[] = [],
): Promise<Kyc> {
  const { accountId } = requireScope(ctx.viewer, "kyc:write");
  const fields = parseInput(createKycInput, input, found);
  for (;;) {
    const now = ctx.now();
    const kyc: Kyc = { id: newKycId(now), ...fields, createdAt: now, updatedAt: now, version: 1 };
    try {
      await insertKyc(ctx.db, accountId, kyc);
      return kyc;
    } catch (error) {
      // Two equal ids of one millisecond: the next id is another one.
      if (!(error instanceof DatabaseError && error.constraint === ID_IS_UNIQUE)) throw error;
    }
  }
}
