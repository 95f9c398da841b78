import { Kind, type ObjectValueNode, type ValueNode } from "graphql";

/** Returns the result of `read` for the value of the variable with this name. */
export type Variable = (name: string, read: (value: unknown) => unknown) => unknown;

/** The value itself. */
export function asGiven(value: unknown): unknown {
  return value;
}

/** The number of values of a list. */
export function countInList(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}

/** The number of values in all lists of an object that is the value or the default of a variable. */
export function countInObject(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  if ("kind" in value && value.kind === Kind.OBJECT) {
    const { fields } = value as ObjectValueNode;
    return countInObject(fields.map((field) => toValue(field.value, asGiven, () => undefined)));
  }
  return Object.values(value).reduce((sum: number, part) => sum + countInList(part), 0);
}

/** The names of the fields of an object that have a value, with spaces between them. */
export function namesIn(value: unknown): string {
  if (typeof value !== "object" || value === null) return "";
  if (!("kind" in value)) {
    const fields = Object.entries(value).filter(([, part]) => part != null);
    return fields.map(([name]) => name).join(" ");
  }
  if (value.kind !== Kind.OBJECT) return "";
  const fields = (value as ObjectValueNode).fields.filter((field) => field.value.kind !== Kind.NULL);
  return fields.map(({ name }) => name.value).join(" ");
}

/** Returns the result of `read` for an argument's value, as far as a size depends on it. */
export function toValue(
  node: ValueNode | undefined,
  read: (value: unknown) => unknown,
  variable: Variable,
): unknown {
  if (node?.kind === Kind.VARIABLE) return variable(node.name.value, read);
  if (node?.kind === Kind.INT) return read(Number(node.value));
  if (node?.kind === Kind.LIST) return read(node.values);
  return read(node?.kind === Kind.NULL ? null : node);
}
