import {
  type DocumentNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  type SelectionSetNode,
} from "graphql";
import type { FieldFault } from "../../errors.ts";
import { keyFault } from "../../idempotency/key.ts";

/** Why an operation can't have an idempotency key, which covers one write. Queries ignore the key. */
export function findKeyMisuse(document: DocumentNode, operation: OperationDefinitionNode): FieldFault[] {
  if (operation.operation !== OperationTypeNode.MUTATION) return [];
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions) {
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  }
  const fields = new Set<string>();
  collectFields(operation.selectionSet, fragments, fields);
  return fields.size === 1 ? [] : [keyFault("needs an operation with exactly one mutation field")];
}

/** Collects the fields of an answer by their names there. Each fragment is visited once. */
function collectFields(
  { selections }: SelectionSetNode,
  fragments: Map<string, FragmentDefinitionNode>,
  found: Set<string>,
): void {
  for (const node of selections) {
    if (node.kind === Kind.FIELD) {
      if (node.name.value !== "__typename") found.add((node.alias ?? node.name).value);
    } else if (node.kind === Kind.INLINE_FRAGMENT) {
      collectFields(node.selectionSet, fragments, found);
    } else {
      const fragment = fragments.get(node.name.value);
      fragments.delete(node.name.value);
      if (fragment) collectFields(fragment.selectionSet, fragments, found);
    }
  }
}
