import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deletedKycs, epochMillis, toTimestamptz } from "../../src/db/schema.ts";
import { statement } from "../../src/db/statement.ts";
import { createTestDatabase } from "../support/database.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const insert = statement(
  () => sql`insert into deleted_kycs (account_id, id, created_at)
    select 'acme', place, at::timestamptz from unnest(${sql.placeholder("times")}::text[]) with ordinality as given(at, place)`,
);
const select = statement(
  () => sql`select ${epochMillis(deletedKycs.createdAt)} from deleted_kycs order by id::int`,
  ([millis]: [number]) => millis,
);

test("a time comes back as the millisecond that was stored, in the years 1 and 9999 too", async () => {
  const edges = ["0001-01-01T00:00:00.001Z", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"];
  const times = edges.map((text) => Date.parse(text));
  for (let millis = 0; millis < 1000; millis += 1) times.push(Date.UTC(9990, 5, 1) + millis * 86_400_001);
  await insert(database.db, { times: times.map(toTimestamptz) });
  expect(await select(database.db, {})).toEqual(times);
});

test("a time beyond what PostgreSQL's calendar is used for comes back as an infinity", async () => {
  await database.db.execute("truncate deleted_kycs");
  await insert(database.db, { times: ["-infinity", "infinity"] });
  expect(await select(database.db, {})).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
});
