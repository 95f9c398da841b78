import type { z } from "zod";
import { badUserInput, type FieldFault } from "./errors.ts";

/** The unchecked input from a surface. Anything can be absent or null, and is a fault if it must not be. */
export type Raw<Schema extends z.ZodType> = {
  [Field in keyof z.input<Schema>]?: z.input<Schema>[Field] | null | undefined;
};

/** An input that was read, or every fault that it has. */
export type Parsed<T> = { value: T; faults: [] } | { value: undefined; faults: FieldFault[] };

/** Reads an input. `found` are faults that the surface has found: they are reported together with the input's. */
export function readInput<T>(schema: z.ZodType<T>, input: unknown, found: readonly FieldFault[]): Parsed<T> {
  const result = schema.safeParse(input);
  if (result.success && found.length === 0) return { value: result.data, faults: [] };
  const faults = result.error?.issues.map((issue) => toFault(issue, input)) ?? [];
  return { value: undefined, faults: [...found, ...faults] };
}

/** As `readInput`, and fails with BAD_USER_INPUT, naming every fault. */
export function parseInput<T>(schema: z.ZodType<T>, input: unknown, found: readonly FieldFault[] = []): T {
  const { value, faults } = readInput(schema, input, found);
  if (value === undefined) throw badUserInput(faults);
  return value;
}

function toFault(issue: z.core.$ZodIssue, input: unknown): FieldFault {
  const path = issue.path.map((key) => (typeof key === "symbol" ? String(key) : key));
  const given = path.reduce<unknown>((value, key) => (value as Record<string, unknown>)?.[key], input);
  if (given === undefined) return { path, kind: "missing", message: "is required" };
  return { path, kind: "invalid", message: given === null ? "must not be null" : issue.message };
}
