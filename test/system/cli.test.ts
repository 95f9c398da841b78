import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { newKey } from "../support/keys.ts";
import { createClient } from "./support/client.ts";
import {
  createEmptyDatabase,
  type Env,
  emptyEnv,
  freshEnv,
  type Gateway,
  later,
  ROOT,
  runCli,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

const TOKEN_LINE = /^kycgw_[\w-]{43}\n$/;
const CREATE = ["token", "create", "--account=acme", "--name=the shop", "--scopes=kyc:read,kyc:write"];

interface ListedToken {
  id: string;
  account: string;
  name: string;
  scopes: string[];
  state: string;
  created: string;
  expires: string | null;
  revoked: string | null;
}
/** The parts of a database's URL that are not secret. */
const addressOf = ({ DATABASE_URL = "" }: Env) => DATABASE_URL.replace(/^.*@/, "");

async function listTokens(env: Env, ...args: string[]): Promise<ListedToken[]> {
  const { code, stdout, stderr } = await runCli(["token", "list", "--json", ...args], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

describe.each([
  "the embedded database, with no gateway running",
  "the embedded database of a running gateway",
  "a real database",
])("the token commands on %s", (place) => {
  let env: Env;
  let token: string;
  let id: string;
  /** Each command opens the database by itself, which takes long: what has nothing to do with that is left to the others. */
  const isOpened = place.endsWith("no gateway running");

  beforeAll(async () => {
    env = place === "a real database" ? await emptyEnv() : await freshEnv("the embedded database");
    if (place.endsWith("running gateway")) await startGateway(env);
  });
  afterAll(tidyUp);

  test("migrate brings the database up to date, and says so on stderr alone", async () => {
    expect(await runCli(["migrate"], env)).toMatchObject({
      ...{ code: 0, stdout: "", stderr: "The database is up to date.\n" },
    });
    if (env.DATA_DIR !== undefined) expect(((await stat(env.DATA_DIR)).mode & 0o777).toString(8)).toBe("700");
  });

  test("create prints the token alone on stdout, and words on stderr", async () => {
    const made = await runCli([...CREATE, "--expires=90d"], env);
    expect(made.code).toBe(0);
    expect(made.stdout).toMatch(TOKEN_LINE);
    token = made.stdout.trim();
    expect(made.stderr).toMatch(/\w/);
    expect(made.stderr).not.toContain(token);
    expect(made.stderr).toContain(
      env.DATA_DIR === undefined
        ? `The database is at ${addressOf(env)}.`
        : `The database is in ${env.DATA_DIR}.`,
    );
    expect(made.stderr).toContain("numbers will be masked");
  });

  test("list shows it without the secret, as a table and as JSON", async () => {
    const [listed, ...others] = await listTokens(env, "--account=acme");
    expect(others).toEqual([]);
    expect(JSON.stringify(listed)).not.toContain("kycgw_");
    expect(listed).toEqual({
      ...{ id: expect.stringMatching(/^tok_/), account: "acme", name: "the shop" },
      ...{ scopes: ["kyc:read", "kyc:write"], state: "good", revoked: null },
      ...{ created: expect.any(String), expires: expect.any(String) },
    });
    const lifetime = Date.parse(listed?.expires ?? "") - Date.parse(listed?.created ?? "");
    expect(lifetime).toBe(90 * 24 * 60 * 60 * 1000);
    id = listed?.id ?? "";

    if (isOpened) return;
    const table = await runCli(["token", "list"], env);
    expect({ code: table.code, stderr: table.stderr }).toEqual({ code: 0, stderr: "" });
    const row = table.stdout.split("\n").find((line) => line.includes(id));
    for (const part of ["acme", "the shop", "kyc:read kyc:write", "good"]) expect(row).toContain(part);
    expect(table.stdout).not.toContain("kycgw_");
  });

  test("revoke can be repeated, and the token stays in the list", async () => {
    for (let time = 0; time < 2; time++) {
      const revoked = await runCli(["token", "revoke", id], env);
      expect(revoked).toMatchObject({ code: 0, stdout: "" });
      expect(revoked.stderr).toContain(id);
    }
    expect(await listTokens(env, "--account=acme")).toMatchObject([{ id, state: "revoked" }]);
  });

  test.skipIf(isOpened)("revoke of an unknown id fails with exit code 1 and says so", async () => {
    const { code, stdout, stderr } = await runCli(["token", "revoke", "tok_0123456789abcdef"], env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toBe("error: there is no token tok_0123456789abcdef\n");
  });

  test("commands at the same time all succeed", async () => {
    const runs = await Promise.all([1, 2, 3, 4].map((n) => runCli([...CREATE, `--name=at once ${n}`], env)));
    for (const run of runs)
      expect(run, run.stderr).toMatchObject({ code: 0, stdout: expect.stringMatching(TOKEN_LINE) });
    const names = (await listTokens(env)).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["at once 1", "at once 2", "at once 3"]));
  });

  test("demo fills an account, tells how far it is, and adds to records only when asked to", async () => {
    const filled = await runCli(["demo", "--records=8"], env);
    expect(filled).toMatchObject({ code: 0, stdout: "" });
    expect(filled.stderr).toContain("The database is ");
    expect(filled.stderr).toContain(
      "Making 8 records in the account demo …\n  2 of 8\n  4 of 8\n  6 of 8\nThe account demo has 8 more records.\n",
    );
    if (isOpened) return;
    const refused = await runCli(["demo", "--records=8"], env);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^error: the account demo has records already; --again adds to them\n$/m);
    expect(await runCli(["demo", "--records=1", "--again"], env)).toMatchObject({ code: 0, stdout: "" });
  });
});

test("token create says that numbers will be masked only if the token reads records without kyc:pii", async () => {
  const env = await freshEnv("a real database");
  const seeing = await runCli([...CREATE, "--scopes=kyc:read,kyc:pii", "--account=other"], env);
  expect(seeing).toMatchObject({ code: 0, stderr: expect.not.stringContaining("masked") });
  const auditor = await runCli([...CREATE, "--scopes=audit:read", "--account=other"], env);
  expect(auditor).toMatchObject({ code: 0, stderr: expect.not.stringContaining("masked") });
  await tidyUp();
});

describe("before the first gateway", () => {
  const COMMANDS = [
    ["token", "list"],
    ["token", "revoke", "tok_1"],
    ["keys", "list"],
    ["keys", "rotate"],
  ];
  const help = ". Give this command the gateway's DATABASE_URL or DATA_DIR\n";
  afterEach(tidyUp);

  test.each([...COMMANDS, ["keys", "rotate", "--new"]].map((args) => [args]))(
    "%j says so, and makes no database",
    async (args) => {
      const folder = join(await temporaryFolder(), "data");
      const { code, stdout, stderr } = await runCli(args, { DATA_DIR: folder });
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toBe(`error: there is no database of a gateway in ${folder}${help}`);
      await expect(stat(folder)).rejects.toThrow("ENOENT");
    },
  );

  test.each(COMMANDS.map((args) => [args]))("%j makes no tables in somebody's database", async (args) => {
    const env = await emptyEnv();
    const { code, stdout, stderr } = await runCli(args, env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toBe(`error: there is no database of a gateway at ${addressOf(env)}${help}`);
    const check = await runCli(["migrate", "--check"], env);
    expect(check.stdout).toContain("migration 0000");
  });

  test("token create makes one, and says where", async () => {
    const folder = join(await temporaryFolder(), "data");
    const { code, stdout, stderr } = await runCli(CREATE, { DATA_DIR: folder });
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(TOKEN_LINE) });
    expect(stderr).toContain(`There is no database in ${folder} yet: making one.\n`);
  });
});

