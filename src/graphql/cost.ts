import {
  type ASTVisitor,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  Lexer,
  parse,
  type SelectionSetNode,
  Source,
  TokenKind,
  type ValidationContext,
  type ValidationRule,
} from "graphql";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../kyc/input.ts";

const MAX_TOKENS = 10_000;
const INTROSPECTION_WEIGHT = 20;
/** Braces, brackets and parentheses inside one another. What reads documents calls itself for each. */
const MAX_DEPTH = 200;

/** A document's syntax tree. Fails with a GraphQLError where it is no GraphQL, or too long or too deep to read. */
export function parseDocument(source: Source | string): DocumentNode {
  const lexer = new Lexer(typeof source === "string" ? new Source(source) : source);
  let depth = 0;
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
    if ("{[(".includes(token.kind)) depth += 1;
    else if ("}])".includes(token.kind)) depth -= 1;
    if (depth <= MAX_DEPTH) continue;
    throw new GraphQLError(`Syntax Error: The document is nested more than ${MAX_DEPTH} deep.`, {
      source: lexer.source,
      positions: [token.start],
    });
  }
  return parse(source, { maxTokens: MAX_TOKENS });
}

/**
 * A validation rule that refuses operations which cost more than `limit`: each field costs one for each record that
 * it can be asked of. A page whose size is a variable counts as the largest.
 */
export function limitCost(limit: number): ValidationRule {
  return function LimitCostRule(context: ValidationContext): ASTVisitor {
    return {
      OperationDefinition(operation) {
        const requested = costOf(operation.selectionSet, context, new Map());
        if (requested <= limit) return;
        context.reportError(
          new GraphQLError(`The operation costs ${requested}, and the limit is ${limit}.`, {
            nodes: operation,
            extensions: { code: "QUERY_TOO_COMPLEX", cost: { requested, limit } },
          }),
        );
      },
    };
  };
}

type Known = Map<FragmentDefinitionNode, number>;

function costOf(selections: SelectionSetNode, context: ValidationContext, known: Known): number {
  let cost = 0;
  for (const selection of selections.selections) {
    if (selection.kind === Kind.FIELD) {
      const inner = selection.selectionSet ? costOf(selection.selectionSet, context, known) : 0;
      cost += 1 + recordsOf(selection) * inner;
    } else if (selection.kind === Kind.INLINE_FRAGMENT) {
      cost += costOf(selection.selectionSet, context, known);
    } else {
      const fragment = context.getFragment(selection.name.value);
      if (fragment) cost += fragmentCost(fragment, context, known);
    }
  }
  return cost;
}

function fragmentCost(fragment: FragmentDefinitionNode, context: ValidationContext, known: Known): number {
  const cost = known.get(fragment);
  if (cost !== undefined) return cost;
  // A fragment inside itself is refused by another rule: here it must only come to an end.
  known.set(fragment, 0);
  const found = costOf(fragment.selectionSet, context, known);
  known.set(fragment, found);
  return found;
}

const CONNECTIONS = new Set(["kycs", "auditEvents", "history"]);

/** How many records a field can lead to. */
function recordsOf({ name, arguments: given = [] }: FieldNode): number {
  const argument = (...names: string[]) => given.find((arg) => names.includes(arg.name.value))?.value;
  if (CONNECTIONS.has(name.value)) {
    const size = argument("first", "last");
    if (size === undefined || size.kind === Kind.NULL) return DEFAULT_PAGE_SIZE;
    return size.kind === Kind.INT ? Math.min(Number(size.value), MAX_PAGE_SIZE) : MAX_PAGE_SIZE;
  }
  if (name.value === "nodes") {
    const ids = argument("ids");
    return ids?.kind === Kind.LIST ? ids.values.length : ids ? MAX_PAGE_SIZE : 1;
  }
  // A list of the schema's own lists: the usual introspection takes half of the default limit.
  if (name.value === "__schema" || name.value === "__type") return INTROSPECTION_WEIGHT;
  return 1;
}
