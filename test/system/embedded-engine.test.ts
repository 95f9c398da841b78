import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { afterEach, expect, inject, test } from "vitest";
import { socketPathOf } from "../../src/db/embedded/embedded.ts";

const ASKING_MS = 8_000;

const children: ChildProcess[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) await end(child, "SIGKILL");
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

test("twenty clients of two processes get their own answers, also when others are killed in transactions", async () => {
  const dataDir = await unusedDataDir();
  const path = socketPathOf(dataDir);
  expect(await firstLine(start("serve-embedded", dataDir))).toBe("ready");
  const sql = clientOf(path);
  await sql`create table asked (mark text)`;

  const asking = ["one", "two"].map((name) => firstLine(start("ask-embedded", path, `${ASKING_MS}`, name)));
  const deadline = Date.now() + ASKING_MS - 3000;
  while (Date.now() < deadline) {
    const holder = start("hold-transaction", path);
    expect(await firstLine(holder)).toBe("holding");
    await end(holder, "SIGKILL");
    await wait(1000);
  }
  for (const line of await Promise.all(asking)) {
    const { asked, wrong } = JSON.parse(line);
    expect(wrong).toEqual([]);
    expect(asked).toBeGreaterThan(300);
  }

  const [left] = await sql`
    select count(*) filter (where mark = 'never committed' or mark like '% rolled back %')::int as lost,
           count(*)::int as kept, count(distinct mark)::int as different from asked`;
  expect(left?.lost).toBe(0);
  expect(left?.kept).toBeGreaterThan(100);
  expect(left?.different).toBe(left?.kept);
  await sql.end({ timeout: 1 });
});

test("of two processes that start at once on one folder exactly one gets it", async () => {
  const dataDir = newFolder();
  for (let round = 0; round < 5; round += 1) {
    const two = [start("serve-embedded", dataDir), start("serve-embedded", dataDir)];
    const lines = await Promise.all(two.map(firstLine));
    expect(lines.toSorted()).toEqual([
      "ready",
      expect.stringContaining(`refused The data folder ${dataDir}`),
    ]);
    const sql = clientOf(socketPathOf(dataDir));
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
    await sql.end({ timeout: 1 });
    for (const child of two) await end(child, round % 2 === 0 ? "SIGTERM" : "SIGKILL");
  }
});

test("every row that was acknowledged is there after the serving process was killed", async () => {
  const dataDir = await unusedDataDir();
  const path = socketPathOf(dataDir);
  const acknowledged = new Set<number>();
  let next = 0;

  for (const lifetime of [1500, 400, 900]) {
    const server = start("serve-embedded", dataDir);
    expect(await firstLine(server)).toBe("ready");
    const sql = clientOf(path);
    await sql`create table if not exists kept (id int primary key, body text)`;
    expect(await missing(sql, acknowledged)).toEqual([]);

    let serving = true;
    const write = async () => {
      while (serving) {
        const id = next++;
        const body = "x".repeat(id % 3000);
        const written = await sql`insert into kept values (${id}, ${body})`.then(
          () => serving,
          () => false,
        );
        if (written) acknowledged.add(id);
        else return;
      }
    };
    const writers = Promise.all(Array.from({ length: 8 }, write));
    await wait(lifetime);
    await end(server, "SIGKILL");
    serving = false;
    await sql.end({ timeout: 1 });
    await writers;
  }

  expect(await firstLine(start("serve-embedded", dataDir))).toBe("ready");
  const sql = clientOf(path);
  expect(acknowledged.size).toBeGreaterThan(300);
  expect(await missing(sql, acknowledged)).toEqual([]);
  await sql.end({ timeout: 1 });
});

async function missing(sql: postgres.Sql, acknowledged: Set<number>): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`select id from kept where length(body) = id % 3000`;
  const found = new Set(rows.map(({ id }) => id));
  return [...acknowledged].filter((id) => !found.has(id));
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "engine-"));
  folders.push(folder);
  return folder;
}

async function unusedDataDir(): Promise<string> {
  const folder = newFolder();
  await cp(inject("unusedDataDir"), folder, { recursive: true });
  return folder;
}

function clientOf(path: string): postgres.Sql {
  return postgres({ path, database: "postgres", username: "postgres", max: 8, onnotice: () => {} });
}

function start(script: string, ...parameters: string[]): ChildProcess {
  const file = fileURLToPath(new URL(`support/${script}.mjs`, import.meta.url));
  const child = spawn(process.execPath, [file, ...parameters], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return child;
}

/** The first output of a process; fails if it ends without any. */
async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error("the process has no output");
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error(`the process ended without a word: ${child.exitCode ?? child.signalCode}`);
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}
