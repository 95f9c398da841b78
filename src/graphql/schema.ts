import { printSchema } from "graphql";
import { builder } from "./builder.ts";
import "./audit.ts";
import "./kyc.ts";
import "./kyc-mutations.ts";

export const schema = builder.toSchema();

/** The schema in its definition language. Pothos sorts it: two prints differ only where the schema does. */
export function printSdl(): string {
  return `${printSchema(schema)}\n`;
}
