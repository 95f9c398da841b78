// Child processes that never outlive the bench, and what /proc says of them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";

/** How long a child may take to end before it is killed. Milliseconds. */
const STOP_TIMEOUT = 15_000;
/** Clock ticks of /proc/<pid>/stat: 100 a second on every Linux that Node runs on. */
const MICROS_PER_TICK = 10_000;

// Its input ends when the bench does, however that happens: also by SIGKILL, when no handler runs.
const CARETAKER = 'cat > /dev/null; kill -INT "$1" 2> /dev/null; sleep 15; kill -KILL "$1" 2> /dev/null';

/**
 * @typedef {object} Child
 * @property {number} pid
 * @property {import("node:child_process").ChildProcess} process
 * @property {() => Promise<void>} stop resolves when it has ended
 */

/** @type {Set<Child>} */
const living = new Set();

/**
 * Starts a process in its own session: a Ctrl-C in the terminal then reaches only the bench, which ends its processes in
 * the right order.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions & { stopSignal?: NodeJS.Signals }} options
 * @returns {Promise<Child>}
 */
export async function startChild(command, args, { stopSignal = "SIGTERM", ...options }) {
  const child = spawn(command, args, { ...options, detached: true });
  await once(child, "spawn");
  const pid = /** @type {number} */ (child.pid);
  const caretaker = spawn("sh", ["-c", CARETAKER, "caretaker", String(pid)], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  const ended = once(child, "exit");
  const handle = {
    pid,
    process: child,
    stop: async () => {
      child.kill(stopSignal);
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT);
      await ended;
      clearTimeout(late);
    },
  };
  living.add(handle);
  child.once("exit", () => {
    living.delete(handle);
    caretaker.kill("SIGKILL");
  });
  return handle;
}

/** Ends every child, the youngest first: servers before the database that they use. */
export async function stopChildren() {
  for (const child of [...living].reverse()) await child.stop();
}

/**
 * Polls until `look` gives something.
 *
 * @template T
 * @param {() => T | undefined | Promise<T | undefined>} look
 * @param {{ timeout: number, what: string, interval?: number }} limits times in milliseconds
 * @returns {Promise<T>}
 */
export async function waitFor(look, { timeout, what, interval = 5 }) {
  const deadline = Date.now() + timeout;
  while (Date.now() < deadline) {
    const found = await look();
    if (found !== undefined) return found;
    await wait(interval);
  }
  throw new Error(`waited ${timeout / 1000} s in vain for ${what}`);
}

/**
 * The CPU time that a process has used so far, all its threads together. Microseconds.
 * @param {number} pid
 */
export function cpuMicros(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The program's name, in parentheses, may hold spaces: the fields are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * MICROS_PER_TICK;
}

/**
 * The memory of a process in MB (10^6 bytes): its peak (VmHWM) and what it holds now (VmRSS).
 * @param {number} pid
 */
export function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const read = (/** @type {string} */ name) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024) / 1e6;
  return { peak: read("VmHWM"), resident: read("VmRSS") };
}
