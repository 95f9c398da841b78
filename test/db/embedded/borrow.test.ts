import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import { DataDirInUseError, lockFolder } from "../../../src/db/embedded/folder-lock.ts";
import { migrate } from "../../../src/db/migrating/migrate.ts";
import { borrowDatabase, joinDatabase, openDatabase } from "../../../src/db/open.ts";
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

test("a gateway waits for a process that is just opening or closing the database, or a command, and for no gateway that serves", async () => {
  const said: string[] = [];
  const open = () => openDatabase(parseConfig({ DATA_DIR: dataDir }), (text) => said.push(text));
  const unlock = await lockFolder(dataDir, { isGateway: true });
  const opening = open();
  expect(await Promise.race([opening, wait(500)])).toBeUndefined();
  unlock();
  const { isGuest, close } = await opening;
  expect(isGuest).toBe(false);
  expect(said).toEqual([expect.stringContaining("waiting")]);
  await expect(open()).rejects.toThrow(DataDirInUseError);
  await close();

  const command = await borrow();
  const next = open();
  expect(await Promise.race([next, wait(500)])).toBeUndefined();
  await command.close();
  await (await next).close();
});

test("a process that delivers joins a gateway, and no command", async () => {
  const config = parseConfig({ DATA_DIR: dataDir });
  const command = await borrow();
  const joining = joinDatabase(config, () => {});
  expect(await Promise.race([joining, wait(500)])).toBeUndefined();
  await command.close();
  const gateway = await openDatabase(config, () => {});
  const joined = await joining;
  expect(await joined.db.execute("select 1 as n")).toEqual([{ n: 1 }]);
  await joined.close();
  await gateway.close();
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
