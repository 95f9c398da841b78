import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterEach, expect, test } from "vitest";
import {
  CLI,
  freshEnv,
  later,
  launchGateway,
  start,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

afterEach(tidyUp);

const SLOW = { timeout: 30_000, interval: 10 };

test("a stop at any moment of the first start ends the gateway with 0, and the next start works", async () => {
  const env = { DATA_DIR: join(await temporaryFolder(), "data") };
  for (const delay of [0, 300, 1500]) {
    const run = launchGateway(env);
    // Before that, Node is only loading the gateway.
    await run.printed(/Making a database|starting/);
    await wait(delay);
    const { code, ms } = await run.stop();
    expect([delay, code]).toEqual([delay, 0]);
    expect(ms).toBeLessThan(10_000);
  }
  const gateway = await startGateway(env);
  expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
});

test.each([
  ["serve", "stopped before it listened"],
  ["deliver", "stopped before it delivered"],
])("while its migration waits for a lock, SIGTERM ends `%s` in time", async (command, last) => {
  const env = await freshEnv("a real database");
  const sql = postgres(env.DATABASE_URL ?? "", { max: 2 });
  later(() => sql.end({ timeout: 1 }));
  const locked = await sql.reserve();
  await locked`begin`;
  await locked`lock table drizzle.__drizzle_migrations in access exclusive mode`;
  const run = start(process.execPath, [CLI, command], { env: { ...env, PORT: "0" } });
  const waiting = () => sql`select from pg_locks where not granted`;
  await expect.poll(async () => (await waiting()).length, SLOW).toBeGreaterThan(0);
  const { code, ms } = await run.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(10_000);
  expect(run.stdout()).toContain(last);
  await locked`rollback`;
  locked.release();
});

test("as the first process of a container it is stopped by SIGTERM also before it listens", async () => {
  const env = { DATA_DIR: join(await temporaryFolder(), "data"), PORT: "0" };
  const script = `unshare --pid --fork --mount-proc ${process.execPath} ${CLI} serve & wait $!`;
  const run = start("bash", ["-c", script], { env });
  await run.printed(/Making a database/);
  const [inside = 0] = await childrenOf((await childrenOf(run.pid))[0] ?? 0);
  expect(inside).toBeGreaterThan(0);
  process.kill(inside, "SIGTERM");
  const ended = await Promise.race([run.exited, wait(10_000, "late")]);
  expect(ended).toMatchObject({ code: 0 });
});

async function childrenOf(pid: number): Promise<number[]> {
  const run = start("pgrep", ["-P", String(pid)]);
  await run.exited;
  return run.stdout().trim().split("\n").map(Number);
}
