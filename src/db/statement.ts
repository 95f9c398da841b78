import { DrizzleQueryError } from "drizzle-orm/errors";
import { AppError, unavailable } from "../errors.ts";
import type { Database, Executor } from "./client.ts";

/** A statement that the server refused. It keeps the SQLSTATE and names of the schema: what the server says besides quotes values. */
export class DatabaseError extends Error {
  readonly code: string;
  readonly constraint: string | undefined;

  constructor(code: string, constraint?: string) {
    super(`the database refused a statement: SQLSTATE ${code}${constraint ? ` (${constraint})` : ""}`);
    this.name = "DatabaseError";
    this.code = code;
    this.constraint = constraint;
  }
}

/** A query that Drizzle has built with placeholders and made ready under a name. */
interface Prepared<Row> {
  execute(values: Record<string, unknown>): Promise<Row[]>;
}

/**
 * A statement of the store. Its SQL is written once for each pool, and postgres.js prepares it once on each
 * connection, so that a call costs one round trip.
 */
export function statement<Values extends Record<string, unknown>, Row>(
  build: (executor: Executor) => Prepared<Row>,
): (executor: Executor, values: Values) => Promise<Row[]> {
  const built = new WeakMap<Executor, Prepared<Row>>();
  return (executor, values) => {
    let prepared = built.get(executor);
    if (!prepared) {
      prepared = build(executor);
      built.set(executor, prepared);
    }
    return run(inTime(prepared.execute(values), STATEMENT_DEADLINE));
  };
}

/**
 * One transaction: committed when `work` resolves, rolled back when it fails. Fails with UNAVAILABLE where it takes
 * longer than `deadline` milliseconds: whether it was committed is unknown then.
 */
export function transaction<T>(
  db: Database,
  work: (tx: Executor) => Promise<T>,
  deadline = TRANSACTION_DEADLINE,
): Promise<T> {
  return run(inTime(db.transaction(work), deadline));
}

/** A database that does not answer must not keep requests waiting. Milliseconds. */
const STATEMENT_DEADLINE = 5000;
const TRANSACTION_DEADLINE = 8000;

async function inTime<T>(work: Promise<T>, deadline: number): Promise<T> {
  if (deadline === Number.POSITIVE_INFINITY) return work;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(unavailable(new Error("the database did not answer in time"))), deadline);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Awaits a statement and lets no driver's error out: their texts carry bound values. */
export async function run<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw withoutValues(error);
  }
}

// Each has a digit, which EPIPE has not.
const SQLSTATE = /^(?=.*\d)[0-9A-Z]{5}$/;
// Connection, authorization, no such database, resources, operator intervention, rolled back for others, a lock
// not had in time, read-only after a failover: the request may be right, and the database can't serve it now.
const PASSING_SQLSTATE = /^(08|28|3D|40|53|57)|^(25006|55P03)$/;
const BROKEN_CONNECTION = /^(CONNECT|E[A-Z]+$)/;

function withoutValues(error: unknown): unknown {
  const cause = error instanceof DrizzleQueryError ? error.cause : error;
  if (cause instanceof AppError || cause instanceof DatabaseError) return cause;
  const { code, constraint_name } = (cause ?? {}) as { code?: unknown; constraint_name?: string };
  if (typeof code !== "string") return cause;
  if (SQLSTATE.test(code)) {
    const refusal = new DatabaseError(code, constraint_name);
    return PASSING_SQLSTATE.test(code) ? unavailable(refusal) : refusal;
  }
  return BROKEN_CONNECTION.test(code) ? unavailable(cause) : cause;
}
