import {
  type ASTVisitor,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLError,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValidationContext,
  type ValidationRule,
  type ValueNode,
} from "graphql";
import type { QueryLimits } from "../config.ts";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../kyc/input.ts";
import { tooComplex } from "./parse-document.ts";

const INTROSPECTION_WEIGHT = 20;
/** Of a statement that reads everything that a filter has, however small the page. */
const COUNT_WEIGHT = 50;
/** Of the ids of all records that an answer showed. A full page with them stays within the default limit. */
const IDS_WEIGHT = 50;

/** What an operation asks for, as far as it can be known before anything is done. */
interface Extent {
  /** One for each field and each record that it can be asked of, more for the fields that are heavier. */
  cost: number;
  /** Fields inside one another. */
  depth: number;
}

/** As they were sent: nothing has looked at them yet. */
type Variables = Readonly<Record<string, unknown>>;

/**
 * How to tell what one operation costs with these variables: measured once where none of them is a size, and else
 * when the sizes are others than last time.
 */
export function costOf(
  document: DocumentNode,
  operation: OperationDefinitionNode,
): (variables: Variables) => number {
  const sizes = new Set<string>();
  const measure = (variable: (name: string) => unknown) =>
    new Meter(document, variable).measure(operation.selectionSet).cost;
  const cost = measure((name) => void sizes.add(name));
  if (sizes.size === 0) return () => cost;
  const defaults = new Map(
    operation.variableDefinitions?.map((definition) => [
      definition.variable.name.value,
      definition.defaultValue,
    ]),
  );
  const names = [...sizes];
  let last: { values: unknown[]; cost: number } | undefined;
  return (variables) => {
    const given = (name: string) =>
      Object.hasOwn(variables, name) ? variables[name] : toValue(defaults.get(name), () => undefined);
    if (last && names.every((name, index) => given(name) === last?.values[index])) return last.cost;
    last = { values: names.map(given), cost: measure(given) };
    return last.cost;
  };
}

/** The refusal of an operation that costs more than the limit. */
export function tooCostly(
  requested: number,
  limit: number,
  operation: OperationDefinitionNode,
): GraphQLError {
  const message = `The operation costs ${requested}, and the limit is ${limit}.`;
  return tooComplex(message, { cost: { requested, limit } }, { nodes: operation });
}

/** What clients are told of the cost of an operation, with each of its answers. */
export interface Cost {
  requested: number;
  limit: number;
}

/**
 * A validation rule that refuses documents beyond the limits, with QUERY_TOO_COMPLEX and the figures; those whose
 * sizes are variables only where the smallest sizes cost too much already.
 */
export function limitComplexity(limits: QueryLimits): ValidationRule {
  return function LimitComplexityRule(context: ValidationContext): ASTVisitor {
    const meter = new Meter(context.getDocument(), () => 1);
    let largestCost = 0;
    let directives = 0;
    return {
      OperationDefinition(operation) {
        const { cost, depth } = meter.measure(operation.selectionSet);
        largestCost = Math.max(largestCost, cost);
        if (cost > limits.cost) context.reportError(tooCostly(cost, limits.cost, operation));
        if (depth > limits.depth) {
          const message = `The operation is ${depth} fields deep, and the limit is ${limits.depth}.`;
          const figures = {
            depth: { requested: depth, limit: limits.depth },
            cost: { requested: cost, limit: limits.cost },
          };
          context.reportError(tooComplex(message, figures, { nodes: operation }));
        }
      },
      Directive() {
        directives += 1;
      },
      Document: {
        leave(document) {
          const counts = { aliases: countAliases(document), directives };
          for (const [what, requested] of Object.entries(counts) as [keyof typeof counts, number][]) {
            const limit = limits[what];
            if (requested <= limit) continue;
            const message = `The document has ${requested} ${what}, and the limit is ${limit}.`;
            const figures = {
              [what]: { requested, limit },
              cost: { requested: largestCost, limit: limits.cost },
            };
            context.reportError(tooComplex(message, figures, { nodes: document }));
          }
        },
      },
    };
  };
}

