/**
 * How long jobs may be started in one turn of the event loop. Milliseconds. The last job can run past this, and reading
 * sockets and sending answers come in addition; the whole turn stays well below 100 ms.
 */
const BUDGET_MS = 20;

type Job = () => void;

let waiting: Job[] = [];
let begun = 0;
/** Start of this turn's first job in milliseconds of `performance.now()`; undefined if there was none. */
let startedAt: number | undefined;

/**
 * Runs a job at once if this turn of the event loop has time left, and in a later turn otherwise, behind the jobs that
 * wait already. Node reads up to a thousand sockets in one turn: if each of them started its work at once, probes, new
 * connections and timers would wait for all of it. A job that has waited must find out itself whether anyone still
 * wants its result.
 */
export function runInTurn(job: Job): void {
  if (mustWait()) waiting.push(job);
  else job();
}

/** Returns undefined if this turn has time left, otherwise a promise that resolves when this caller may go on. */
export function untilTurn(): Promise<void> | undefined {
  return mustWait() ? new Promise((resolve) => waiting.push(resolve)) : undefined;
}

function mustWait(): boolean {
  return waiting.length > 0 || isSpent();
}

/** Whether this turn has no time left. The first caller of a turn starts its clock. */
function isSpent(): boolean {
  if (startedAt !== undefined) return performance.now() - startedAt > BUDGET_MS;
  startedAt = performance.now();
  setImmediate(beginTurn);
  return false;
}

function beginTurn(): void {
  startedAt = undefined;
  runNext();
}

function runNext(): void {
  const job = waiting[begun];
  if (!job || isSpent()) {
    waiting = waiting.slice(begun);
    begun = 0;
    return;
  }
  begun += 1;
  job();
  // A tick that is asked for by a microtask comes when no microtask is left: the time of what this job resolves counts.
  queueMicrotask(() => process.nextTick(runNext));
}
