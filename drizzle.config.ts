import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: [
    "./src/db/schema.ts",
    "./src/db/idempotency-schema.ts",
    "./src/db/key-schema.ts",
    "./src/db/ledger-schema.ts",
    "./src/db/webhook-schema.ts",
    "./src/db/import-schema.ts",
    "./src/db/hold-schema.ts",
    "./src/db/job-schema.ts",
  ],
  out: "./src/db/migrations",
});
