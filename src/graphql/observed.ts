import { Kind, type OperationDefinitionNode } from "graphql";

/** What the metrics and the log know of a GraphQL request. Both are of closed sets, and never a client's words. */
export interface Observed {
  operation: string;
  /** OK, or the code of the first error. */
  outcome: string;
}

/** What is observed of a request that never became an operation. */
export const NO_OPERATION = "none";

/**
 * What the metrics call an operation of a valid document: by its name where its document is a trusted one, otherwise
 * by the one field of the schema that it asks for. A client could write anything into a name of its own.
 */
export function labelOf(operation: OperationDefinitionNode, isTrusted: boolean): string {
  if (isTrusted && operation.name) return operation.name.value;
  const [field, ...more] = operation.selectionSet.selections;
  return field?.kind === Kind.FIELD && more.length === 0 ? field.name.value : "several";
}
