import { getTableName, is } from "drizzle-orm";
import { PgTable } from "drizzle-orm/pg-core";
import * as holdSchema from "./hold-schema.ts";
import * as idempotencySchema from "./idempotency-schema.ts";
import * as importSchema from "./import-schema.ts";
import * as jobSchema from "./job-schema.ts";
import * as keySchema from "./key-schema.ts";
import * as ledgerSchema from "./ledger-schema.ts";
import * as schema from "./schema.ts";
import * as webhookSchema from "./webhook-schema.ts";

/** The name of every table of the gateway. */
export const TABLE_NAMES: readonly string[] = [
  ...Object.values(schema),
  ...Object.values(idempotencySchema),
  ...Object.values(ledgerSchema),
  ...Object.values(importSchema),
  ...Object.values(holdSchema),
  ...Object.values(jobSchema),
  ...Object.values(webhookSchema),
  ...Object.values(keySchema),
].flatMap((value) => (is(value, PgTable) ? [getTableName(value)] : []));
