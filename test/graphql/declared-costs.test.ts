import { type GraphQLField, getNullableType, isListType, isObjectType } from "graphql";
import { expect, test } from "vitest";
import { schema } from "../../src/graphql/schema.ts";

/** Lists inside a page, which the page's own cost counts. */
const OF_A_PAGE = /Connection\.(edges|nodes)$/;
/** A few names, at most one for each field of a record or for each scope. */
const SHORT = ["AuditEvent.changedFields", "Token.scopes"];
/** The field around it counts, or has the list. */
const COUNTED = ["StatusCount.count", "Erasure.recordCount"];

const fields = Object.values(schema.getTypeMap()).flatMap((type) =>
  isObjectType(type) && !type.name.startsWith("__")
    ? Object.values(type.getFields()).map((field) => ({ name: `${type.name}.${field.name}`, field }))
    : [],
);
const declaresCost = ({ extensions }: GraphQLField<unknown, unknown>) => extensions.cost !== undefined;

test("each field that lists, pages or counts declares its cost", () => {
  const costly = fields.filter(({ name, field }) => {
    const type = getNullableType(field.type);
    if (OF_A_PAGE.test(name) || SHORT.includes(name) || COUNTED.includes(name)) return false;
    return isListType(type) || /Connection!?$/.test(String(type)) || /(^c|C)ount$/.test(field.name);
  });
  expect(costly.length).toBeGreaterThan(4);
  expect(costly.filter(({ field }) => !declaresCost(field)).map(({ name }) => name)).toEqual([]);
});
