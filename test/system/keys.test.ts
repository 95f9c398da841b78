import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type postgres from "postgres";
import { afterEach, describe, expect, test } from "vitest";
import { newKey } from "../support/keys.ts";
import { type Client, createClient, kycFields } from "./support/client.ts";
import {
  CLI,
  ENGINES,
  type Env,
  freshEnv,
  fullToken,
  type Gateway,
  runCli,
  start,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";
import { openSql } from "./support/sql.ts";

afterEach(tidyUp);

const RECORDS = 1500;
const INTERRUPTIONS = 3;
/** For a machine that does much else. Milliseconds. */
const PATIENCE = 300_000;
const WRITERS = 3;

const idOf = (n: number) => String(n).padStart(16, "0");

/** Records as a release without encryption left them. */
const insertPlain = (sql: postgres.Sql, first: number, last: number) => sql`
  insert into kycs (account_id, id, customer_id, verification_status, document_type, document_number,
    created_at, updated_at, version)
  select 'demo', lpad(g::text, 16, '0'), 'c', 'pending', 'visa', 'P-' || g, '2025-01-01', '2025-01-02', 1
  from generate_series(${first}::int, ${last}::int) g`;

/** Makes the database one that an earlier release has left, for the next start and for commands. */
async function makeEarlier(sql: postgres.Sql): Promise<void> {
  await sql`delete from milestones where starts_with(name, 'numbers_')`;
  await sql`alter table kycs drop constraint if exists kycs_number_is_bound`;
}

const plainLeft = async (sql: postgres.Sql) =>
  Number((await sql`select count(*) as left from kycs where document_number is not null`)[0]?.left);
const sealedUnder = async (sql: postgres.Sql, keyId: string) =>
  Number(
    (await sql`select count(*) as sealed from kycs where starts_with(sealed_number, ${`${keyId}.`})`)[0]
      ?.sealed,
  );

/** Changes numbers until it is stopped, and tells what each of the changed records has to have. */
function keepWriting(client: Client): { stop(): Promise<Map<string, { number: string; version: number }>> } {
  const expected = new Map<string, { number: string; version: number }>();
  let stopped = false;
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let n = 0; !stopped; n += 1) {
      // Each writer has its own records, all over the table.
      const id = idOf(1 + writer + WRITERS * ((n * 37) % Math.floor(RECORDS / WRITERS)));
      const number = `W${writer}-${n}`;
      const changed = await client.form("PUT", `/v1/kyc/${id}`, { document_number: number });
      expect(changed.status, changed.text).toBe(200);
      const version = (expected.get(id)?.version ?? 1) + 1;
      expect(changed.headers.get("etag")).toBe(`"${version}"`);
      expected.set(id, { number, version });
    }
  });
  return {
    stop: async () => {
      stopped = true;
      await Promise.all(writers);
      return expected;
    },
  };
}

async function readAll(client: Client): Promise<Map<string, string>> {
  const numbers = new Map<string, string>();
  for (let after = "", more = true; more; ) {
    const page = await client.send("GET", `/v1/kyc?limit=100${after && `&starting_after=${after}`}`);
    for (const row of page.json.data) numbers.set(row.id, row.document_number);
    more = page.json.has_more;
    after = page.json.data.at(-1)?.id;
  }
  return numbers;
}

