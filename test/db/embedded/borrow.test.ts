import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import { DataDirInUseError, lockFolder } from "../../../src/db/embedded/folder-lock.ts";
import { migrate } from "../../../src/db/migrating/migrate.ts";
import { borrowDatabase, openDatabase } from "../../../src/db/open.ts";
import { roomForData } from "../../support/postgres-server.ts";

const dataDir = mkdtempSync(join(await roomForData(), "borrow-"));
const warnings: string[] = [];
const borrow = (env: Record<string, string> = {}) =>
  borrowDatabase(parseConfig({ DATA_DIR: dataDir, ...env }), (text) => warnings.push(text));

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

test("a guest's statements have the configured time, also while another client has the database to itself", async () => {
  const host = await borrow();
  const guest = await borrow({ STATEMENT_TIMEOUT: "200 ms" });
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let holding: Promise<void> | undefined;
  await new Promise<void>((resolve) => {
    holding = host.db.transaction(async (tx) => {
      await tx.execute("select 1");
      resolve();
      await held;
    });
  });
  await expect(guest.db.execute("select 1")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  release();
  await holding;
  expect(await guest.db.execute("select 1 as n")).toEqual([{ n: 1 }]);
  await guest.close();
  await host.close();
});

test("a gateway waits for a process that is just opening or closing the database, and for no other", async () => {
  const unlock = await lockFolder(dataDir);
  const opening = openDatabase(parseConfig({ DATA_DIR: dataDir }), () => {});
  expect(await Promise.race([opening, wait(500)])).toBeUndefined();
  unlock();
  const { isGuest, close } = await opening;
  expect(isGuest).toBe(false);
  await expect(openDatabase(parseConfig({ DATA_DIR: dataDir }), () => {})).rejects.toThrow(DataDirInUseError);
  await close();
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
