import { Kind, type OperationDefinitionNode } from "graphql";

/** A GraphQL request in metrics and log. Both values come from closed sets and are never a client's text. */
export interface Observed {
  operation: string;
  /** OK, or the code of the first error. */
  outcome: string;
}

/** The label of a request that has no valid operation. */
export const NO_OPERATION = "none";

/**
 * The label of an operation in metrics: its name if its document is trusted, otherwise the one field of the schema that it
 * selects. Other names are not used, because clients can write anything into them.
 */
export function labelOf(operation: OperationDefinitionNode, isTrusted: boolean): string {
  if (isTrusted && operation.name) return operation.name.value;
  const [field, ...more] = operation.selectionSet.selections;
  return field?.kind === Kind.FIELD && more.length === 0 ? field.name.value : "several";
}