describe("a token that is revoked", () => {
  afterEach(tidyUp);

  test.each([
    ["an embedded gateway", 1],
    ["both of two replicas", 2],
  ])("is refused within one second by %s", async (_place, replicas) => {
    const env = await freshEnv(replicas === 1 ? "the embedded database" : "a real database");
    const gateways = await Promise.all(Array.from({ length: replicas }, () => startGateway(env)));
    const token = (await runCli(CREATE, env)).stdout.trim();
    const [{ id = "" } = {}] = await listTokens(env, "--account=acme");

    let done = false;
    const lastGood = gateways.map(async ({ url }) => {
      const client = createClient(url, token);
      let last = 0;
      // Asked for all the time: what a gateway remembers of the token is as fresh as it gets.
      for (let n = 0; n < 5000 && !done; n++) {
        const askedAt = performance.now();
        const { status } = await client.send("GET", "/v1/kyc");
        if (status === 200) last = askedAt;
        else expect(status).toBe(401);
        await wait(10);
      }
      return last;
    });
    await wait(300);
    const askedAt = performance.now();
    expect(await runCli(["token", "revoke", id], env)).toMatchObject({ code: 0 });
    const revokedAt = performance.now();
    await wait(1200);
    done = true;
    for (const last of await Promise.all(lastGood)) {
      // It was in use until it was revoked, so that the test has seen the change.
      expect(last).toBeGreaterThan(askedAt - 100);
      expect(last).toBeLessThan(revokedAt + 1000);
    }
    for (const { url } of gateways) {
      const graphql = await createClient(url, token).graphql("{ kycs { totalCount } }");
      expect(graphql.status).toBe(401);
    }
  });
});

