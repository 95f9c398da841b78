import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from "graphql";
import { asGiven, countInList, countInObject, namesIn, toValue, type Variable } from "./argument-values.ts";
import type { FieldCost } from "./field-costs.ts";

/** How many records of a range cost 1. */
const RECORDS_READ = 10;

/** Lists of the schema's own description. The introspection that tools send takes half of the default limit. */
const INTROSPECTION_COST: FieldCost = { items: () => 20 };
/** Characters of a name in the answer that cost nothing. Each further piece as long costs 1. */
const NAME_LENGTH = 32;

/** As they were sent, unchecked. */
type Variables = Readonly<Record<string, unknown>>;

/**
 * A function that gives the cost of one operation with its variables. The cost is measured once if no variable is a
 * size, and otherwise each time the sizes differ from the last ones.
 */
export function costOf(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
): (variables: Variables) => number {
  const sizes = new Map<string, { name: string; read: (value: unknown) => unknown }>();
  const measure = (variable: Variable) =>
    new Meter(schema, document, variable).measureOperation(operation).cost;
  const cost = measure((name, read) => void sizes.set(`${read.name} ${name}`, { name, read }));
  if (sizes.size === 0) return () => cost;
  const defaults = new Map(
    operation.variableDefinitions?.map((definition) => [
      definition.variable.name.value,
      definition.defaultValue,
    ]),
  );
  const wanted = [...sizes.values()];
  let last: { values: unknown[]; cost: number } | undefined;
  return (variables) => {
    const given: Variable = (name, read) =>
      read(
        Object.hasOwn(variables, name)
          ? variables[name]
          : toValue(defaults.get(name), asGiven, () => undefined),
      );
    const values = wanted.map(({ name, read }) => given(name, read));
    if (last?.values.every((value, index) => value === values[index])) return last.cost;
    last = { values, cost: measure(given) };
    return last.cost;
  };
}

/** The size of an operation, as far as it is known before anything is done. */
export interface Extent {
  /** One for each field of each record, and more for fields that declare a cost. */
  cost: number;
  /** How deep fields are nested. */
  depth: number;
}

/** The size of some selections. */
interface Part extends Extent {
  /** The costs that the enclosing field has once, however many records it returns. */
  once: number;
}

const NOTHING: Part = { cost: 0, depth: 0, once: 0 };

type Parent = GraphQLCompositeType | undefined;

/** Measures the operations of a document. `variable` returns the value of a variable by its name. */
export class Meter {
  readonly #schema: GraphQLSchema;
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #known = new Map<string, Part>();
  readonly #variable: Variable;

  constructor(schema: GraphQLSchema, document: DocumentNode, variable: Variable) {
    this.#schema = schema;
    this.#variable = variable;
    for (const definition of document.definitions)
      if (definition.kind === Kind.FRAGMENT_DEFINITION)
        this.#fragments.set(definition.name.value, definition);
  }

  measureOperation({ operation, selectionSet }: OperationDefinitionNode): Extent {
    return this.#measure(selectionSet, this.#schema.getRootType(operation) ?? undefined);
  }

  #measure(selections: SelectionSetNode | undefined, parent: Parent): Part {
    let cost = 0;
    let depth = 0;
    let once = 0;
    for (const selection of selections?.selections ?? []) {
      let part: Part;
      if (selection.kind === Kind.FIELD) {
        part = this.#measureField(selection, parent);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        part = this.#measure(selection.selectionSet, this.#typeOf(selection.typeCondition, parent));
      } else {
        part = this.#measureFragment(selection.name.value);
      }
      // Fragments that spread others twice each reach infinity, which JSON does not have.
      cost = Math.min(cost + part.cost, Number.MAX_SAFE_INTEGER);
      depth = Math.max(depth, part.depth);
      once = Math.min(once + part.once, Number.MAX_SAFE_INTEGER);
    }
    return { cost, depth, once };
  }

  #measureField(field: FieldNode, parent: Parent): Part {
    const definition = fieldOf(parent, field.name.value);
    const { weight = 1, once = 0, items, lists, besides } = costDeclaredBy(field.name.value, definition);
    const count = items ? items((name) => this.#argument(field, name)) : 1;
    const listed =
      lists === undefined ? 0 : this.#countListed(field, lists) * Math.ceil(count / RECORDS_READ);
    const type = definition && getNamedType(definition.type);
    const inner = this.#measure(field.selectionSet, isCompositeType(type) ? type : undefined);
    const name = (field.alias ?? field.name).value;
    const searched = besides?.((argument) => this.#namesIn(field, argument)) ?? 0;
    const own = weight + listed + searched + Math.floor(name.length / NAME_LENGTH);
    return { cost: own + count * inner.cost + inner.once, depth: 1 + inner.depth, once };
  }

  #measureFragment(name: string): Part {
    const known = this.#known.get(name);
    if (known) return known;
    // Another rule refuses a fragment that contains itself. This only prevents endless recursion.
    this.#known.set(name, NOTHING);
    const fragment = this.#fragments.get(name);
    const extent = this.#measure(fragment?.selectionSet, this.#typeOf(fragment?.typeCondition, undefined));
    this.#known.set(name, extent);
    return extent;
  }

  #typeOf(condition: { name: { value: string } } | undefined, parent: Parent): Parent {
    if (!condition) return parent;
    const type = this.#schema.getType(condition.name.value);
    return isCompositeType(type) ? type : undefined;
  }

  #argument({ arguments: given = [] }: FieldNode, name: string): unknown {
    return toValue(given.find((argument) => argument.name.value === name)?.value, asGiven, this.#variable);
  }

  #namesIn({ arguments: given = [] }: FieldNode, name: string): string {
    const value = given.find((argument) => argument.name.value === name)?.value;
    return String(toValue(value, namesIn, this.#variable) ?? "");
  }

  /** How many values the lists of an argument have. */
  #countListed({ arguments: given = [] }: FieldNode, name: string): number {
    const value = given.find((argument) => argument.name.value === name)?.value;
    if (value?.kind !== Kind.OBJECT) return Number(toValue(value, countInObject, this.#variable) ?? 0);
    const counts = value.fields.map((field) =>
      Number(toValue(field.value, countInList, this.#variable) ?? 0),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }
}

function fieldOf(parent: Parent, name: string): GraphQLField<unknown, unknown> | undefined {
  return isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name] : undefined;
}

function costDeclaredBy(name: string, field: GraphQLField<unknown, unknown> | undefined): FieldCost {
  if (name === "__schema" || name === "__type") return INTROSPECTION_COST;
  return (field?.extensions.cost as FieldCost | undefined) ?? {};
}
