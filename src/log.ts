import { isatty } from "node:tty";
import pino, { type DestinationStream, type LogFn, type Logger } from "pino";
import type { PrettyOptions } from "pino-pretty";
import { AppError } from "./errors.ts";
import { LogOutput } from "./log-output.ts";

/** Creates a log of JSON lines. Callers log ids, codes and times, and never the contents of a request. */
export function createLog(level: string, destination: DestinationStream = pino.destination(1)): Logger {
  const options = {
    level,
    base: undefined,
    timestamp: isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    hooks: { logMethod: addText },
  };
  return pino(options, destination);
}

/**
 * Opens the output of a server's log: readable text if stdout is a terminal, otherwise lines of JSON through a `LogOutput`.
 * `onLost` is called with the number of lost lines.
 */
export async function openOutput(
  limit: number,
  onLost: (lines: number) => void,
  fd: number = process.stdout.fd,
): Promise<DestinationStream> {
  if (isatty(fd)) return (await import("pino-pretty")).default(ON_TERMINAL);
  return new LogOutput(fd, limit, onLost);
}

/** Adds a text to a line about an error. Otherwise pino uses the error's message, and Fastify's messages contain the URL. */
function addText(this: Logger, args: Parameters<LogFn>, method: LogFn): void {
  const [about, text] = args as unknown[];
  if (text === undefined && (about instanceof Error || (about as { err?: unknown } | undefined)?.err))
    method.call(this, about, "an error");
  else method.apply(this, args);
}

/** `12:00:00 INFO: GET /v1/kyc 200 3 ms req_…`, in colour if the terminal supports it and the environment allows it. */
const ON_TERMINAL: PrettyOptions = {
  sync: true,
  singleLine: true,
  translateTime: "SYS:HH:MM:ss",
  customPrettifiers: { time: String },
  messageFormat: toWords,
  // Fields that are in the text, or that nobody needs on a terminal.
  ignore: "requestId,traceId,address,method,route,operation,outcome,status,ms,account,token",
};

function toWords(line: Record<string, unknown>): string {
  const { msg, requestId, method, route, operation, outcome, status, ms } = line;
  const words =
    route === undefined
      ? [msg]
      : [
          method,
          route,
          operation,
          outcome === "OK" ? undefined : outcome,
          status,
          Math.round(Number(ms)),
          "ms",
        ];
  return [...words, requestId].filter((word) => word !== undefined).join(" ");
}

let last = { millis: 0, text: "" };

/** As pino's own, but formatted only once for all lines of the same millisecond. */
function isoTime(): string {
  const millis = Date.now();
  if (millis !== last.millis) last = { millis, text: `,"time":"${new Date(millis).toISOString()}"` };
  return last.text;
}

// Errors whose messages are written by Node or by us. Messages of parsers and drivers can contain their input.
const SAFE_MESSAGES = new Set([
  "TypeError",
  "ReferenceError",
  "RangeError",
  "AssertionError",
  "DatabaseError",
  "MissingKeyError",
  "LedgerError",
]);
const SYSTEM_ERROR = /^(E(AI_)?[A-Z]+|CONNECT\w*)$/;

/** The parts of an error for the log: its type and stack, and its message only if it can't contain a record's values. */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code } = error as { code?: unknown };
  const safe =
    error instanceof AppError ||
    SAFE_MESSAGES.has(error.name) ||
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

/** Logs the cause of a failure, which the client does not see, with the request's id. */
export function logFailure(
  failure: AppError,
  { log, requestId, traceId }: { log: FailureLog; requestId: string; traceId?: string | undefined },
): void {
  if (failure.code === "INTERNAL" && failure.detail === undefined)
    log.error({ requestId, traceId, err: failure.cause }, "unforeseen failure");
  // A request that was refused because of load has no cause. A line for each would add to the load.
  if (failure.code === "UNAVAILABLE" && failure.cause !== undefined)
    log.warn({ requestId, traceId, err: failure.cause }, "unavailable");
}
