import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Database } from "../../../src/db/client.ts";
import {
  type EmbeddedDatabase,
  openEmbedded,
  pgdataOf,
  socketPathOf,
} from "../../../src/db/embedded/embedded.ts";
import { DataDirInUseError } from "../../../src/db/embedded/folder-lock.ts";
import { unpackNewDatabase } from "../../../src/db/embedded/new-database.ts";
import { query } from "../../../src/db/embedded/wire.ts";
import { migrate } from "../../../src/db/migrating/migrate.ts";
import { connect as openPool } from "../../../src/db/pool/pool.ts";
import { FUTURE_INDEX, futureMigrations } from "../../support/future-migration.ts";
import { roomForData } from "../../support/postgres-server.ts";
import {
  bind,
  execute,
  flush,
  parse,
  RawClient,
  sqlstate,
  startup,
  sync,
  types,
  values,
} from "../raw-client.ts";

const IDLE_TRANSACTION_MS = 600;
/** Long enough for what was sent to have arrived. */
const ARRIVAL_MS = 40;

const DEPTH = 50_000;
/** A statement that ends the engine instead of failing. */
const CRASH = query(`select '${"[".repeat(DEPTH)}${"]".repeat(DEPTH)}'::jsonb`);

const folder = mkdtempSync(join(await roomForData(), "embedded-"));
const unused = join(folder, "unused");
let dataDir: string;
const warnings: string[] = [];
const options = { idleTransactionMs: IDLE_TRANSACTION_MS, onWarning: (text: string) => warnings.push(text) };
let database: EmbeddedDatabase;
let sql: postgres.Sql;

function clientOf(path: string, max: number): postgres.Sql {
  return postgres({ path, database: "postgres", username: "postgres", max, onnotice: () => {} });
}

/** A folder with a database for tests that open and close it themselves. */
const copyOf = (name: string) => {
  const copy = join(folder, name);
  cpSync(unused, copy, { recursive: true });
  return copy;
};

beforeAll(async () => {
  mkdirSync(pgdataOf(unused), { recursive: true, mode: 0o700 });
  await unpackNewDatabase(pgdataOf(unused));
  dataDir = copyOf("shared");
  database = await openEmbedded(dataDir, options);
  sql = clientOf(database.socketPath, 20);
  await sql`create table note (id int generated always as identity, body text)`;
}, 60_000);

afterEach(async () => {
  await sql`truncate note`;
  warnings.length = 0;
});

afterAll(async () => {
  await sql.end({ timeout: 1 });
  await database.close();
  rmSync(folder, { recursive: true, force: true });
});

test("migrations run while others use the engine, with the indexes that are built concurrently elsewhere", async () => {
  const future = futureMigrations({ concurrentIndexes: [FUTURE_INDEX] });
  const address = { socketPath: database.socketPath };
  const pools = [1, 2].map(() => openPool({ address, poolSize: 1, prepare: true }));
  await Promise.all([
    ...pools.map((embedded) => migrate({ embedded }, future)),
    sql`insert into note (body) values ('x')`,
  ]);
  const [row] = await sql`select indisvalid from pg_index where indexrelid = ${FUTURE_INDEX.name}::regclass`;
  expect(row?.indisvalid).toBe(true);
  await sql`update pg_index set indisvalid = false where indexrelid = ${FUTURE_INDEX.name}::regclass`;
  await migrate({ embedded: pools[0] as Database }, future);
  const [again] =
    await sql`select indisvalid from pg_index where indexrelid = ${FUTURE_INDEX.name}::regclass`;
  expect(again?.indisvalid).toBe(true);
  await Promise.all(pools.map((pool) => pool.close()));
});

const notes = async () => (await sql`select body from note order by id`).map(({ body }) => body);

