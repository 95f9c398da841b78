import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { Worker } from "node:worker_threads";
import { packageFile } from "../../package-file.ts";
import type { Engine } from "./multiplexer.ts";

/** Messages to run, or null to close the engine. */
export type ToEngine = Uint8Array | null;

/** The thread's messages: `parameters` when the engine is open, then one of the others for each call. */
export type FromEngine =
  | { parameters: Record<string, string> }
  | { answer: Uint8Array<ArrayBuffer>[] }
  | { crash: string };

/** The engine can't open its files. The message says why, if that is known. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}

/** A new database takes 40 MB; opening an existing one needs less. */
const LITTLE_SPACE_BYTES = 48 * 1024 * 1024;

/** The error of a failure to open or create the engine's files, with the reason if it is known. */
export function asEngineError(pgdata: string, cause: unknown): EngineError {
  const { bavail, bsize } = statfsSync(dirname(pgdata));
  const free = bavail * bsize;
  const isFull = free < LITTLE_SPACE_BYTES;
  const reason = isFull
    ? `its disk is full (${Math.floor(free / 1024 / 1024)} MB are free). Make room, or set DATA_DIR to a folder on another disk`
    : (cause as Error).message;
  return new EngineError(`the embedded database in ${pgdata} can't be opened: ${reason}`, { cause });
}

/** A thread can't run TypeScript, so the compiled file is used even if we run from the sources. */
const WORKER = packageFile("../dist/engine-worker.js");

/**
 * Opens the engine on its files, creating them if necessary, in its own thread, so that it does not block the event
 * loop. Nothing else may have the files open. Fails with an EngineError if they can't be opened.
 */
export async function openEngine(pgdata: string): Promise<Engine> {
  const worker = new Worker(WORKER, { workerData: pgdata });
  /** The caller that waits for the thread's next message. */
  let waiting: { resolve(words: FromEngine): void; reject(error: Error): void } | undefined;
  let ended: Error | undefined;
  const end = (error: Error) => {
    ended ??= error;
    waiting?.reject(ended);
  };
  worker.on("message", (words: FromEngine) => waiting?.resolve(words));
  worker.on("error", end);
  const gone = new Promise<void>((resolve) =>
    worker.once("exit", () => {
      end(new Error("its thread has ended"));
      resolve();
    }),
  );
  const next = async () => {
    if (ended) throw ended;
    const words = await new Promise<FromEngine>((resolve, reject) => {
      waiting = { resolve, reject };
    });
    if ("crash" in words) throw new Error(words.crash);
    return words;
  };

  const opened = await next().catch(async (cause) => {
    await worker.terminate();
    throw asEngineError(pgdata, cause);
  });
  return {
    parameters: "parameters" in opened ? opened.parameters : {},
    run: async (messages) => {
      // Transfer a copy: small buffers share their memory with others.
      const bytes = new Uint8Array(messages);
      worker.postMessage(bytes, [bytes.buffer]);
      const words = await next();
      return "answer" in words ? words.answer.map(({ buffer }) => Buffer.from(buffer)) : [];
    },
    close: async () => {
      worker.postMessage(null);
      await gone;
    },
    abandon: async () => {
      await worker.terminate();
    },
  };
}
