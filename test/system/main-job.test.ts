import { execFile } from "node:child_process";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { createClient, kycFields } from "./support/client.ts";
import {
  freshEnv,
  type Gateway,
  launchGateway,
  listening,
  ROOT,
  type Run,
  readDevToken,
  start,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

const execute = promisify(execFile);
const EMPTY_LIST = { has_more: false, data: [] };

const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
const curlLines = (run: Run) => run.stdout().match(/^curl .*$/gm) ?? [];

describe("a first start in an empty folder", () => {
  let cwd: string;
  let dataDir: string;
  let gateway: Gateway;

  afterAll(tidyUp);

  test("says what takes long, prints the URLs, and one curl line that works when pasted", async () => {
    // Users' folder names can have characters that are special in a shell.
    cwd = join(await temporaryFolder(), "it's $HOME here");
    await mkdir(cwd);
    dataDir = join(cwd, ".data");
    gateway = await startGateway({}, { cwd });
    expect(gateway.stdout()).toMatch(/^Making a database in .*\$HOME here\/\.data, which takes/);
    for (const path of ["/graphql", "/v1/kyc", "/health", "/ready", "/metrics"]) {
      expect(gateway.stdout()).toContain(`${gateway.url}${path}`);
    }
    expect(gateway.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);

    const [line = "", ...others] = curlLines(gateway);
    expect(others).toEqual([]);
    // Another folder than the gateway's: a terminal is seldom in the same one.
    const pasted = await execute("sh", ["-c", line], { cwd: "/" });
    expect(JSON.parse(pasted.stdout)).toEqual(EMPTY_LIST);
    const withStatus = await execute("sh", ["-c", `${line} --include`], { cwd: "/" });
    expect(withStatus.stdout).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("keeps the data and the token from other users", async () => {
    expect(await modeOf(dataDir)).toBe("700");
    expect(await modeOf(join(dataDir, "dev-token"))).toBe("600");
  });

  test("is ready, and a second gateway on the same folder is refused with the reason", async () => {
    expect((await createClient(gateway.url, null).send("GET", "/ready")).status).toBe(200);
    const second = launchGateway({}, { cwd });
    const { code } = await second.exited;
    // It does not wait for the first one to end.
    expect(performance.now() - second.startedAt).toBeLessThan(20_000);
    expect(code).toBe(1);
    expect(second.stdout()).toBe("");
    expect(second.stderr()).toMatch(/^error: .*\bin use\b.*\n$/);
    expect(second.stderr()).toContain(dataDir);
    expect(second.stderr()).toContain(String(gateway.pid));
    // The first one never noticed.
    const list = await createClient(gateway.url, await readDevToken({ DATA_DIR: dataDir })).send(
      "GET",
      "/v1/kyc",
    );
    expect(list.json).toEqual(EMPTY_LIST);
  });

  test("the second start makes nothing, and keeps the token and the records", async () => {
    const token = await readDevToken({ DATA_DIR: dataDir });
    const before = createClient(gateway.url, token);
    const made = await before.form("POST", "/v1/kyc", kycFields("customer-1", "P-1"));
    expect(made.status).toBe(201);
    expect(await gateway.stop()).toMatchObject({ code: 0 });

    const first = gateway;
    gateway = await startGateway({}, { cwd });
    expect(await readDevToken({ DATA_DIR: dataDir })).toBe(token);
    const list = await createClient(gateway.url, token).send("GET", "/v1/kyc");
    expect(list.json).toEqual({ has_more: false, data: [made.json] });
    expect(curlLines(gateway)).toHaveLength(1);
    expect(gateway.stdout()).not.toContain("Making");

    expect(await gateway.stop()).toMatchObject({ code: 0 });
    for (const run of [first, gateway]) {
      expect(run.output()).not.toContain(token);
      expect(run.output()).not.toContain("kycgw_");
      expect(run.stderr()).toBe("");
    }
  });
});

describe("two gateways started at the same instant", () => {
  afterEach(tidyUp);

  test.each(["an empty folder", "a folder with data"])("on %s: exactly one comes up", async (folder) => {
    const env =
      folder === "a folder with data"
        ? await freshEnv("the embedded database")
        : { DATA_DIR: join(await temporaryFolder(), "data") };

    const runs = [launchGateway(env), launchGateway(env)];
    const starts = await Promise.allSettled(runs.map(listening));
    const up = starts.filter((result) => result.status === "fulfilled").map((result) => result.value);
    expect(up).toHaveLength(1);
    const [winner] = up as [Gateway];
    const loser = runs.find((run) => run.pid !== winner.pid) as Run;
    expect(await loser.exited).toMatchObject({ code: 1 });
    expect(loser.stderr()).toMatch(/^error: .*\bin use\b.*\n$/);
    const list = await createClient(winner.url, await readDevToken(env)).send("GET", "/v1/kyc");
    expect(list.json).toEqual(EMPTY_LIST);
  });
});

describe("npm start", () => {
  afterEach(tidyUp);

  const npmStart = async () =>
    listening(
      start("npm", ["start"], {
        cwd: ROOT,
        env: { PORT: "0", ...(await freshEnv("the embedded database")) },
        detached: true,
      }),
    );

  test("builds and serves; SIGTERM to npm ends the gateway cleanly and leaves no process", async () => {
    const gateway = await npmStart();
    expect((await createClient(gateway.url, null).send("GET", "/ready")).status).toBe(200);
    expect(await gateway.stop("SIGTERM")).toMatchObject({ code: 0 });
    expect(gateway.stdout()).toContain('"stopped"');
    expect(await groupIsGone(gateway.pid)).toBe(true);
  });

  test("Ctrl-C, which reaches both npm and the gateway, ends it cleanly and leaves no process", async () => {
    // npm forwards the signal, so it reaches the gateway twice.
    const gateway = await npmStart();
    process.kill(-gateway.pid, "SIGINT");
    expect((await gateway.exited).code).toBe(0);
    expect(gateway.stdout()).toContain('"stopped"');
    expect(await groupIsGone(gateway.pid)).toBe(true);
  });
});

/** Whether no process of this group is left; one that has just ended may still be waiting for its parent. */
async function groupIsGone(group: number): Promise<boolean> {
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      process.kill(-group, 0);
    } catch {
      return true;
    }
    await wait(50);
  }
  // The processes of a failed test must not survive it.
  process.kill(-group, "SIGKILL");
  return false;
}
