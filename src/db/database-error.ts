import { AppError, unavailable } from "../errors.ts";

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

// Each has a digit, which EPIPE has not.
const SQLSTATE = /^(?=.*\d)[0-9A-Z]{5}$/;
// Connection, authorization, no such database, resources, operator intervention, the system below, rolled back for
// others, a lock not had in time, a transaction that took too long, read-only after a failover: the request may be
// right, and the database can't serve it now.
const PASSING_SQLSTATE = /^(08|28|3D|40|53|57|58)|^(25006|25P03|25P04|55P03)$/;
// The codes of the system, those of looking up names among them; the driver's for a connection or a sign-in that fails;
// and Node's for a socket or its encryption.
const BROKEN_CONNECTION = /^(CONNECT|SASL_|AUTH_TYPE_|E(AI_)?[A-Z]+$|ERR_(SSL|TLS|SOCKET|STREAM)_)/;

/** What a failed statement may be known by: no text of the driver's or the server's, since those quote bound values. */
export function withoutValues(error: unknown): unknown {
  const { code, constraint_name } = (error ?? {}) as { code?: unknown; constraint_name?: string };
  if (error instanceof AppError || error instanceof DatabaseError || typeof code !== "string") return error;
  if (SQLSTATE.test(code)) {
    const refusal = new DatabaseError(code, constraint_name);
    return PASSING_SQLSTATE.test(code) ? unavailable(refusal) : refusal;
  }
  return BROKEN_CONNECTION.test(code) ? unavailable(error) : error;
}