describe("many connections at once", () => {
  test("every answer belongs to its question", async () => {
    const ask = async (n: number): Promise<void> => {
      const [row] = await sql.unsafe(`select ${n} as n, $1::text as word`, [`w${n}`]);
      expect(row).toEqual({ n, word: `w${n}` });
      const [prepared] = await sql`select ${n}::int * 2 as twice`;
      expect(prepared).toEqual({ twice: n * 2 });
      const [simple] = await sql.unsafe(`select ${n} + 1 as next`).simple();
      expect(simple).toEqual({ next: n + 1 });
      await expect(sql.unsafe(`select 1 / (${n} - ${n})`)).rejects.toMatchObject({ code: "22012" });
      const sum = await sql.begin(async (tx) => {
        await tx`insert into note (body) values (${`n${n}`})`;
        const [own] = await tx`select count(*)::int as own from note where body = ${`n${n}`}`;
        return own?.own;
      });
      expect(sum).toBe(1);
    };
    await Promise.all(Array.from({ length: 120 }, (_, n) => ask(n)));
    expect(await notes()).toHaveLength(120);
  });

  test("a failed transaction leaves nothing and the others untouched", async () => {
    const failing = Array.from({ length: 20 }, (_, n) =>
      sql.begin(async (tx) => {
        await tx`insert into note (body) values (${`bad ${n}`})`;
        await tx`select ${"x"}::text::int`;
      }),
    );
    const passing = Array.from(
      { length: 20 },
      (_, n) => sql`insert into note (body) values (${`good ${n}`})`,
    );
    for (const outcome of await Promise.allSettled(failing)) expect(outcome.status).toBe("rejected");
    await Promise.all(passing);
    expect((await notes()).filter((body) => body.startsWith("bad"))).toEqual([]);
    expect(await notes()).toHaveLength(20);
  });

  test("parameters of 200 kB and of several megabytes arrive whole", async () => {
    const sizes = [...Array.from({ length: 20 }, (_, n) => 200_000 + n), 6_000_000];
    const lengths = sizes.map(async (size) => {
      const [row] =
        await sql`select length(${"x".repeat(size)}::text) as length, ${"y".repeat(size)}::text as back`;
      expect(row?.back).toHaveLength(size);
      return row?.length;
    });
    expect(await Promise.all(lengths)).toEqual(sizes);
  });

  test("a client that does not read its answers keeps nobody waiting", async () => {
    const lazy = await RawClient.open(database.socketPath);
    lazy.socket.pause();
    lazy.send(...Array.from({ length: 20 }, () => query("select repeat('x', 1000000)")));
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
    lazy.socket.resume();
    for (let n = 0; n < 20; n += 1) expect(types(await lazy.untilReady())).toBe("T D C Z");
    lazy.socket.destroy();
  });
});

