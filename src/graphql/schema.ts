import { type GraphQLSchema, isObjectType, printSchema } from "graphql";
import { builder } from "./builder.ts";
import "./audit.ts";
import "./kyc.ts";
import "./kyc-mutations.ts";

export const schema = withoutIdleResolvers(builder.toSchema());

/** Leaves reading a property to the resolver of graphql-js wherever a field does nothing else. */
function withoutIdleResolvers(schema: GraphQLSchema): GraphQLSchema {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      // A node's id is the record's own.
      const isId = field.name === "id" && type.getInterfaces().some(({ name }) => name === "Node");
      if (isId || field.extensions.pothosExposedField === field.name) delete field.resolve;
    }
  }
  return schema;
}

/** The schema in its definition language. Pothos sorts it: two prints differ only where the schema does. */
export function printSdl(): string {
  return `${printSchema(schema)}\n`;
}
