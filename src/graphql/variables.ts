import {
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

type Path = readonly (string | number)[];

/** Looks for faults in the variables of one operation, whose types are looked up once. */
export type VariableCheck = (variables: Readonly<Record<string, unknown>>) => FieldFault[];

/**
 * Finds every fault of an operation's variables, by the name of the variable. graphql-js finds the same faults, but
 * its texts repeat the values, and a value can be a document number.
 */
export function checkVariables(schema: GraphQLSchema, operation: OperationDefinitionNode): VariableCheck {
  const wanted = (operation.variableDefinitions ?? []).flatMap(({ variable, type: node, defaultValue }) => {
    const type = typeFromAST(schema, node);
    return isInputType(type) ? { name: variable.name.value, type, optional: defaultValue !== undefined } : [];
  });
  return (variables) => {
    const faults: FieldFault[] = [];
    for (const { name, type, optional } of wanted) {
      const given = Object.hasOwn(variables, name) ? variables[name] : undefined;
      if (given !== undefined || !optional) collect(type, given, [name], faults);
    }
    return faults;
  };
}

function collect(type: GraphQLInputType, value: unknown, path: Path, faults: FieldFault[]): void {
  const invalid = (message: string) => faults.push({ path, kind: "invalid", message });
  if (isNonNullType(type)) {
    if (value === undefined) faults.push({ path, kind: "missing", message: "is required" });
    else if (value === null) invalid("must not be null");
    else collect(type.ofType, value, path, faults);
  } else if (value == null) {
    return;
  } else if (isListType(type)) {
    if (!Array.isArray(value)) collect(type.ofType, value, path, faults);
    else for (const [index, item] of value.entries()) collect(type.ofType, item, [...path, index], faults);
  } else if (isInputObjectType(type)) {
    if (typeof value !== "object" || Array.isArray(value)) invalid("must be an object");
    else collectFields(type, value as Record<string, unknown>, path, faults);
  } else if (!accepts(type, value)) {
    invalid(describe(type));
  }
}

function collectFields(
  type: Extract<GraphQLInputType, { getFields(): unknown }>,
  value: Record<string, unknown>,
  path: Path,
  faults: FieldFault[],
): void {
  const fields = type.getFields();
  for (const [name, field] of Object.entries(fields)) {
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    if (given === undefined && !isRequiredInputField(field)) continue;
    collect(field.type, given, [...path, name], faults);
  }
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(fields, name)) continue;
    faults.push(
      NAME.test(name)
        ? { path: [...path, name], kind: "unknown", message: `is not a field of ${type.name}` }
        : { path, kind: "unknown", message: `has fields that ${type.name} has not` },
    );
  }
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