describe("the wire protocol", () => {
  test("encryption is declined, and the startup tells the server's settings", async () => {
    const client = new RawClient(database.socketPath);
    const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    client.socket.write(sslRequest);
    const [answer] = (await once(client.socket, "data")) as [Buffer];
    expect(answer.toString()).toBe("N");
    const fresh = new RawClient(database.socketPath);
    fresh.socket.write(startup());
    const replies = await fresh.untilReady();
    expect(types(replies)).toMatch(/^R( S)+ K Z$/);
    const settings = replies
      .filter(({ type }) => type === "S")
      .map(({ text }) => text.split("\0").slice(0, 2));
    expect(settings).toContainEqual(["TimeZone", "UTC"]);
    expect(settings).toContainEqual(["client_encoding", "UTF8"]);
    expect(settings).toContainEqual(["server_version", expect.stringMatching(/^18/)]);
    for (const { socket } of [client, fresh]) socket.destroy();
  });

  test("a cancel request is closed without an answer", async () => {
    const client = new RawClient(database.socketPath);
    client.socket.write(Buffer.from([0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 0]));
    await client.closed;
    expect(await client.untilReady()).toEqual([]);
  });

  test("messages may arrive in any pieces", async () => {
    const client = new RawClient(database.socketPath);
    client.socket.setNoDelay();
    const bytes = Buffer.concat([
      startup(),
      query("select 'first'"),
      parse("", "select $1"),
      bind("", "second"),
    ]);
    for (const byte of Buffer.concat([bytes, execute(), sync()])) {
      client.socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    await client.untilReady();
    expect(values(await client.untilReady())).toEqual(["first"]);
    expect(values(await client.untilReady())).toEqual(["second"]);
    client.socket.destroy();
  });

  test("batches sent ahead are answered in order", async () => {
    const client = await RawClient.open(database.socketPath);
    const numbers = Array.from({ length: 50 }, (_, n) => `${n}`);
    client.send(...numbers.flatMap((n) => [parse("", "select $1"), bind("", n), execute(), sync()]));
    for (const n of numbers) expect(values(await client.untilReady())).toEqual([n]);
    client.socket.destroy();
  });

  test("after an error the rest of a batch is skipped until its Sync", async () => {
    const client = await RawClient.open(database.socketPath);
    const insert = [parse("", "insert into note (body) values ('half')"), bind(""), execute()];
    const replies = await client.ask(...insert, parse("", "selec"), ...insert, sync());
    expect(types(replies)).toBe("1 2 C E Z");
    expect(sqlstate(replies)).toBe("42601");
    expect(await notes()).toEqual([]);
    client.socket.destroy();
  });

  test.each([
    ["an unknown type", Buffer.from("y\0\0\0\u0004")],
    ["a negative length", Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff])],
    ["a length beyond the limit", Buffer.from([0x51, 0x10, 0, 0, 0])],
    ["a name without its end", Buffer.from("P\0\0\0\u0006ab")],
  ])("a message with %s ends its own connection and no other", async (_, bytes) => {
    const client = await RawClient.open(database.socketPath);
    expect(sqlstate(await client.ask(bytes))).toBe("08P01");
    await client.closed;
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  });

  test("COPY to the client works, COPY from the client is refused and the connection goes on", async () => {
    const client = await RawClient.open(database.socketPath);
    await client.ask(query("insert into note (body) values ('kept')"));
    expect(types(await client.ask(query("copy note to stdout")))).toBe("H d c C Z");
    const refusal = await client.ask(query("copy note from stdin"));
    expect(types(refusal)).toBe("G E Z");
    const extended = await client.ask(parse("", "copy note from stdin"), bind(""), execute(), sync());
    expect(types(extended)).toBe("1 2 G E Z");
    client.send(Buffer.from("d\0\0\0\u0005x"), Buffer.from("c\0\0\0\u0004"));
    expect(values(await client.ask(query("select body from note")))).toEqual(["kept"]);
    client.socket.destroy();
  });
});

describe("what belongs to a connection", () => {
  test("an unnamed statement that is parsed early is still its own when another client parsed meanwhile", async () => {
    const [first, second] = [
      await RawClient.open(database.socketPath),
      await RawClient.open(database.socketPath),
    ];
    await first.ask(parse("", "select 'first' || $1"), sync());
    await second.ask(parse("", "select 'second' || $1"), sync());
    expect(values(await first.ask(bind("", "!"), execute(), sync()))).toEqual(["first!"]);
    expect(values(await second.ask(bind("", "!"), execute(), sync()))).toEqual(["second!"]);
    for (const { socket } of [first, second]) socket.destroy();
  });

  test("prepared statements of one name are two statements in two connections", async () => {
    const [first, second] = [
      await RawClient.open(database.socketPath),
      await RawClient.open(database.socketPath),
    ];
    const long = "name".repeat(20);
    for (const name of ["same", `${long}1`, `${long}2`]) {
      expect(types(await first.ask(parse(name, `select 'first ${name}'`), sync()))).toBe("1 Z");
      expect(types(await second.ask(parse(name, `select 'second ${name}'`), sync()))).toBe("1 Z");
    }
    for (const name of ["same", `${long}1`, `${long}2`]) {
      expect(values(await first.ask(bind(name), execute(), sync()))).toEqual([`first ${name}`]);
      expect(values(await second.ask(bind(name), execute(), sync()))).toEqual([`second ${name}`]);
    }
    expect(sqlstate(await first.ask(parse("same", "select 1"), sync()))).toBe("42P05");
    for (const { socket } of [first, second]) socket.destroy();
  });

  test("statements end with their connection, and unnamed ones do not pile up before", async () => {
    const count = async () => {
      const text = "select count(*) from pg_prepared_statements where statement like '%marked%'";
      return (await sql.unsafe(text).simple())[0]?.count;
    };
    const client = await RawClient.open(database.socketPath);
    await client.ask(parse("named", "select 'marked'"), sync());
    for (let n = 0; n < 10; n += 1) await client.ask(parse("", "select 'marked'"), sync());
    expect(await count()).toBe("2");
    client.socket.destroy();
    await client.closed;
    await expect.poll(count).toBe("0");
  });

  test("a setting does not reach other connections", async () => {
    const [first, second] = [
      await RawClient.open(database.socketPath),
      await RawClient.open(database.socketPath),
    ];
    await first.ask(query("set timezone = 'Asia/Tokyo'; set role pg_monitor; set search_path = nowhere"));
    expect(values(await second.ask(query("show timezone")))).toEqual(["UTC"]);
    expect(values(await second.ask(query("select current_user")))).toEqual(["postgres"]);
    expect(values(await second.ask(query("show search_path")))).toEqual(["public"]);
    for (const { socket } of [first, second]) socket.destroy();
  });
});