describe.each(ENGINES)("on %s", (engine) => {
  test(
    "a rotation that is killed again and again, while a gateway serves writes, loses and mixes up nothing",
    async () => {
      const env: Env = { ...(await freshEnv(engine)), ENCRYPTION_KEYS: newKey("old") };
      let gateway: Gateway = await startGateway(env);
      const token = await fullToken(env);
      let sql = openSql(env);
      await makeEarlier(sql);
      // The last ones come later.
      const PLAIN = RECORDS - 10;
      await insertPlain(sql, 1, PLAIN);
      expect((await runCli(["keys", "rotate"], env)).stderr).toContain(`${PLAIN} sealed again under old`);
      expect(await plainLeft(sql)).toBe(0);
      await makeEarlier(sql);
      await insertPlain(sql, PLAIN + 1, RECORDS);
      await sql.end({ timeout: 2 });
      await gateway.stop();

      const [oldKey, newestKey] = [env.ENCRYPTION_KEYS, newKey("new")];
      const both = { ...env, ENCRYPTION_KEYS: `${newestKey},${oldKey}` };
      gateway = await startGateway(both);
      sql = openSql(both);
      // Plain numbers are sealed only at the start.
      await expect.poll(() => plainLeft(sql), { timeout: 30_000 }).toBe(0);
      expect(await sealedUnder(sql, "new")).toBe(10);
      const writing = keepWriting(createClient(gateway.url, token));
      let interrupted = 0;
      for (let turn = 1; turn <= INTERRUPTIONS; turn += 1) {
        const enough = (RECORDS / (INTERRUPTIONS + 1)) * (turn - Math.random());
        const rotation = startCommand(["keys", "rotate"], both);
        let ended = false;
        rotation.exited.then(() => {
          ended = true;
        });
        while (!ended && (await sealedUnder(sql, "new")) < enough) await wait(5);
        await rotation.stop("SIGKILL");
        if ((await sealedUnder(sql, "new")) < RECORDS) interrupted += 1;
      }
      expect(interrupted).toBeGreaterThan(0);

      // Two at once are as good as one.
      const rotations = await Promise.all([1, 2].map(() => runCli(["keys", "rotate"], both)));
      for (const { code, stdout, stderr } of rotations) {
        expect({ code, stdout, stderr }).toEqual({
          code: 0,
          stdout: "",
          stderr: expect.stringContaining("Nothing needs old any more"),
        });
      }
      const written = await writing.stop();
      const rows = JSON.parse((await runCli(["keys", "list", "--json"], both)).stdout);
      expect(rows).toMatchObject([
        { id: "new", newest: true, seals: { "document numbers": RECORDS } },
        { id: "old", newest: false, seals: { "document numbers": 0 } },
      ]);
      const versions = await sql`select id, version from kycs`;
      expect(versions.filter(({ id, version }) => version !== (written.get(id)?.version ?? 1))).toEqual([]);
      await sql.end({ timeout: 2 });
      await gateway.stop();

      // The old key is not needed any more.
      gateway = await startGateway({ ...env, ENCRYPTION_KEYS: newestKey });
      const client = createClient(gateway.url, token);
      const numbers = await readAll(client);
      expect(numbers.size).toBe(RECORDS);
      const wrong = [...numbers].filter(
        ([id, number]) => number !== (written.get(id)?.number ?? `P-${Number(id)}`),
      );
      expect(wrong).toEqual([]);
      expect(written.size).toBeGreaterThan(10);
      const [id, { number }] = [...written].at(-1) as [string, { number: string }];
      expect((await client.send("GET", `/v1/kyc?document_number=${number}`)).json.data).toMatchObject([
        { id },
      ]);
      await gateway.stop();

      const only = { ...env, ENCRYPTION_KEYS: newestKey };
      expect((await runCli(["keys", "rotate"], only)).stderr).toContain("old is forgotten");
      const refused = await runCli(["serve"], env);
      expect(refused).toMatchObject({ code: 2, stdout: "" });
      expect(refused.stderr).toMatch(/^configuration: ENCRYPTION_KEYS: the key "new" is missing.*\n$/);
    },
    PATIENCE,
  );
});

const startCommand = (args: string[], env: Env) => start(process.execPath, [CLI, ...args], { env });