/** Fields under another name, and those that one selection asks for once more: both repeat the work of a field. */
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

/** The extent of some selections. */
interface Part extends Extent {
  /** What is asked of the field around them once, however many records it leads to. */
  once: number;
}

const NOTHING: Part = { cost: 0, depth: 0, once: 0 };

class Meter {
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #known = new Map<string, Part>();
  readonly #variable: (name: string) => unknown;

  /** `variable` tells the value of one by its name. */
  constructor(document: DocumentNode, variable: (name: string) => unknown) {
    this.#variable = variable;
    for (const definition of document.definitions)
      if (definition.kind === Kind.FRAGMENT_DEFINITION)
        this.#fragments.set(definition.name.value, definition);
  }

  measure(selections: SelectionSetNode | undefined): Part {
    let cost = 0;
    let depth = 0;
    let once = 0;
    for (const selection of selections?.selections ?? []) {
      let part: Part;
      if (selection.kind === Kind.FIELD) {
        part = this.#measureField(selection);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        part = this.measure(selection.selectionSet);
      } else {
        part = this.#measureFragment(selection.name.value);
      }
      // Fragments that spread others twice each reach infinity, which JSON can't say.
      cost = Math.min(cost + part.cost, Number.MAX_SAFE_INTEGER);
      depth = Math.max(depth, part.depth);
      once = Math.min(once + part.once, Number.MAX_SAFE_INTEGER);
    }
    return { cost, depth, once };
  }

  #measureField(field: FieldNode): Part {
    if (field.name.value === "totalCount") return { cost: 0, depth: 1, once: COUNT_WEIGHT };
    if (field.name.value === "kycIds") return { cost: IDS_WEIGHT, depth: 1, once: 0 };
    const inner = this.measure(field.selectionSet);
    return { cost: 1 + this.#recordsOf(field) * inner.cost + inner.once, depth: 1 + inner.depth, once: 0 };
  }

  #measureFragment(name: string): Part {
    const known = this.#known.get(name);
    if (known) return known;
    // A fragment inside itself is refused by another rule: here it must only come to an end.
    this.#known.set(name, NOTHING);
    const extent = this.measure(this.#fragments.get(name)?.selectionSet);
    this.#known.set(name, extent);
    return extent;
  }

  /** How many records a field can lead to: one at least. */
  #recordsOf({ name, arguments: given = [] }: FieldNode): number {
    const values = (...wanted: string[]) =>
      given
        .filter((argument) => wanted.includes(argument.name.value))
        .map(({ value }) => toValue(value, this.#variable))
        .filter((value) => value != null);
    if (CONNECTIONS.has(name.value)) {
      const sizes = values("first", "last").map(pageSize);
      return sizes.length === 0 ? DEFAULT_PAGE_SIZE : Math.max(...sizes);
    }
    if (name.value === "nodes") return Math.max(1, ...values("ids").map(listSize));
    // A list of the schema's own lists: the usual introspection takes half of the default limit.
    if (name.value === "__schema" || name.value === "__type") return INTROSPECTION_WEIGHT;
    return 1;
  }
}

/** As much of an argument's value as a size needs. */
function toValue(node: ValueNode | undefined, variable: (name: string) => unknown): unknown {
  if (node?.kind === Kind.VARIABLE) return variable(node.name.value);
  if (node?.kind === Kind.INT) return Number(node.value);
  if (node?.kind === Kind.LIST) return node.values;
  return node?.kind === Kind.NULL ? null : node;
}

const CONNECTIONS = new Set(["kycs", "auditEvents", "history"]);

/** From one up: what is inside an empty page, or one of a size that is refused, must not be free. */
const pageSize = (value: unknown) =>
  typeof value === "number" ? Math.min(Math.max(value, 1), MAX_PAGE_SIZE) : MAX_PAGE_SIZE;

/** A value in the place of a list is a list of one. */
const listSize = (value: unknown) => (Array.isArray(value) ? value.length : 1);