describe("a client that goes away", () => {
  test("in a transaction is rolled back, and the next one begins outside any", async () => {
    const client = await RawClient.open(database.socketPath);
    await client.ask(
      query("begin; insert into note (body) values ('lost'); set local timezone = 'Asia/Tokyo'"),
    );
    const next = sql`select now() is not null as ok, current_setting('timezone') as zone`;
    client.socket.destroy();
    expect(await next).toEqual([{ ok: true, zone: "UTC" }]);
    expect(await notes()).toEqual([]);
  });

  test("in a failed transaction is rolled back", async () => {
    const client = await RawClient.open(database.socketPath);
    expect((await client.ask(query("begin; select 1 / 0"))).at(-1)?.text).toBe("E");
    client.socket.destroy();
    expect(await notes()).toEqual([]);
  });

  test("in the middle of a batch has done nothing", async () => {
    const insert = [parse("", "insert into note (body) values ('lost')"), bind(""), execute()];
    const client = await RawClient.open(database.socketPath);
    client.send(...insert, ...insert, flush());
    await client.until("C");
    client.socket.destroy();
    const other = await RawClient.open(database.socketPath);
    other.send(...insert, parse("", "selec"), flush());
    await other.until("E");
    other.socket.destroy();
    const third = await RawClient.open(database.socketPath);
    await third.ask(query("begin"), sync());
    third.send(...insert, parse("", "selec"), flush());
    await third.until("E");
    third.socket.destroy();
    expect(await notes()).toEqual([]);
    expect(warnings).toEqual([]);
  });

  test("while it waits for its turn never gets it", async () => {
    const holder = await RawClient.open(database.socketPath);
    await holder.ask(query("begin"));
    const waiting = await RawClient.open(database.socketPath);
    waiting.send(query("insert into note (body) values ('too late')"));
    await wait(ARRIVAL_MS);
    waiting.socket.destroy();
    await wait(ARRIVAL_MS);
    await holder.ask(query("insert into note (body) values ('in time'); commit"));
    expect(await notes()).toEqual(["in time"]);
    holder.socket.destroy();
  });

  test("without a word stops nobody for longer than the bound, and is told why", async () => {
    const idle = await RawClient.open(database.socketPath);
    await idle.ask(query("begin; insert into note (body) values ('lost')"));
    const began = performance.now();
    expect(await notes()).toEqual([]);
    expect(performance.now() - began).toBeGreaterThan(IDLE_TRANSACTION_MS / 2);
    const farewell = await idle.untilReady();
    expect(sqlstate(farewell)).toBe("25P03");
    expect(farewell[0]?.text).toContain("FATAL");
    expect(warnings).toEqual([
      expect.stringContaining(`idle in a transaction for ${IDLE_TRANSACTION_MS} ms`),
    ]);
  });

  test("outside a transaction may be idle for as long as it likes", async () => {
    const idle = await RawClient.open(database.socketPath);
    await idle.ask(query("select 1"));
    await wait(IDLE_TRANSACTION_MS * 1.5);
    expect(values(await idle.ask(query("select 'still here'")))).toEqual(["still here"]);
    idle.socket.destroy();
  });
});

