import { readFileSync } from "node:fs";
import { generateDrizzleJson, generateMigration } from "drizzle-kit/api";
import { expect, test } from "vitest";
import { isMigrated, migrate } from "../../src/db/migrate.ts";
import { connect } from "../../src/db/pool.ts";
import * as schema from "../../src/db/schema.ts";
import { createTestDatabase } from "../support/database.ts";

test("the migrations make the schema of the code; `npm run migration` writes what lacks", async () => {
  const folder = "src/db/migrations/meta";
  const { entries } = JSON.parse(readFileSync(`${folder}/_journal.json`, "utf8"));
  const latest = String(entries.at(-1).idx).padStart(4, "0");
  const snapshot = JSON.parse(readFileSync(`${folder}/${latest}_snapshot.json`, "utf8"));
  expect(await generateMigration(snapshot, generateDrizzleJson(schema))).toEqual([]);
});

test("replicas that migrate an empty database at once all succeed, and each migration is applied once", async () => {
  const database = await createTestDatabase();
  await database.db.execute("drop schema public cascade; drop schema drizzle cascade; create schema public");
  expect(await isMigrated(database.db)).toBe(false);
  const replicas = Array.from({ length: 6 }, () =>
    connect({ address: { url: database.url }, poolSize: 1, prepare: true }),
  );
  await Promise.all(replicas.map((db) => migrate(db)));
  const applied = await database.db.execute(
    "select hash, count(*)::int from drizzle.__drizzle_migrations group by hash",
  );
  expect(applied.every((row) => row.count === 1)).toBe(true);
  expect(await isMigrated(database.db)).toBe(true);
  await Promise.all(replicas.map((db) => db.close()));
  await database.drop();
});