describe("the usage", () => {
  const COMMANDS = [
    [],
    ["serve"],
    ["migrate"],
    ["backup"],
    ["restore"],
    ["schema"],
    ["demo"],
    ["token"],
    ["token", "create"],
    ["token", "list"],
    ["token", "revoke"],
    ["keys"],
    ["keys", "list"],
    ["keys", "rotate"],
  ];

  test.each(COMMANDS.map((command) => command.join(" ")))(
    "kyc-gateway %s --help explains it",
    async (words) => {
      const { code, stdout, stderr } = await runCli([...words.split(" ").filter(Boolean), "--help"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toContain(`Usage: ${["kyc-gateway", words].join(" ").trim()}`);
      for (const [first, second] of COMMANDS) {
        const name = words === "" ? first : words === first ? second : undefined;
        if (name !== undefined) expect(stdout).toContain(`  ${name} `);
      }
    },
  );

  test.each<[string, string[], string]>([
    ["an unknown command", ["fly"], "fly"],
    ["no command", [], "Usage"],
    ["a group of commands alone", ["token"], "Usage"],
    ["an unknown command of a group", ["token", "fly"], "fly"],
    ["an unknown option", ["token", "list", "--fly"], "--fly"],
    ["an argument too many", ["migrate", "up"], "argument"],
    ["a missing option", ["token", "create", "--account=a", "--name=n"], "--scopes"],
    ["a missing argument", ["token", "revoke"], "id"],
    ["an unknown scope", [...CREATE, "--scopes=kyc:read,kyc:fly"], "kyc:delete"],
    ["no scope", [...CREATE, "--scopes="], "kyc:delete"],
    ["a malformed account", [...CREATE, "--account=a b"], "account"],
    ["an empty name", [...CREATE, "--name="], "name"],
    ["no record", ["demo", "--records=0"], "integer"],
    ["a time span without a unit", [...CREATE, "--expires=90"], "90d"],
    ["a time span that is over", [...CREATE, "--expires=-1d"], "90d"],
    ["a time span without end", [...CREATE, "--expires=999999999999y"], "90d"],
  ])("%s is refused with exit code 2, and touches no database", async (_what, args, says) => {
    const folder = join(await temporaryFolder(), "data");
    const { code, stdout, stderr } = await runCli(args, { DATA_DIR: folder });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(says);
    expect(stderr).not.toMatch(/^ +at /m);
    await expect(stat(folder)).rejects.toThrow("ENOENT");
    await tidyUp();
  });

  test("--version prints the release, and touches no database", async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
    const folder = join(await temporaryFolder(), "data");
    expect(await runCli(["--version"], { DATA_DIR: folder })).toMatchObject({
      ...{ code: 0, stdout: `${version}\n`, stderr: "" },
    });
    await expect(stat(folder)).rejects.toThrow("ENOENT");
    await tidyUp();
  });

  test("schema prints the schema.graphql of the release, with no database", async () => {
    const folder = join(await temporaryFolder(), "data");
    const { code, stdout, stderr } = await runCli(["schema"], { DATA_DIR: folder });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(await readFile(join(ROOT, "schema.graphql"), "utf8"));
    await expect(stat(folder)).rejects.toThrow("ENOENT");
    await tidyUp();
  });
});

describe("a configuration that makes no sense", () => {
  const SECRET = "hunter2secret";
  const FAULTS: Env = {
    PORT: "65536",
    DATABASE_URL: `mysql://root:${SECRET}@127.0.0.1/kyc`,
    DATABASE_POOL_SIZE: "none",
    DATABASE_PREPARE: "maybe",
    CORS_ORIGINS: "app.example.com",
    GRAPHIQL: "perhaps",
    INTROSPECTION: "2",
    LOG_LEVEL: "loud",
    BODY_LIMIT: "-1",
    ENCRYPTION_KEYS: `${SECRET}:${SECRET}`,
  };

  test.each(
    [
      ...[["serve"], ["migrate"], CREATE, ["token", "list"], ["token", "revoke", "tok_1"]],
      ...[
        ["keys", "list"],
        ["keys", "rotate"],
      ],
    ].map((args) => [args]),
  )("stops %j with one line for each fault, exit code 2, and no secret", async (args) => {
    const { code, stdout, stderr } = await runCli(args, FAULTS);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(Object.keys(FAULTS).length);
    for (const name of Object.keys(FAULTS)) {
      expect(lines.filter((line) => line.startsWith(`configuration: ${name} `))).toHaveLength(1);
    }
    expect(stderr).not.toContain(SECRET);
  });

  test.each([
    `postgres://user:${SECRET}@127.0.0.1:99999/kyc`,
    `postgres//user:${SECRET}@127.0.0.1/kyc`,
    `user:${SECRET}@127.0.0.1`,
  ])("is also %s as DATABASE_URL", async (url) => {
    const { code, stdout, stderr } = await runCli(["serve"], { DATABASE_URL: url });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^configuration: DATABASE_URL .*\n$/);
    expect(stderr).not.toContain(SECRET);
  });
});

