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
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../../paging/page-input.ts";
import { VERIFICATION_STATUSES } from "../../vocabulary.ts";
import { asGiven, countInList, countInObject, toValue, type Variable } from "./argument-values.ts";

/** The cost that a field of the schema declares in `extensions.cost`. Without it, a field costs 1 and leads to one object. */
export interface FieldCost {
  /** The cost of each value of the field. Default 1. */
  weight?: number;
  /** A cost that the field around it has once, however many records it leads to: a count, for example. */
  once?: number;
  /** How many objects the field leads to, by the values of its arguments. */
  items?: (argument: (name: string) => unknown) => number;
  /** An argument whose lists cost more the longer they are, however they are given. */
  lists?: string;
}

/** The cost of a field that is a page: as many items as its `first` or `last` asks for. */
export const PAGE_COST: FieldCost = {
  items: (argument) => {
    const sizes = [argument("first"), argument("last")].filter((size) => size != null).map(pageSize);
    return sizes.length === 0 ? DEFAULT_PAGE_SIZE : Math.max(...sizes);
  },
};

/**
 * The same if the page has a filter: each listed value can be one more range of an index, in which up to as many records are
 * read as the page has.
 */
export const FILTERED_PAGE_COST: FieldCost = { ...PAGE_COST, lists: "filter" };
/** Records of a range that cost 1. */
const RECORDS_READ = 10;

/** The cost of a field that lists the objects of its argument `ids`. */
export const IDS_COST: FieldCost = {
  items: (argument) => {
    const ids = argument("ids");
    // A single value counts as a list of one.
    return Math.max(1, Array.isArray(ids) ? ids.length : 1);
  },
};

/** The cost of a list that has at most 20 items. */
export const LIST_COST: FieldCost = { items: () => 20 };
/** The cost of a field that writes the items of its argument `input`. */
export const ITEMS_COST: FieldCost = {
  items: (argument) => {
    const input = argument("input");
    return Math.max(1, Array.isArray(input) ? input.length : 1);
  },
};
/** The cost of a list whose length the field around it counts. */
export const COUNTED_COST: FieldCost = {};
/** The cost of the faults of one item: it has few fields. */
export const FAULTS_COST: FieldCost = { items: () => 5 };

/** The cost of a count: its statement reads everything that matches, however small the page. */
export const COUNT_COST: FieldCost = { weight: 0, once: 50 };

/** The cost of counts for each status, which are one statement. */
export const COUNTS_COST: FieldCost = {
  weight: 50,
  items: () => VERIFICATION_STATUSES.length,
  lists: "filter",
};

/** The cost of the ids of all records that an answer showed. A full page with them is within the default limit. */
export const ID_LIST_COST: FieldCost = { weight: 50 };

/** The cost of a signed head. */
export const CHECKPOINT_COST: FieldCost = { weight: 10 };

/** The cost of a proof: hashes of up to 256 events for each level of the log. A full page of them is within the default limit. */
export const PROOF_COST: FieldCost = { weight: 30 };

/** The cost of a record's state at a time: its statements read the record's history. */
export const AS_OF_COST: FieldCost = { weight: 20 };

/** At least 1: what is inside an empty page, or a page of a size that is refused, must not be free. */
const pageSize = (value: unknown) =>
  typeof value === "number" ? Math.min(Math.max(value, 1), MAX_PAGE_SIZE) : MAX_PAGE_SIZE;

/** Lists of the schema's own description. The introspection that tools send takes half of the default limit. */
const INTROSPECTION_COST: FieldCost = { items: () => 20 };
/** Characters of a name in the answer that cost nothing. Each further piece as long costs 1. */
const NAME_LENGTH = 32;

/** As they were sent: nothing has looked at them yet. */
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
  /** One for each field and each record that it can be asked of, more for the fields that declare so. */
  cost: number;
  /** Fields inside one another. */
  depth: number;
}

/** The size of some selections. */
interface Part extends Extent {
  /** The costs that the field around them has once, however many records it leads to. */
  once: number;
}

const NOTHING: Part = { cost: 0, depth: 0, once: 0 };

type Parent = GraphQLCompositeType | undefined;

/** Measures the operations of a document. `variable` gives the value of one by its name. */
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
    const { weight = 1, once = 0, items, lists } = costDeclaredBy(field.name.value, definition);
    const count = items ? items((name) => this.#argument(field, name)) : 1;
    const listed =
      lists === undefined ? 0 : this.#countListed(field, lists) * Math.ceil(count / RECORDS_READ);
    const type = definition && getNamedType(definition.type);
    const inner = this.#measure(field.selectionSet, isCompositeType(type) ? type : undefined);
    const name = (field.alias ?? field.name).value;
    const own = weight + listed + Math.floor(name.length / NAME_LENGTH);
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
