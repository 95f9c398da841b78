import { AppError, unavailable } from "../errors.ts";

/** The server refused a statement or a connection. The message contains no values of records. */
export class DatabaseError extends Error {
  readonly code: string;
  readonly constraint: string | undefined;
  /** PostgreSQL's own message on one line, if messages of this kind never contain values. */
  readonly said: string | undefined;

  constructor(code: string, constraint?: string, said?: string) {
    const known = said ?? "the database refused a statement";
    super(`${known} (SQLSTATE ${code}${constraint ? `, ${constraint}` : ""})`);
    this.name = "DatabaseError";
    this.code = code;
    this.constraint = constraint;
    this.said = said;
  }
}

// Classes of SQLSTATE whose messages name schema objects, users, databases, files or limits, but never bound values.
const WITHOUT_VALUES = /^(08|25|28|3D|3F|42|53|55|57|58)/;

// A SQLSTATE contains a digit, unlike codes such as EPIPE.
const SQLSTATE = /^(?=.*\d)[0-9A-Z]{5}$/;
// The request may be valid, but the database can't serve it now: connection, authorization, missing database, resources,
// operator intervention, system errors, rollback because of a conflict, lock timeout, transaction timeout, or read-only
// after a failover.
const PASSING_SQLSTATE = /^(08|28|3D|40|53|57|58)|^(25006|25P03|25P04|55P03)$/;
// Error codes of the operating system (including DNS), of the driver for failed connections and authentication, and of
// Node for sockets and TLS.
const BROKEN_CONNECTION = /^(CONNECT|SASL_|AUTH_TYPE_|E(AI_)?[A-Z]+$|ERR_(SSL|TLS|SOCKET|STREAM)_)/;

/** The server ends the session because it stops. */
const ADMIN_SHUTDOWN = "57P01";

/** Whether work failed because its connection could not be opened, broke, or was ended by a server that stops. */
export function isLostConnection(error: unknown): boolean {
  if (!(error instanceof AppError && error.code === "UNAVAILABLE")) return false;
  const { code } = (error.cause ?? {}) as { code?: unknown };
  return typeof code === "string" && (code === ADMIN_SHUTDOWN || BROKEN_CONNECTION.test(code));
}

/** Replaces a driver's error by one without any text of the driver or server that could contain bound values. */
export function withoutValues(error: unknown): unknown {
  const { code, constraint_name, message } = (error ?? {}) as Record<
    "code" | "constraint_name" | "message",
    unknown
  >;
  if (error instanceof AppError || error instanceof DatabaseError || typeof code !== "string") return error;
  if (SQLSTATE.test(code)) {
    const said =
      WITHOUT_VALUES.test(code) && typeof message === "string" ? message.replace(/\s+/g, " ") : undefined;
    const refusal = new DatabaseError(code, constraint_name as string | undefined, said);
    return PASSING_SQLSTATE.test(code) ? unavailable(refusal) : refusal;
  }
  return BROKEN_CONNECTION.test(code) ? unavailable(error) : error;
}
