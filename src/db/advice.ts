import { AppError } from "../errors.ts";
import { DatabaseError } from "./database-error.ts";

const ROLES = "docs/operations.md has the grants, under Roles";
const OWN_DATABASE =
  "The database has tables or types with the gateway's names, but not the schema drizzle, in which the gateway records " +
  "its migrations: give the gateway a database of its own, or restore the rest of its dump (pg_dump without -n, or also with -n drizzle)";

/** What to do if PostgreSQL refuses something, by SQLSTATE or its first two characters. */
const ADVICE: Record<string, string> = {
  "28P01": "Set the right user and password in DATABASE_URL",
  "28": "pg_hba.conf decides who may sign in from where, and whether with sslmode=require; a role needs LOGIN",
  "3D000": "Create it: CREATE DATABASE … ENCODING 'UTF8'",
  "3F000":
    "The role's search_path leads to no schema. ALTER ROLE … SET search_path = public, and GRANT USAGE, CREATE ON SCHEMA public TO …",
  "42501":
    "To migrate, a role needs GRANT CREATE ON DATABASE … TO …, and GRANT USAGE, CREATE ON SCHEMA public TO …, and owns " +
    `the tables; to serve, it needs USAGE on both schemas, SELECT, INSERT, UPDATE, DELETE on the tables. ${ROLES}`,
  "42P01": `A table is missing. If it is there, the role's search_path does not lead to it: ALTER ROLE … SET search_path = public. ${OWN_DATABASE}`,
  "42703": OWN_DATABASE,
  "42710": OWN_DATABASE,
  "42P07": OWN_DATABASE,
  "42704": OWN_DATABASE,
  "53100": "Make room on the disk",
  "53300": "Lower DATABASE_POOL_SIZE, or raise the limit: ALTER ROLE … CONNECTION LIMIT, or max_connections",
  "25006":
    "The server takes no writes: it is a standby, or was made read-only. Name all hosts in DATABASE_URL",
  "57P03": "The server is starting or stopping: try again",
};

/** The DatabaseError that an error is or was caused by; undefined if PostgreSQL has not refused anything. */
function findRefusal(error: unknown): DatabaseError | undefined {
  if (error instanceof DatabaseError) return error;
  if (error instanceof AppError && error.cause instanceof DatabaseError) return error.cause;
  return undefined;
}

/** One line on what the database has refused, or why it can't be reached; undefined for any other error. */
export function explainDatabase(error: unknown): string | undefined {
  const refusal = findRefusal(error);
  if (refusal) return explainRefusal(refusal);
  if (!(error instanceof AppError && error.code === "UNAVAILABLE")) return undefined;
  const { code, message } = (error.cause ?? {}) as { code?: string; message?: string };
  return `the database can't be reached: ${message || code || "no answer"}`;
}

/** One line with PostgreSQL's own message and what to do about it. */
function explainRefusal({ code, message }: DatabaseError): string {
  const advice = ADVICE[code] ?? ADVICE[code.slice(0, 2)];
  return `the database refuses: ${message}.${advice ? ` ${advice}.` : ""}`;
}
