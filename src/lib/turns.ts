/**
 * For how long jobs of one kind may be started in one turn of the event loop, by default. Milliseconds. The last job may take longer
 * by itself, and reading sockets and sending answers takes further time: a turn stays well below 100 ms.
 */
const BUDGET_MS = 20;

type Job = () => void;

/** Jobs of one kind: those that do not fit into a turn of the event loop wait for later turns, in their order. */
export class Turns {
  readonly #budgetMs: number;
  #waiting: Job[] = [];
  #begun = 0;
  /** When the first job of this turn began; undefined: none has. Milliseconds, of `performance.now()`. */
  #startedAt: number | undefined;

  constructor(budgetMs = BUDGET_MS) {
    this.#budgetMs = budgetMs;
  }

  /**
   * Runs a job at once if this turn has time left, and in a later turn otherwise, behind the jobs that wait already. A
   * job that has waited must find out itself whether anyone still wants its result.
   */
  run(job: Job): void {
    if (this.#mustWait()) this.#waiting.push(job);
    else job();
  }

  /** Undefined if this turn has time left, otherwise a promise that resolves in a turn that has. */
  until(): Promise<void> | undefined {
    return this.#mustWait() ? new Promise((resolve) => this.#waiting.push(resolve)) : undefined;
  }

  #mustWait(): boolean {
    return this.#waiting.length > 0 || this.#isSpent();
  }

  /** Whether this turn has no time left. The first caller of a turn starts its clock. */
  #isSpent(): boolean {
    if (this.#startedAt !== undefined) return performance.now() - this.#startedAt > this.#budgetMs;
    this.#startedAt = performance.now();
    setImmediate(this.#beginTurn);
    return false;
  }

  readonly #beginTurn = (): void => {
    this.#startedAt = undefined;
    this.#runNext();
  };

  readonly #runNext = (): void => {
    const job = this.#waiting[this.#begun];
    if (!job || this.#isSpent()) {
      this.#waiting = this.#waiting.slice(this.#begun);
      this.#begun = 0;
      return;
    }
    this.#begun += 1;
    job();
    // A tick that a microtask requests runs after all microtasks, so the work that this job's promises trigger counts, too.
    queueMicrotask(() => process.nextTick(this.#runNext));
  };
}

/**
 * The work of requests. Node reads up to a thousand sockets in one turn: if each of them started its work at once,
 * probes, new connections and timers would wait for all of it.
 */
const work = new Turns();

/** Runs a request's work in its turn. */
export function runInTurn(job: Job): void {
  work.run(job);
}

/** Undefined if this turn has time for a request's work, otherwise a promise that resolves when one has. */
export function untilTurn(): Promise<void> | undefined {
  return work.until();
}
