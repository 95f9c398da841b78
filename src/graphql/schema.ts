import { printSchema } from "graphql";
import { builder } from "./schema/builder.ts";
import "./schema/audit.ts";
import "./schema/customer-export.ts";
import "./schema/kyc.ts";
import "./schema/erasures.ts";
import "./schema/holds.ts";
import "./schema/kyc-changes.ts";
import "./schema/kyc-bulk.ts";
import "./schema/kyc-mutations.ts";
import "./schema/ledger.ts";
import "./schema/viewer.ts";
import "./schema/webhooks.ts";
import "./schema/webhook-mutations.ts";

export const schema = builder.toSchema();

/** The schema in its definition language. Pothos sorts it: two prints differ only if the schema does. */
export function printSdl(): string {
  return `${printSchema(schema)}\n`;
}
