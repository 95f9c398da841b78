import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { inject } from "vitest";
import { createDatabase, dropDatabase } from "../../support/database.ts";
import { newKey } from "../../support/keys.ts";
import { databaseUrl, roomForData } from "../../support/postgres-server.ts";

/** The checkout, in which `npm start` runs. */
export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
export const CLI = join(ROOT, "dist/cli.js");

// Far above what is measured: these only keep a test that has failed from hanging. Milliseconds.
const START_TIMEOUT = 180_000;
const STOP_TIMEOUT = 20_000;
const CLI_TIMEOUT = 240_000;

export type Env = Record<string, string>;

/** A process that a test has started. Times are milliseconds. */
export interface Run {
  pid: number;
  startedAt: number;
  stdout(): string;
  stderr(): string;
  /** Both, for looking for what must not be in either. */
  output(): string;
  /** Resolves with the first match in stdout; fails when the process ends, or the time, without one. */
  printed(pattern: RegExp, timeout?: number): Promise<RegExpExecArray>;
  exited: Promise<Exit>;
  /** Sends the signal, and resolves with how and how fast the process ended. */
  stop(signal?: NodeJS.Signals): Promise<Exit & { ms: number }>;
}

interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A gateway that has printed its address. */
export interface Gateway extends Run {
  url: string;
  /** From the start of the process until its URLs were printed. */
  startMs: number;
}

const running = new Set<ChildProcess>();
const cleanups: (() => Promise<unknown>)[] = [];
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Ends what tests have started and removes what they have made. For `afterEach` or `afterAll`. */
export async function tidyUp(): Promise<void> {
  const ended = [...running].map((child) => once(child, "exit"));
  for (const child of running) child.kill("SIGKILL");
  await Promise.all(ended);
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** Leaves work for the next `tidyUp`. */
export function later(cleanup: () => Promise<unknown>): void {
  cleanups.push(cleanup);
}

/** A new folder that `tidyUp` removes. */
export async function temporaryFolder(parent = tmpdir()): Promise<string> {
  const folder = await mkdtemp(join(parent, "kyc-system-"));
  later(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts a program. Of this process's environment it sees only what every program needs. */
export function start(
  command: string,
  args: readonly string[],
  options: { env?: Env; cwd?: string; detached?: boolean } = {},
): Run {
  const { PATH = "", HOME = "" } = process.env;
  const startedAt = performance.now();
  const child = spawn(command, args, {
    ...options,
    env: { PATH, HOME, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const chunks: { stream: "stdout" | "stderr"; text: string }[] = [];
  /** Emits `news` with each chunk, and at the end. */
  const output = new EventEmitter().setMaxListeners(0);
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      chunks.push({ stream, text });
      output.emit("news");
    });
  }
  const read = (...streams: string[]) =>
    chunks
      .filter(({ stream }) => streams.includes(stream))
      .map(({ text }) => text)
      .join("");
  let ended = false;
  // "close" comes when the output is complete, too; a grandchild that lives on would hold it back.
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      running.delete(child);
      const done = () => {
        ended = true;
        output.emit("news");
        resolve({ code, signal });
      };
      const late = setTimeout(done, 1000);
      child.once("close", () => {
        clearTimeout(late);
        done();
      });
    });
  });
  exited.catch(() => {});
  const run: Run = {
    pid: child.pid ?? 0,
    startedAt,
    stdout: () => read("stdout"),
    stderr: () => read("stderr"),
    output: () => read("stdout", "stderr"),
    exited,
    async printed(pattern, timeout = START_TIMEOUT) {
      const late = AbortSignal.timeout(timeout);
      for (;;) {
        const match = pattern.exec(run.stdout());
        if (match) return match;
        if (ended || late.aborted)
          throw new Error(`${ended ? "ended" : "late"} without ${pattern}:\n${run.output()}`);
        await once(output, "news", { signal: late }).catch(() => {});
      }
    },
    async stop(signal = "SIGTERM") {
      const from = performance.now();
      child.kill(signal);
      const exit = await Promise.race([exited, wait(STOP_TIMEOUT, null, { ref: false })]);
      if (exit) return { ...exit, ms: performance.now() - from };
      child.kill("SIGKILL");
      throw new Error(`did not end after ${signal}:\n${run.output()}`);
    },
  };
  return run;
}

