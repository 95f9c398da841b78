import { Kind, type OperationDefinitionNode, visit } from "graphql";
import { requireViewer } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import type { Document, Operation } from "../documents/document.ts";

/** Subscriptions to one operation with the same key get the same text for an event. */
export function streamKeyOf(request: {
  document: Document;
  operation: Operation;
  variables: Readonly<Record<string, unknown>>;
  context: OperationContext;
}): string {
  const { document, operation, variables, context } = request;
  const { accountId, scopes, tokenId } = requireViewer(context.viewer);
  const used = findVariables(document, operation.node);
  const values = Object.entries(variables).filter(([name]) => used.has(name));
  // Each token's reads are audited for themselves.
  const own = context.reads ? `${tokenId} ${context.requestId}` : "";
  return JSON.stringify([accountId, [...scopes].sort(), own, values]);
}

/** The variables that more depends on than where the stream begins. */
function findVariables(document: Document, operation: OperationDefinitionNode): Set<string> {
  const names = new Set<string>();
  const roots = new Set<unknown>(operation.selectionSet.selections);
  visit(document.node, {
    VariableDefinition: () => false,
    Argument({ name, value }, _key, _parent, _path, ancestors) {
      const field = ancestors.at(-1);
      const begins = name.value === "after" && value.kind === Kind.VARIABLE && roots.has(field);
      return begins ? false : undefined;
    },
    Variable({ name }) {
      names.add(name.value);
    },
  });
  return names;
}
