import { setTimeout as wait } from "node:timers/promises";
import { launcherGone } from "./launcher.ts";

/** Signals within this time count as one: npm passes on a signal that the gateway has received itself. Milliseconds. */
const SAME_SIGNAL_MS = 500;
/** Time limit for closing, within the ten seconds that a stop allows. */
const CLOSING_DEADLINE_MS = 5000;

/** Resolves with the reason why the gateway must stop. */
export type Stop = Promise<string>;

/**
 * Resolves with the first signal to stop, or when npx has ended. Must be called before anything else: without a listener, a
 * signal ends the process immediately, or is ignored if the process is the first one in a container. The listeners stay,
 * because without them another signal would end the process.
 */
export function awaitStop(): Stop {
  const signalled = new Promise<string>((resolve) => {
    let askedAt: number | undefined;
    const onSignal = (signal: string) => {
      askedAt ??= performance.now();
      // A second Ctrl-C means that the user does not want to wait.
      if (signal === "SIGINT" && performance.now() - askedAt > SAME_SIGNAL_MS) process.exit(130);
      resolve(signal);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
  return Promise.race([signalled, launcherGone()]);
}

/** The gateway got a stop signal before it listened. */
export class StoppedAtStart extends Error {
  readonly signal: string;

  constructor(signal: string) {
    super(`stopped by ${signal}`);
    this.signal = signal;
  }
}

/** The result of a step of the start. Fails with StoppedAtStart if the gateway gets a stop signal first. */
export function unlessStopped<T>(stop: Stop, step: Promise<T>): Promise<T> {
  const stopped = stop.then((signal) => {
    throw new StoppedAtStart(signal);
  });
  return Promise.race([stopped, step]);
}

/** Waits for something to close, but not for longer than an operator's stop allows. */
export async function closeInTime(closing: Promise<unknown>): Promise<void> {
  await Promise.race([closing, wait(CLOSING_DEADLINE_MS, undefined, { ref: false })]);
}
