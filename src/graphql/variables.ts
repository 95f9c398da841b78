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
  type OperationDefinitionNode,
  typeFromAST,
} from "graphql";
import type { FieldFault } from "../errors.ts";

/** A name worth repeating. What has digits may be a value in the wrong place. */
const NAME = /^[A-Za-z_]+$/;

/** Looks for faults in the variables of one operation, whose types are looked up once. */
export type VariableCheck = (variables: Readonly<Record<string, unknown>>) => readonly FieldFault[];

/** Looks for faults in one value; their paths begin in it. Undefined stands for what is absent. */
type Check = (value: unknown) => readonly FieldFault[];

const NONE: readonly FieldFault[] = [];

/**
 * Finds every fault of an operation's variables, by the name of the variable. graphql-js finds the same faults, but
 * its texts repeat the values, and a value can be a document number.
 */
export function checkVariables(schema: GraphQLSchema, operation: OperationDefinitionNode): VariableCheck {
  const wanted = (operation.variableDefinitions ?? []).flatMap(({ variable, type: node, defaultValue }) => {
    const type = typeFromAST(schema, node);
    if (!isInputType(type)) return [];
    return { name: variable.name.value, check: checkOf(type), optional: defaultValue !== undefined };
  });
  return (variables) => {
    let faults = NONE;
    for (const { name, check, optional } of wanted) {
      const given = Object.hasOwn(variables, name) ? variables[name] : undefined;
      if (given !== undefined || !optional) faults = withMore(faults, name, check(given));
    }
    return faults;
  };
}

function withMore(
  faults: readonly FieldFault[],
  key: string | number,
  more: readonly FieldFault[],
): readonly FieldFault[] {
  if (more.length === 0) return faults;
  return [...faults, ...more.map((fault) => ({ ...fault, path: [key, ...fault.path] }))];
}

const invalid = (message: string): FieldFault[] => [{ path: [], kind: "invalid", message }];

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
    return (value) => {
      if (value === undefined) return [{ path: [], kind: "missing", message: "is required" }];
      return value === null ? invalid("must not be null") : check(value);
    };
  }
  if (isListType(type)) {
    const check = checkOf(type.ofType);
    return orNull((value) => {
      if (!Array.isArray(value)) return check(value);
      return value.reduce((faults, item, index) => withMore(faults, index, check(item)), NONE);
    });
  }
  if (!isInputObjectType(type))
    return orNull((value) => (accepts(type, value) ? NONE : invalid(describe(type))));
  // When a value comes: a type may have fields of its own type.
  let checkFields: ((value: Record<string, unknown>) => readonly FieldFault[]) | undefined;
  return orNull((value) => {
    if (typeof value !== "object" || Array.isArray(value)) return invalid("must be an object");
    checkFields ??= createFieldsCheck(type);
    return checkFields(value as Record<string, unknown>);
  });
}

const orNull =
  (check: Check): Check =>
  (value) =>
    value == null ? NONE : check(value);

function createFieldsCheck(
  type: GraphQLInputObjectType,
): (value: Record<string, unknown>) => readonly FieldFault[] {
  const fields = Object.values(type.getFields()).map((field) => ({
    name: field.name,
    check: checkOf(field.type),
    required: isRequiredInputField(field),
  }));
  const known = new Set(fields.map(({ name }) => name));
  return (value) => {
    let faults = NONE;
    for (const { name, check, required } of fields) {
      const given = Object.hasOwn(value, name) ? value[name] : undefined;
      if (given !== undefined || required) faults = withMore(faults, name, check(given));
    }
    for (const name of Object.keys(value)) if (!known.has(name)) faults = [...faults, toUnknown(name, type)];
    return faults;
  };
}

function toUnknown(name: string, type: GraphQLInputObjectType): FieldFault {
  return NAME.test(name)
    ? { path: [name], kind: "unknown", message: `is not a field of ${type.name}` }
    : { path: [], kind: "unknown", message: `has fields that ${type.name} has not` };
}

function accepts(type: { parseValue(value: unknown): unknown }, value: unknown): boolean {
  try {
    return type.parseValue(value) !== undefined;
  } catch {
    return false;
  }
}

/** What a value of this type must be, in words that name no value. */
export function describe(type: GraphQLInputType): string {
  const nullable = getNullableType(type);
  if (!isEnumType(nullable)) return `must be of type ${nullable}`;
  const words = nullable.getValues().map((value) => value.name);
  return `must be one of ${words.join(", ")}`;
}
