// The thread of the embedded engine: it opens the database in the given folder and runs the messages that it receives.
import { setFlagsFromString } from "node:v8";
import { parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";
import type { FromEngine, ToEngine } from "./engine.ts";

/** Settings that a server reports to each client at connection. */
const REPORTED_SETTINGS = [
  ...["server_version", "server_encoding", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone"],
  ...["integer_datetimes", "standard_conforming_strings", "is_superuser", "in_hot_standby"],
  ...["default_transaction_read_only"],
];

/**
 * The minimum that PostgreSQL allows. Its calls also use JavaScript's stack, which is smaller than the default of 2 MB:
 * with the default, deep recursion would crash the engine instead of failing with an error.
 */
const STACK_DEPTH = ["-c", "max_stack_depth=100kB"];

/**
 * One eighth of the default. The engine fills its buffers before it opens, which takes half a second for the default,
 * and evicted pages are still in the operating system's cache.
 */
const BUFFERS = ["-c", "shared_buffers=16MB"];

/**
 * How much of a WebAssembly function runs before V8 compiles it again, optimized: four hundred times the default of Node.js
 * 20, and 55 times that of 22 and 24. Opening a database calls very many functions a few times. With the default, optimizing
 * them takes half of the CPU time of a start on 20, with a hundred times the default a sixth. With this, the first 6,000
 * requests took as long as with less.
 */
const OPTIMIZE_LATER = "--wasm-tiering-budget=720000000";

/** The exit status that the engine throws if a statement fails. Anything else that it throws is a crash. */
const STATEMENT_FAILED = 100;

/**
 * Makes a crash reject the call in which it happens and all later calls. PGlite ignores what its engine throws: after a
 * crash it would return nothing, or loop endlessly over input that the engine no longer reads.
 */
function throwCrashes(database: PGlite): void {
  const engine = database.Module;
  const { _PostgresMainLoopOnce: runOnce, stackRestore } = engine;
  let crash: Error | undefined;
  engine._PostgresMainLoopOnce = () => {
    try {
      if (!crash) runOnce();
    } catch (error) {
      const { status, message } = error as { status?: number; message?: string };
      if (status !== STATEMENT_FAILED)
        crash = new Error(message ?? `exit status ${status}`, { cause: error });
      throw error;
    }
    if (crash) throw crash;
  };
  // PGlite's loop calls this after each throw, and throwing here is the only way out of the loop.
  engine.stackRestore = (pointer) => {
    if (crash) throw crash;
    return stackRestore(pointer);
  };
}

async function run(database: PGlite, messages: Uint8Array): Promise<Uint8Array<ArrayBuffer>[]> {
  const answer: Uint8Array<ArrayBuffer>[] = [];
  // We use the streaming variant because the other one also keeps every parsed answer in memory forever.
  await database.execProtocolRawStream(messages, {
    onRawData: (bytes) => answer.push(new Uint8Array(bytes)),
  });
  return answer;
}

async function serve(database: PGlite, messages: ToEngine): Promise<void> {
  if (messages === null) {
    await database.close();
    process.exit();
  }
  try {
    const answer = await run(database, messages);
    postToMain({ answer }, answer);
  } catch (error) {
    postToMain({ crash: describe(error) });
  }
}

/** Describes what the engine threw. It is not always an Error: if a file can't be written, it has only an error number. */
function describe(error: unknown): string {
  const { message, errno } = (error ?? {}) as { message?: string; errno?: number };
  return message || (errno === undefined ? String(error) : `system error ${errno}`);
}

function postToMain(words: FromEngine, transferred: Uint8Array<ArrayBuffer>[] = []): void {
  parentPort?.postMessage(
    words,
    transferred.map(({ buffer }) => buffer),
  );
}

setFlagsFromString(OPTIMIZE_LATER);
const database = await PGlite.create(workerData, {
  startParams: [...PGlite.defaultStartParams, ...STACK_DEPTH, ...BUFFERS],
}).catch((error) => {
  // An error is cloned for the main thread, and the engine's own errors would lose their name and message.
  throw new Error(describe(error));
});
throwCrashes(database);
const { rows } = await database.query<{ name: string; value: string }>(
  "select name, current_setting(name) as value from unnest($1::text[]) as name",
  [REPORTED_SETTINGS],
);
parentPort?.on("message", (messages: ToEngine) => serve(database, messages));
postToMain({ parameters: Object.fromEntries(rows.map(({ name, value }) => [name, value])) });
