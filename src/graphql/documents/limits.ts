import {
  type DocumentNode,
  type GraphQLError,
  type GraphQLSchema,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  visit,
} from "graphql";
import type { QueryLimits } from "../settings.ts";
import { Meter } from "./cost.ts";
import { tooComplex } from "./parse-document.ts";

/**
 * Pairs of selections that validation may compare: fields with one name must mean the same, also in different fragments.
 * With graphql-js's own limit a document of 17 KB can take 0.3 s. With this one, a turn of the event loop takes 31 ms (median
 * of 15 documents; the first after a start 157 ms).
 */
const MAX_COMPARISONS = 50_000;

/** The error for an operation that costs more than the limit. */
export function tooCostly(
  requested: number,
  limit: number,
  operation: OperationDefinitionNode,
): GraphQLError {
  const message = `The operation costs ${requested}, and the limit is ${limit}.`;
  return tooComplex(message, { cost: { requested, limit } }, { nodes: operation });
}

/**
 * An error for each limit that a document exceeds: QUERY_TOO_COMPLEX, with the figures. Takes time in proportion to the
 * document's length. The document need not be valid. If a size is a variable, the smallest size counts.
 */
export function findExcesses(
  schema: GraphQLSchema,
  document: DocumentNode,
  limits: QueryLimits,
): GraphQLError[] {
  const errors: GraphQLError[] = [];
  const meter = new Meter(schema, document, (_name, read) => read(1));
  let largestCost = 0;
  for (const operation of document.definitions) {
    if (operation.kind !== Kind.OPERATION_DEFINITION) continue;
    const { cost, depth } = meter.measureOperation(operation);
    largestCost = Math.max(largestCost, cost);
    if (cost > limits.cost) errors.push(tooCostly(cost, limits.cost, operation));
    if (depth > limits.depth) {
      const message = `The operation is ${depth} fields deep, and the limit is ${limits.depth}.`;
      const figures = {
        depth: { requested: depth, limit: limits.depth },
        cost: { requested: cost, limit: limits.cost },
      };
      errors.push(tooComplex(message, figures, { nodes: operation }));
    }
  }
  const counts = {
    aliases: [countAliases(document), limits.aliases],
    directives: [countDirectives(document), limits.directives],
    comparisons: [countComparisons(document), MAX_COMPARISONS],
  } as const;
  for (const [what, [requested, limit]] of Object.entries(counts)) {
    if (requested <= limit) continue;
    const message = `The document has ${requested} ${what}, and the limit is ${limit}.`;
    const figures = { [what]: { requested, limit }, cost: { requested: largestCost, limit: limits.cost } };
    errors.push(tooComplex(message, figures, { nodes: document }));
  }
  return errors;
}

/** Counts aliased fields, and fields that one selection has again: both repeat the work of a field. */
function countAliases({ definitions }: DocumentNode): number {
  let aliases = 0;
  const count = (selections: SelectionSetNode | undefined, names: Set<string>) => {
    for (const selection of selections?.selections ?? []) {
      if (selection.kind === Kind.FIELD) {
        const { value } = selection.alias ?? selection.name;
        if (selection.alias || names.has(value)) aliases += 1;
        names.add(value);
        count(selection.selectionSet, new Set());
      } else if (selection.kind === Kind.INLINE_FRAGMENT) count(selection.selectionSet, names);
    }
  };
  for (const definition of definitions)
    if ("selectionSet" in definition) count(definition.selectionSet, new Set());
  return aliases;
}

function countDirectives(document: DocumentNode): number {
  let directives = 0;
  visit(document, {
    Directive() {
      directives += 1;
    },
  });
  return directives;
}

/**
 * An estimate, in linear time, of the pairs that graphql-js's rule about overlapping fields compares: all fields of one
 * name with one another, weighted by their arguments, and all spreads of fragments with one another.
 */
function countComparisons(document: DocumentNode): number {
  const fields = new Map<string, { count: number; weight: number }>();
  let spreads = 0;
  visit(document, {
    Field({ name, alias, arguments: given = [] }) {
      const { value } = alias ?? name;
      const known = fields.get(value) ?? { count: 0, weight: 0 };
      fields.set(value, { count: known.count + 1, weight: known.weight + 1 + given.length });
    },
    FragmentSpread() {
      spreads += 1;
    },
  });
  let comparisons = spreads ** 2;
  for (const { count, weight } of fields.values()) if (count > 1) comparisons += count * weight;
  return comparisons;
}