/** A statement that keeps the engine busy for longer than any test. */
const ENDLESS = query("select count(*) from generate_series(1, 1000000000000)");

describe("a statement that takes long", () => {
  let ownDir: string;
  beforeAll(() => {
    ownDir = copyOf("busy");
  });

  test("keeps nothing else in the process from going on", async () => {
    const client = await RawClient.open(database.socketPath);
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 10);
    const counted = await client.ask(query("select count(*) from generate_series(1, 700000)"));
    clearInterval(timer);
    expect(values(counted)).toEqual(["700000"]);
    expect(turns).toBeGreaterThan(5);
    client.socket.destroy();
  });

  test("is ended with the engine if it is too long, and what was acknowledged is there", async () => {
    const own = await openEmbedded(ownDir, { ...options, longestCallMs: 500 });
    const [writer, busy] = [await RawClient.open(own.socketPath), await RawClient.open(own.socketPath)];
    await writer.ask(query("create table acknowledged as select 1 as n"));
    await busy.ask(query("begin; insert into acknowledged values (2)"));
    expect(sqlstate(await busy.ask(ENDLESS))).toBe("57P02");
    expect(warnings).toEqual([
      expect.stringContaining("busy with one thing for 500 ms"),
      expect.stringContaining("has crashed and is opened again"),
    ]);
    const client = await RawClient.open(own.socketPath);
    expect(values(await client.ask(query("select n from acknowledged")))).toEqual(["1"]);
    client.socket.destroy();
    await own.close();
  });

  test("doesn't keep the database from closing, and nothing that was acknowledged is lost", async () => {
    const own = await openEmbedded(ownDir, { ...options, closeGraceMs: 200 });
    const [writer, busy] = [await RawClient.open(own.socketPath), await RawClient.open(own.socketPath)];
    await writer.ask(query("insert into acknowledged values (3)"));
    busy.socket.write(ENDLESS);
    await wait(ARRIVAL_MS);
    await own.close();
    const again = await openEmbedded(ownDir, options);
    const client = await RawClient.open(again.socketPath);
    expect(values(await client.ask(query("select n from acknowledged order by n")))).toEqual(["1", "3"]);
    client.socket.destroy();
    await again.close();
  });
});

describe("the data folder", () => {
  test("is for its user alone", () => {
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    expect(mode(dataDir)).toBe("700");
    expect(mode(join(dataDir, "pgdata"))).toBe("700");
    expect(mode(database.socketPath)).toBe("600");
    expect(mode(join(dataDir, "lock"))).toBe("600");
  });

  test("is refused while it is in use, with its name and the process that has it", async () => {
    const refusal = await openEmbedded(dataDir, {}).catch((error) => error);
    expect(refusal).toBeInstanceOf(DataDirInUseError);
    expect(refusal.message).toContain(dataDir);
    expect(refusal.message).toContain(`the process ${process.pid}`);
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  });

  test("is refused if the path of its socket is too long", async () => {
    const long = join(folder, "x".repeat(100));
    const length = socketPathOf(long).length;
    await expect(openEmbedded(long, {})).rejects.toThrow(`is ${length} bytes long and may have 10`);
    expect(existsSync(long)).toBe(false);
  });
});

