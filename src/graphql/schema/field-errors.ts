import { type ExecutionResult, GraphQLError, type GraphQLResolveInfo } from "graphql";
import type { OperationContext } from "../../context.ts";
import { UNREADABLE_MASK } from "../../kyc/number/document-number.ts";
import { numberUnreadable, type ShownKyc } from "../../kyc/show-kyc.ts";

/**
 * The value of the field `documentNumber`. If the number can't be decrypted, a replacement is shown, and the answer gets an
 * error for the field. The field is not nullable, so a failure would remove the whole page.
 */
export function showNumber(kyc: ShownKyc, ctx: OperationContext, info: GraphQLResolveInfo): string {
  const number = kyc.documentNumber;
  if (number !== null) return number;
  const originalError = numberUnreadable();
  const { fieldNodes: nodes, path } = info;
  ctx.fieldErrors.push(new GraphQLError(originalError.message, { nodes, path: toList(path), originalError }));
  return UNREADABLE_MASK;
}

function toList(path: GraphQLResolveInfo["path"] | undefined): (string | number)[] {
  const keys: (string | number)[] = [];
  for (let at = path; at; at = at.prev) keys.unshift(at.key);
  return keys;
}

/** The result of an operation with the errors of fields that it has a replacement for. */
export function addFieldErrors({ fieldErrors }: OperationContext, result: ExecutionResult): ExecutionResult {
  if (fieldErrors.length === 0 || !result.data) return result;
  return { ...result, errors: [...(result.errors ?? []), ...(fieldErrors as GraphQLError[])] };
}
