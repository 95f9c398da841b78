// The thread of the embedded engine: opens the database in the folder that it is given, and runs what it is sent.
import { parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";
import type { FromEngine, ToEngine } from "./engine.ts";

/** What a server reports to each client that connects. */
const REPORTED_SETTINGS = [
  ...["server_version", "server_encoding", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone"],
  ...["integer_datetimes", "standard_conforming_strings", "is_superuser", "in_hot_standby"],
  ...["default_transaction_read_only"],
];

/**
 * The least that PostgreSQL allows. Its calls also take the stack of JavaScript, which ends sooner than what the
 * default of 2 MB guards: there deep recursion would crash the engine instead of failing with an error.
 */
const STACK_DEPTH = ["-c", "max_stack_depth=100kB"];

/**
 * An eighth of the default: the engine fills them before it opens, which takes half a second, and what it evicts is
 * still in the memory of the operating system.
 */
const BUFFERS = ["-c", "shared_buffers=16MB"];

/** The exit status with which the engine leaves a statement that fails. Any other throw is a crash. */
const STATEMENT_FAILED = 100;

/**
 * PGlite swallows whatever its engine throws and goes on: a crash is answered with silence, or by an endless loop
 * over input that nobody reads any more. After this, a crash rejects the call in which it happens and all later ones.
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
  // What PGlite's loop calls after each throw, and the only way out of it.
  engine.stackRestore = (pointer) => {
    if (crash) throw crash;
    return stackRestore(pointer);
  };
}

async function run(database: PGlite, messages: Uint8Array): Promise<Uint8Array<ArrayBuffer>[]> {
  const answer: Uint8Array<ArrayBuffer>[] = [];
  // The variant that streams: the plain one also keeps every answer, parsed, for as long as the process lives.
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
    tell({ answer }, answer);
  } catch (error) {
    tell({ crash: error instanceof Error ? error.message : String(error) });
  }
}

function tell(words: FromEngine, transferred: Uint8Array<ArrayBuffer>[] = []): void {
  parentPort?.postMessage(
    words,
    transferred.map(({ buffer }) => buffer),
  );
}

const database = await PGlite.create(workerData, {
  startParams: [...PGlite.defaultStartParams, ...STACK_DEPTH, ...BUFFERS],
});
throwCrashes(database);
const { rows } = await database.query<{ name: string; value: string }>(
  "select name, current_setting(name) as value from unnest($1::text[]) as name",
  [REPORTED_SETTINGS],
);
parentPort?.on("message", (messages: ToEngine) => serve(database, messages));
tell({ parameters: Object.fromEntries(rows.map(({ name, value }) => [name, value])) });