describe("from opening to closing", () => {
  let ownDir: string;
  /** Each test leaves it open for the next one, because opening takes a second. */
  let own: EmbeddedDatabase;
  beforeAll(async () => {
    ownDir = copyOf("own");
    own = await openEmbedded(ownDir, options);
  });
  afterAll(() => own.close());

  test("the remains of a killed process are in nobody's way, and data outlives its process", async () => {
    const client = clientOf(own.socketPath, 1);
    await client`create table kept as select 7 as n`;
    await client.end({ timeout: 1 });
    await own.close();
    expect(existsSync(own.socketPath)).toBe(false);

    await leaveSocketFile(own.socketPath);
    writeFileSync(join(ownDir, "lock"), "12345678\n");
    own = await openEmbedded(ownDir, options);
    const again = clientOf(own.socketPath, 1);
    expect(await again`select n from kept`).toEqual([{ n: 7 }]);
    expect(readFileSync(join(ownDir, "lock"), "utf8")).toBe(`${process.pid}\n`);
    await again.end({ timeout: 1 });
  });

  test("closing waits for the transaction in progress, ends idle connections and may be repeated", async () => {
    const [idle, busy] = [await RawClient.open(own.socketPath), await RawClient.open(own.socketPath)];
    await busy.ask(query("begin; create table late (n int)"));
    const closed = Promise.all([own.close(), own.close()]);
    expect(sqlstate(await idle.untilReady())).toBe("57P01");
    expect((await busy.ask(query("insert into late values (1)"))).at(-1)?.text).toBe("T");
    expect((await busy.ask(query("commit"))).at(-1)?.text).toBe("I");
    expect(sqlstate(await busy.untilReady())).toBe("57P01");
    await closed;
    await own.close();

    own = await openEmbedded(ownDir, options);
    const client = await RawClient.open(own.socketPath);
    expect(values(await client.ask(query("select n from late")))).toEqual(["1"]);
    client.socket.destroy();
  });

  test("a crash of the engine ends the connections with an error, and the database is there again", async () => {
    const [bystander, culprit] = [await RawClient.open(own.socketPath), await RawClient.open(own.socketPath)];
    await bystander.ask(query("create table survivor as select 1 as n"));
    const crash = await culprit.ask(CRASH);
    expect(types(crash)).toBe("E Z");
    expect(sqlstate(crash)).toBe("57P02");
    await culprit.closed;
    expect(sqlstate(await bystander.untilReady())).toBe("57P02");
    expect(warnings).toEqual([expect.stringContaining("has crashed and is opened again")]);
    const client = await RawClient.open(own.socketPath);
    expect(values(await client.ask(query("select n from survivor")))).toEqual(["1"]);
    client.socket.destroy();
  });

  test("closing while the engine is opened again waits for it, and leaves its files alone afterwards", async () => {
    const client = await RawClient.open(own.socketPath);
    await client.ask(query("create table before_crash as select 1 as n"));
    const crashed = client.ask(CRASH);
    await expect.poll(() => warnings.length, { interval: 1 }).toBe(1);
    await own.close();
    const files = () =>
      readdirSync(pgdataOf(ownDir), { recursive: true })
        .map((name) => `${name} ${statSync(join(pgdataOf(ownDir), String(name))).mtimeMs}`)
        .join();
    const closed = files();
    await wait(1500);
    expect(files()).toBe(closed);
    await crashed;
    own = await openEmbedded(ownDir, options);
    const next = await RawClient.open(own.socketPath);
    expect(values(await next.ask(query("select n from before_crash")))).toEqual(["1"]);
    next.socket.destroy();
  });

  test("an engine that can't be opened again after a crash is tried again until it can", async () => {
    const ask = async (text: string) => {
      const client = await RawClient.open(own.socketPath);
      const answer = await client.ask(query(text));
      client.socket.destroy();
      return sqlstate(answer) ?? values(answer);
    };
    await ask("create table crashed as select 1 as n");
    const [pgdata, aside] = [join(ownDir, "pgdata"), join(ownDir, "aside")];
    renameSync(pgdata, aside);
    writeFileSync(pgdata, "");
    await (await RawClient.open(own.socketPath)).ask(CRASH);
    const countWarnings = async () => {
      expect(await ask("select n from crashed")).toBe("57P03");
      return warnings.length;
    };
    // It is opened at most once a second, and was perhaps opened just now.
    await expect.poll(countWarnings).toBe(2);
    for (let n = 0; n < 3; n++) expect(await countWarnings()).toBe(2);
    rmSync(pgdata);
    renameSync(aside, pgdata);
    await expect.poll(() => ask("select n from crashed"), { timeout: 30_000, interval: 200 }).toEqual(["1"]);
  }, 60_000);
});

/** Leaves a socket file without a listener, as a killed process does. */
async function leaveSocketFile(path: string): Promise<void> {
  const moved = `${path}.moved`;
  const server = createServer().listen(moved);
  await once(server, "listening");
  renameSync(moved, path);
  server.close();
  const attempt = connect(path);
  await expect(once(attempt, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
}
