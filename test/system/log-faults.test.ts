import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { CLI, type Env, freshEnv, start, temporaryFolder, tidyUp } from "./support/gateway.ts";

afterEach(tidyUp);

/** Starts a gateway as the last command of a script, so that the script's process is the gateway. */
async function serve(script: string, port: number, prefix: string[] = []) {
  const env: Env = {
    ...(await freshEnv("a real database")),
    PORT: String(port),
    GATEWAY: `${process.execPath} ${CLI} serve`,
  };
  const [command = "bash", ...args] = [...prefix, "bash", "-c", script];
  const run = start(command, args, { env });
  const url = `http://127.0.0.1:${port}`;
  const isUp = () =>
    fetch(`${url}/ready`).then(
      ({ status }) => status,
      () => 0,
    );
  await expect.poll(isUp, { timeout: 30_000 }).toBe(200);
  return { run, url };
}

const LOST = /^log_lines_dropped_total (\d+)$/m;
async function lostLines(url: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(LOST.exec(metrics)?.[1]);
}

/** Requests whose lines are far more than what holds them. */
async function request(url: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += 50) {
    const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(`${url}/v1/kyc`)));
    for (const { status } of answers) expect(status).toBe(401);
  }
}

test("on a full disk the gateway serves, counts the lines that are lost, and stops when told", async () => {
  const folder = await temporaryFolder();
  const script = `mount -t tmpfs -o size=64k none ${folder} && exec $GATEWAY > ${folder}/log`;
  const { run, url } = await serve(script, 45_101, ["unshare", "-Urm"]);
  await request(url, 600);
  await expect.poll(() => lostLines(url)).toBeGreaterThan(100);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  expect(run.stderr()).toBe("");
  const { code, ms } = await run.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(10_000);
});

test("with a log that nobody reads it serves, counts the lines that are lost, and stops when told", async () => {
  const fifo = `${await temporaryFolder()}/pipe`;
  // The reader takes what the start prints, and nothing more.
  const script = `mkfifo ${fifo}; (head -c 200 >/dev/null; exec sleep 60) < ${fifo} & LOG_BUFFER_LIMIT='16 KiB' exec $GATEWAY > ${fifo}`;
  const { run, url } = await serve(script, 45_102);
  await request(url, 800);
  await expect.poll(() => lostLines(url)).toBeGreaterThan(100);
  const { code, ms } = await run.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(10_000);
});

test("when the reader of its log has gone the gateway serves on, and stops when told", async () => {
  const fifo = `${await temporaryFolder()}/pipe`;
  const script = `mkfifo ${fifo}; (timeout 3 cat >/dev/null) < ${fifo} & exec $GATEWAY > ${fifo}`;
  const { run, url } = await serve(script, 45_103);
  await wait(3500);
  await request(url, 200);
  await expect.poll(() => lostLines(url)).toBeGreaterThan(50);
  const { code } = await run.stop();
  expect(code).toBe(0);
});
