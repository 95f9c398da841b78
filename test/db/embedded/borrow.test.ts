import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import { migrate } from "../../../src/db/migrating/migrate.ts";
import { borrowDatabase } from "../../../src/db/open.ts";
import { roomForData } from "../../support/postgres-server.ts";

const dataDir = mkdtempSync(join(await roomForData(), "borrow-"));
const warnings: string[] = [];
const borrow = () => borrowDatabase(parseConfig({ DATA_DIR: dataDir }), (text) => warnings.push(text));

afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

test("a command that has joined the process with the database does all its work, also if that process is ending", async () => {
  const host = await borrow();
  const guest = await borrow();
  expect([host.isGuest, guest.isGuest]).toEqual([false, true]);
  const closed = host.close();

  await migrate(guest.target);
  const results = [1, 2, 3].map((n) =>
    guest.db.transaction((tx) => tx.execute(`select ${n} as n from kycs having count(*) = 0`)),
  );
  expect(await Promise.all(results)).toEqual([[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]]);
  await guest.close();
  await closed;
  expect(warnings).toEqual([]);
});

test("a command that comes while the process with the database is ending waits, and opens it itself", async () => {
  const host = await borrow();
  const guest = await borrow();
  const closed = host.close();
  const next = borrow();
  await migrate(guest.target);
  await guest.close();
  await closed;
  const { db, isGuest, close } = await next;
  expect(isGuest).toBe(false);
  await db.execute("select 1");
  await close();
});