/** A machine that is busy with other tests delays a gateway for longer than it should serve in. */
const PATIENCE = { MAX_EVENT_LOOP_DELAY: "10 min" };

/** Starts `serve` on a free port of the loopback, and leaves it open whether that works. */
export function launchGateway(env: Env, options: { cwd?: string } = {}): Run {
  return start(process.execPath, [CLI, "serve"], { env: { PORT: "0", ...PATIENCE, ...env }, ...options });
}

/** Resolves when a gateway has printed its address. If it ends instead, fails with its output. */
export async function listening(run: Run): Promise<Gateway> {
  // This address is printed last, so the lines before it have arrived, too.
  const [, url = ""] = await run.printed(/ (http:\/\/\S+)\/metrics\n[\s\S]*\n\n[\s\S]*\n\n/);
  return { ...run, url, startMs: performance.now() - run.startedAt };
}

export const startGateway = (env: Env, options: { cwd?: string } = {}): Promise<Gateway> =>
  listening(launchGateway(env, options));

/** Runs one command of the CLI to its end. */
export async function runCli(
  args: readonly string[],
  env: Env = {},
): Promise<{ code: number | null; stdout: string; stderr: string; ms: number }> {
  const run = start(process.execPath, [CLI, ...args], { env });
  const timer = setTimeout(() => run.stop("SIGKILL"), CLI_TIMEOUT);
  const { code } = await run.exited;
  clearTimeout(timer);
  return { code, stdout: run.stdout(), stderr: run.stderr(), ms: performance.now() - run.startedAt };
}

/** An empty database on the tests' server, without any table; removed by `tidyUp`. */
export async function createEmptyDatabase(): Promise<string> {
  return databaseOf(await createDatabase());
}

function databaseOf(name: string): string {
  later(() => dropDatabase(name));
  return databaseUrl(inject("postgresUrl"), name);
}

/** The environment of a gateway on a real database without any table, which its first start makes. */
export const emptyEnv = async (): Promise<Env> => ({
  DATABASE_URL: await createEmptyDatabase(),
  ENCRYPTION_KEYS: newKey("test"),
});

export const ENGINES = ["the embedded database", "a real database"] as const;
export type Engine = (typeof ENGINES)[number];

/** The environment of a gateway on an unused database of this kind, which is migrated already. */
export async function freshEnv(engine: Engine): Promise<Env> {
  if (engine === "a real database") {
    const url = databaseOf(await createDatabase(inject("templateDatabase")));
    return { DATABASE_URL: url, ENCRYPTION_KEYS: newKey("test") };
  }
  // Copying a thousand files to a disk takes three times the CPU time. Programs may not run in a folder in memory.
  const dataDir = join(await temporaryFolder(await roomForData()), "data");
  await cp(inject("unusedDataDir"), dataDir, { recursive: true });
  return { DATA_DIR: dataDir };
}

export const readDevToken = async (env: Env): Promise<string> =>
  (await readFile(join(env.DATA_DIR ?? "", "dev-token"), "utf8")).trim();

/** A token with every scope for a gateway that runs with this environment; on the embedded database of `demo` only. */
export async function fullToken(env: Env, account = "demo"): Promise<string> {
  if (env.DATABASE_URL === undefined) return readDevToken(env);
  const scopes = "kyc:read,kyc:write,kyc:delete,kyc:pii,audit:read,kyc:hold,webhooks:manage";
  const made = await runCli(
    ["token", "create", `--account=${account}`, "--name=test", `--scopes=${scopes}`],
    env,
  );
  if (made.code !== 0) throw new Error(`no token was made:\n${made.stderr}`);
  return made.stdout.trim();
}