describe("the key file of the embedded database", () => {
  const create = async (env: Env, gateway: Gateway) => {
    const client = createClient(gateway.url, await fullToken(env));
    return (await client.form("POST", "/v1/kyc", kycFields("c", "FILE-1"))).json.id as string;
  };

  test("gets a new key with `keys rotate --new`, which a gateway that serves meanwhile takes over", async () => {
    const env = await freshEnv("the embedded database");
    let gateway = await startGateway(env);
    const id = await create(env, gateway);
    const client = createClient(gateway.url, await fullToken(env));
    let rotating = true;
    const serving = (async () => {
      for (let n = 0; rotating; n++) {
        const made = await client.form("POST", "/v1/kyc", kycFields("c", `FILE-N${n}`));
        expect(made.json.document_number).toBe(`FILE-N${n}`);
        expect((await client.send("GET", `/v1/kyc/${id}`)).json.document_number).toBe("FILE-1");
      }
    })();
    const rotated = await runCli(["keys", "rotate", "--new"], env);
    rotating = false;
    await serving;
    expect(rotated, rotated.stderr).toMatchObject({ code: 0 });
    expect(rotated.stderr).toMatch(/[1-9]\d* sealed again/);
    const { mode } = await stat(join(String(env.DATA_DIR), "encryption-keys"));
    expect((mode & 0o777).toString(8)).toBe("600");
    const rows = JSON.parse((await runCli(["keys", "list", "--json"], env)).stdout);
    expect(rows.map((row: { newest: boolean }) => row.newest)).toEqual([true, false]);
    expect(rows[0].seals["document numbers"]).toBeGreaterThan(1);
    expect(rows[1].seals["document numbers"]).toBe(0);
    await gateway.stop();

    gateway = await startGateway(env);
    const again = createClient(gateway.url, await fullToken(env));
    expect((await again.send("GET", `/v1/kyc/${id}`)).json.document_number).toBe("FILE-1");
  });

  test("gets no other key if the newest has sealed nothing yet, as after a rotation that was killed early", async () => {
    const env = await freshEnv("the embedded database");
    const gateway = await startGateway(env);
    await create(env, gateway);
    await gateway.stop();
    const file = join(String(env.DATA_DIR), "encryption-keys");
    const idsOf = async () => (await readFile(file, "utf8")).split("\n").map((line) => line.split(":")[0]);
    const [old] = await idsOf();
    await writeFile(file, `${newKey("young")}\n${await readFile(file, "utf8")}`);
    const repeated = await runCli(["keys", "rotate", "--new"], env);
    expect(repeated, repeated.stderr).toMatchObject({ code: 0 });
    expect(repeated.stderr).toContain("young has sealed nothing yet");
    expect(repeated.stderr).toMatch(/[1-9] sealed again under young/);
    expect(await idsOf()).toEqual(["young", old, ""]);
  });

  test("is not created again if it was lost", async () => {
    const env = await freshEnv("the embedded database");
    const gateway = await startGateway(env);
    await create(env, gateway);
    await gateway.stop();
    await rm(join(String(env.DATA_DIR), "encryption-keys"));
    for (const args of [["serve"], ["keys", "list"], ["keys", "rotate"]]) {
      const { code, stderr } = await runCli(args, env);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: expect.stringMatching(/^configuration: .* is missing.*\n$/),
      });
    }
  });
});

test("a database on another host is refused without keys, before anything is asked of it", async () => {
  const { code, stdout, stderr } = await runCli(["serve"], {
    DATABASE_URL: "postgres://nowhere.invalid/kyc",
  });
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain("openssl rand -base64 32");
});

test("replicas that share a database with a key that one of them lacks say so, and serve the rest", async () => {
  const env = await freshEnv("a real database");
  const first = await startGateway({ ...env, LOG_LEVEL: "warn" });
  const token = await fullToken(env);
  const other = await startGateway({ ...env, ENCRYPTION_KEYS: `${newKey("young")},${env.ENCRYPTION_KEYS}` });
  const made = await createClient(other.url, token).form("POST", "/v1/kyc", kycFields("c", "Y-1"));
  const client = createClient(first.url, token);
  const read = await client.send("GET", `/v1/kyc/${made.json.id}`);
  expect([read.status, read.json.error.code]).toEqual([500, "number_unreadable"]);
  expect((await client.graphql("{ kycs { nodes { id } } }")).json.data.kycs.nodes).toHaveLength(1);
  await first.stop();
  expect(first.stdout()).toContain('the encryption key \\"young\\" is needed');
});
