import {
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLSchema,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  isRequiredInputField,
  isScalarType,
  type OperationDefinitionNode,
  typeFromAST,
} from "graphql";
import { type FieldFault, MOST_FAULTS } from "../errors.ts";
import { MAX_PAGE_SIZE } from "../paging/page-input.ts";

/** A name that may be repeated in an error. A name with digits can be a value in the wrong place. */
const NAME = /^[A-Za-z_]{1,64}$/;

/** The maximum length of a list. No list of the schema allows more. A longer one is refused before its items are read. */
const MAX_LIST_LENGTH = MAX_PAGE_SIZE;

/**
 * Finds what is wrong with the variables of one operation. Each fault's path begins with the variable's name. It
 * stops once there is one fault more than an error names.
 */
export type VariableCheck = (variables: Readonly<Record<string, unknown>>) => readonly FieldFault[];

/**
 * The check of this operation's variables; their types are looked up once. graphql-js finds the same faults, but its
 * messages repeat the values, and a value can be a document number.
 */
export function checkVariables(schema: GraphQLSchema, operation: OperationDefinitionNode): VariableCheck {
  const expected = (operation.variableDefinitions ?? []).flatMap(({ variable, type: node, defaultValue }) => {
    const type = typeFromAST(schema, node);
    if (!isInputType(type)) return [];
    return { name: variable.name.value, check: checkOf(type), optional: defaultValue !== undefined };
  });
  return (variables) => {
    const faults = new FaultList();
    for (const { name, check, optional } of expected) {
      const given = Object.hasOwn(variables, name) ? variables[name] : undefined;
      if (given !== undefined || !optional) faults.inside(name, () => check(given, faults));
    }
    return faults.found;
  };
}

/** The faults found so far, in one list of bounded length for all levels of the value that is being read. */
class FaultList {
  readonly found: FieldFault[] = [];
  readonly #path: (string | number)[] = [];

  get isFull(): boolean {
    return this.found.length > MOST_FAULTS;
  }

  add(kind: FieldFault["kind"], message: string, ...below: string[]): void {
    if (!this.isFull) this.found.push({ path: [...this.#path, ...below], kind, message });
  }

  /** Reads what is under this key of the value. */
  inside(key: string | number, read: () => void): void {
    this.#path.push(key);
    read();
    this.#path.pop();
  }
}

/** Adds the faults of a value to the list. Undefined stands for an absent value. */
type Check = (value: unknown, faults: FaultList) => void;

const checks = new WeakMap<GraphQLInputType, Check>();

function checkOf(type: GraphQLInputType): Check {
  let check = checks.get(type);
  if (!check) {
    check = createCheck(type);
    checks.set(type, check);
  }
  return check;
}

function createCheck(type: GraphQLInputType): Check {
  if (isNonNullType(type)) {
    const check = checkOf(type.ofType);
    return (value, faults) => {
      if (value === undefined) faults.add("missing", "is required");
      else if (value === null) faults.add("invalid", "must not be null");
      else check(value, faults);
    };
  }
  if (isListType(type)) return unlessNull(createListCheck(checkOf(type.ofType)));
  if (isInputObjectType(type)) return unlessNull(createObjectCheck(type));
  return unlessNull((value, faults) => {
    if (!accepts(type, value)) faults.add("invalid", describe(type));
  });
}

const unlessNull =
  (check: Check): Check =>
  (value, faults) => {
    if (value != null) check(value, faults);
  };

function createListCheck(check: Check): Check {
  return (value, faults) => {
    // A single value counts as a list of one.
    if (!Array.isArray(value)) return check(value, faults);
    if (value.length > MAX_LIST_LENGTH) {
      return faults.add("invalid", `must have at most ${MAX_LIST_LENGTH} items`);
    }
    for (const [index, item] of value.entries()) {
      if (faults.isFull) return;
      faults.inside(index, () => check(item, faults));
    }
  };
}

function createObjectCheck(type: GraphQLInputObjectType): Check {
  // Created at the first value, because a type can have fields of its own type.
  let checkFields: Check | undefined;
  return (value, faults) => {
    if (typeof value !== "object" || Array.isArray(value)) {
      return faults.add("invalid", "must be an object");
    }
    checkFields ??= createFieldsCheck(type);
    checkFields(value, faults);
  };
}

function createFieldsCheck(type: GraphQLInputObjectType): Check {
  const fields = Object.values(type.getFields()).map((field) => ({
    name: field.name,
    check: checkOf(field.type),
    required: isRequiredInputField(field),
  }));
  const known = new Set(fields.map(({ name }) => name));
  return (value, faults) => {
    const object = value as Record<string, unknown>;
    for (const { name, check, required } of fields) {
      const given = Object.hasOwn(object, name) ? object[name] : undefined;
      if (given !== undefined || required) faults.inside(name, () => check(given, faults));
    }
    for (const name of Object.keys(object)) {
      if (faults.isFull) return;
      if (known.has(name)) continue;
      if (NAME.test(name)) faults.add("unknown", `is not a field of ${type.name}`, name);
      else faults.add("unknown", `has fields that ${type.name} does not have`);
    }
  };
}

function accepts(type: { parseValue(value: unknown): unknown }, value: unknown): boolean {
  // Scalars and enums are never lists or objects, and graphql-js's error about one would contain the value.
  if (typeof value === "object") return false;
  try {
    return type.parseValue(value) !== undefined;
  } catch {
    return false;
  }
}

/** A description of the values that this type accepts, for errors: it repeats no value. */
export function describe(type: GraphQLInputType): string {
  const nullable = getNullableType(type);
  if (isEnumType(nullable)) {
    const words = nullable.getValues().map((value) => value.name);
    return `must be one of ${words.join(", ")}`;
  }
  if (isScalarType(nullable) && typeof nullable.extensions.expected === "string") {
    return `must be ${nullable.extensions.expected}`;
  }
  return `must be of type ${nullable}`;
}
