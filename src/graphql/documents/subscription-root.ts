import {
  type ASTVisitor,
  GraphQLError,
  Kind,
  type SelectionSetNode,
  SingleFieldSubscriptionsRule,
  type ValidationContext,
} from "graphql";

const DIRECTIVES = new Set(["skip", "include"]);

/**
 * The rule that a subscription has exactly one root field. As the specification of September 2025 says, the field must not be
 * skipped or included by a directive: graphql-js reads directives here without variables, and fails without any field.
 */
export function SubscriptionRootRule(context: ValidationContext): ASTVisitor {
  const { OperationDefinition } = SingleFieldSubscriptionsRule(context) as { OperationDefinition: Visit };
  return {
    OperationDefinition(node) {
      if (node.operation !== "subscription") return;
      const directives = conditionsOf(context, node.selectionSet);
      if (directives.length === 0) return OperationDefinition(node);
      const message = "The root field of a subscription can't have @skip or @include.";
      context.reportError(new GraphQLError(message, { nodes: directives }));
    },
  };
}

type Visit = (node: object) => undefined;

/** The directives that decide whether the fields of these selections are present, those in fragments included. */
function conditionsOf(context: ValidationContext, root: SelectionSetNode) {
  const found = [];
  const sets = new Set([root]);
  // A set gets what it spreads while it is iterated, each once.
  for (const { selections } of sets) {
    for (const selection of selections) {
      found.push(...(selection.directives ?? []).filter(({ name }) => DIRECTIVES.has(name.value)));
      if (selection.kind === Kind.INLINE_FRAGMENT) sets.add(selection.selectionSet);
      if (selection.kind !== Kind.FRAGMENT_SPREAD) continue;
      const fragment = context.getFragment(selection.name.value);
      if (fragment) sets.add(fragment.selectionSet);
    }
  }
  return found;
}