describe("a database that can't be had", () => {
  const SECRET = "hunter2secret";
  /** Long enough for a slow network, too short for an operator to give up. Milliseconds. */
  const BOUND = 15_000;
  const DATABASES = {
    "whose server is not there": async () => `postgres://user:${SECRET}@127.0.0.1:${await closedPort()}/kyc`,
    "whose host is unknown": async () => `postgres://user:${SECRET}@nowhere.invalid/kyc`,
    "whose server never answers": async () => `postgres://user:${SECRET}@127.0.0.1:${await silentPort()}/kyc`,
    "that does not exist": async () => (await createEmptyDatabase()).replace(/[^/]+$/, "no_such_database"),
    "whose password is another": async () => {
      const url = new URL(await createEmptyDatabase());
      url.password = SECRET;
      return url.href;
    },
  };
  afterEach(tidyUp);

  test.each(Object.keys(DATABASES) as (keyof typeof DATABASES)[])(
    "(one %s) fails serve and the commands with a clear line, exit code 1, soon",
    async (kind) => {
      const env = {
        ...{ DATABASE_URL: await DATABASES[kind](), ENCRYPTION_KEYS: newKey("test") },
        ...{ PORT: "0", LOG_LEVEL: "error" },
      };
      const runs = await Promise.all([["serve"], ["token", "list"]].map((args) => runCli(args, env)));
      for (const { code, stdout, stderr, ms } of runs) {
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(stderr).toMatch(/^error: the database (can't be reached|refuses): .+\n$/);
        expect(stderr).not.toContain(new URL(env.DATABASE_URL).password);
        expect(ms).toBeLessThan(BOUND);
      }
    },
  );
});

describe("a port that is in use", () => {
  afterEach(tidyUp);

  test("stops serve with a line that names it, and leaves the database usable", async () => {
    const env = await freshEnv("a real database");
    const gateway: Gateway = await startGateway(env);
    const { port } = new URL(gateway.url);
    const { code, stdout, stderr } = await runCli(["serve"], { ...env, PORT: port });
    expect(code).toBe(1);
    // It has not said that it serves.
    expect(stdout).toMatch(/^(KYC gateway \S+ is starting …\n)?$/);
    expect(stderr).toMatch(/^error: .+\n$/);
    expect(stderr).toContain(port);
    expect((await createClient(gateway.url, null).send("GET", "/ready")).status).toBe(200);
  });
});

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A port that takes connections and says nothing. */
async function silentPort(): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  later(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
