import { isatty } from "node:tty";
import pino, { type DestinationStream, type LogFn, type Logger } from "pino";
import pretty from "pino-pretty";
import { AppError } from "./errors.ts";

/**
 * A log of JSON lines, on stdout or where it is sent. Nothing of a request's content is ever handed to it: callers
 * log ids, codes and times.
 */
export function createLog(level: string, destination: DestinationStream = pino.destination(1)): Logger {
  const options = {
    level,
    base: undefined,
    timestamp: isoTime,
    serializers: { err: describeError },
    hooks: { logMethod: addText },
  };
  return pino(options, destination);
}

/**
 * Where a server's log goes: readable text where stdout is a terminal. Nothing waits for the reader of a pipe: lines
 * gather while one write is under way, `limit` bytes at most, and are flushed at the exit. `onDrop` is told of each
 * line beyond, which is lost.
 */
export function openOutput(
  limit: number,
  onDrop: () => void,
  fd: number = process.stdout.fd,
): DestinationStream {
  if (isatty(fd)) return pretty({ colorize: true, sync: true, translateTime: "SYS:HH:MM:ss" });
  const output = pino.destination({ dest: fd, sync: false, maxLength: limit });
  return output.on("drop", onDrop);
}

/** Where a line about an error has no text, pino takes the error's own words, and Fastify's hold the URL. */
function addText(this: Logger, args: Parameters<LogFn>, method: LogFn): void {
  const [about, text] = args as unknown[];
  if (text === undefined && (about instanceof Error || (about as { err?: unknown } | undefined)?.err))
    method.call(this, about, "an error");
  else method.apply(this, args);
}

let last = { millis: 0, text: "" };

/** As pino's own, written once for all lines of one millisecond. */
function isoTime(): string {
  const millis = Date.now();
  if (millis !== last.millis) last = { millis, text: `,"time":"${new Date(millis).toISOString()}"` };
  return last.text;
}

// Errors whose texts are written by Node or by us. Those of parsers and drivers can quote what they were given.
const SPEAKS_SAFELY = new Set([
  "TypeError",
  "ReferenceError",
  "RangeError",
  "AssertionError",
  "DatabaseError",
  "MissingKeyError",
]);
const SYSTEM_ERROR = /^(E(AI_)?[A-Z]+|CONNECT\w*)$/;

/** What the log keeps of an error: where it happened, and its words only where they can't quote a record. */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code } = error as { code?: unknown };
  const safe =
    error instanceof AppError ||
    SPEAKS_SAFELY.has(error.name) ||
    (typeof code === "string" && SYSTEM_ERROR.test(code));
  const frames = error.stack?.split("\n").filter((line) => /^ {4}at /.test(line)) ?? [];
  return {
    type: error.name,
    ...(typeof code === "string" && { code }),
    ...(safe && { message: error.message }),
    stack: frames.join("\n"),
    ...(error.cause !== undefined && { cause: describeError(error.cause) }),
  };
}

/** The part of a log that failures go to. */
export type FailureLog = Pick<Logger, "error" | "warn">;

/** Afterwards what a user is not told of a failure is in the log, under the request's id. */
export function logFailure(
  failure: AppError,
  { log, requestId }: { log: FailureLog; requestId: string },
): void {
  if (failure.code === "INTERNAL") log.error({ requestId, err: failure.cause }, "unforeseen failure");
  // A request that was shed has no cause beyond its number: a line for each would be load of its own.
  if (failure.code === "UNAVAILABLE" && failure.cause !== undefined)
    log.warn({ requestId, err: failure.cause }, "unavailable");
}
