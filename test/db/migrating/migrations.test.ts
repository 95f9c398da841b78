import { readFileSync } from "node:fs";
import { generateDrizzleJson, generateMigration } from "drizzle-kit/api";
import { expect, test } from "vitest";
import * as holdSchema from "../../../src/db/hold-schema.ts";
import * as idempotencySchema from "../../../src/db/idempotency-schema.ts";
import * as importSchema from "../../../src/db/import-schema.ts";
import * as jobSchema from "../../../src/db/job-schema.ts";
import * as keySchema from "../../../src/db/key-schema.ts";
import * as ledgerSchema from "../../../src/db/ledger-schema.ts";
import { ownMigrations } from "../../../src/db/migrating/migration-files.ts";
import * as schema from "../../../src/db/schema.ts";
import * as webhookSchema from "../../../src/db/webhook-schema.ts";
import { unsafeStatements } from "../../support/unsafe-statements.ts";

const folder = "src/db/migrations/meta";
const { entries } = JSON.parse(readFileSync(`${folder}/_journal.json`, "utf8"));

test("the migrations make the schema of the code; `npm run migration` writes what lacks", async () => {
  const latest = String(entries.at(-1).idx).padStart(4, "0");
  const snapshot = JSON.parse(readFileSync(`${folder}/${latest}_snapshot.json`, "utf8"));
  expect(
    await generateMigration(
      snapshot,
      generateDrizzleJson({
        ...schema,
        ...keySchema,
        ...ledgerSchema,
        ...webhookSchema,
        ...importSchema,
        ...holdSchema,
        ...idempotencySchema,
        ...jobSchema,
      }),
    ),
  ).toEqual([]);
});

test("each migration is younger than the one before: one that is not would never be applied", () => {
  const times = ownMigrations().map(({ createdAt }) => createdAt);
  expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
});

test.each(ownMigrations().map((migration) => [migration.name, migration] as const))(
  "the previous release goes on serving while %s runs, and after it",
  (_, { statements, concurrentIndexes }) => {
    expect(unsafeStatements([...statements, ...concurrentIndexes.map(({ statement }) => statement)])).toEqual(
      [],
    );
  },
);

test.each([
  'DROP TABLE "kycs"',
  'ALTER TABLE "kycs" DROP COLUMN "customer_id"',
  'ALTER TABLE "kycs" RENAME COLUMN "customer_id" TO "customer"',
  'ALTER TABLE "kycs" RENAME TO "records"',
  'ALTER TABLE "kycs" ALTER COLUMN "version" SET DATA TYPE bigint',
  'ALTER TABLE "kycs" ALTER COLUMN "version" SET NOT NULL',
  'ALTER TABLE "kycs" ADD COLUMN "note" text NOT NULL',
  'ALTER TABLE "kycs" ADD COLUMN "mark" uuid DEFAULT gen_random_uuid() NOT NULL',
  'ALTER TABLE "kycs" ADD COLUMN "place" serial',
  'ALTER TABLE "kycs" ADD COLUMN "note" text UNIQUE',
  'ALTER TABLE "kycs" ADD CONSTRAINT "positive" CHECK ("version" > 0)',
  'ALTER TABLE "kycs" ADD CONSTRAINT "unique_number" UNIQUE("account_id","customer_id")',
  'ALTER TABLE "kycs" ADD COLUMN "note" text, DROP COLUMN "version"',
  'CREATE INDEX "plain" ON "kycs" USING btree ("account_id")',
  'CREATE UNIQUE INDEX "plain" ON "kycs" USING btree ("account_id")',
  'LOCK TABLE "kycs" IN ACCESS EXCLUSIVE MODE',
  'UPDATE "kycs" SET "version" = 1',
  'TRUNCATE "kycs"',
  'CREATE TRIGGER "t" BEFORE INSERT ON "kycs" EXECUTE FUNCTION f()',
  "ALTER TYPE \"document_type\" RENAME VALUE 'visa' TO 'permit'",
])("a migration may not %s", (statement) => {
  expect(unsafeStatements([statement])).toEqual([statement]);
});

test.each([
  ['CREATE TABLE "notes" ("id" text)', 'CREATE INDEX "n" ON "notes" USING btree ("id")'],
  ['CREATE TABLE "notes" ("id" text)', 'ALTER TABLE "notes" ADD CONSTRAINT "c" CHECK ("id" <> \'\')'],
  ['CREATE INDEX CONCURRENTLY "i" ON "kycs" USING btree ("account_id","id")'],
  ['ALTER TABLE "kycs" ADD COLUMN "note" text'],
  ['ALTER TABLE "kycs" ADD COLUMN "note" text collate "C"'],
  ['ALTER TABLE "kycs" ADD COLUMN "note" text DEFAULT \'none\' NOT NULL'],
  ['ALTER TABLE "kycs" ADD COLUMN "count" integer DEFAULT 0 NOT NULL'],
  ['ALTER TABLE "kycs" ALTER COLUMN "document_number" DROP NOT NULL'],
  ['ALTER TABLE "kycs" ADD COLUMN "written_in" "xid8"'],
  ['ALTER TABLE "kycs" ALTER COLUMN "written_in" SET DEFAULT pg_current_xact_id()'],
  ['ALTER TABLE "kycs" ADD CONSTRAINT "positive" CHECK ("version" > 0) NOT VALID'],
  ['ALTER TABLE "kycs" VALIDATE CONSTRAINT "positive"'],
  ['ALTER TYPE "public"."document_type" ADD VALUE \'card\''],
  ['CREATE TYPE "public"."colour" AS ENUM(\'red\')'],
])("a migration may %s", (...statements) => {
  expect(unsafeStatements(statements)).toEqual([]);
});
