import type { Database } from "./client.ts";
import { DatabaseError } from "./database-error.ts";
import type { MigrationTarget } from "./migrating/migrate.ts";
import { connect } from "./pool/pool.ts";
import { FIND_COMPILING, FIND_DEVIATIONS } from "./pool/session.ts";
import type { DatabaseConfig } from "./settings.ts";

/** An open database. */
export interface OpenDatabase {
  db: Database;
  /** Whether another process runs the embedded engine, and this one joined it. */
  isGuest: boolean;
  /** The database as `migrate` takes it. */
  target: MigrationTarget;
  /** Closes the pool, and the embedded engine if this process runs it. */
  close(): Promise<void>;
}

export interface OpenSettings extends DatabaseConfig {
  /** Milliseconds. */
  requestTimeout: number;
}

/** The limits of a pool for this configuration. */
export function limitsOf(config: OpenSettings) {
  return {
    queueLimit: config.databaseQueueLimit,
    statementTimeout: config.statementTimeout,
    // After the request's time limit its client has an error, so its transaction need not commit.
    transactionTimeout: config.requestTimeout,
  };
}

/**
 * Opens a server's database. If a pooler that shares connections is in between, sessions get their settings as it allows.
 * If the server can't be reached, this does not fail, but the next statement does.
 */
export async function openServer(
  url: string,
  config: OpenSettings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  const address = { url };
  const options = {
    ...limitsOf(config),
    address,
    poolSize: config.databasePoolSize,
    prepare: config.databasePrepare,
  };
  const opened = (db: Database): OpenDatabase => ({
    ...{ db, target: address, isGuest: false, close: () => db.close() },
  });
  const direct = connect({ ...options, settings: "at the start", listens: true });
  const failure = await direct.execute("select 1").then(
    () => undefined,
    (error: unknown) => error,
  );
  // The next statement reports other failures.
  if (failure === undefined || !refusesSettings(failure)) return opened(direct);
  await direct.close();
  return opened(
    connect({ ...options, settings: await chooseSettingsBehindPooler(url, onWarning), listens: false }),
  );
}

/** The SQLSTATE with which a pooler refuses startup parameters that it does not support. */
const PROTOCOL_VIOLATION = "08P01";

/** Whether a connection failed because a pooler refuses settings at the start of a session. */
export function refusesSettings(error: unknown): boolean {
  const { cause } = error as { cause?: unknown };
  return cause instanceof DatabaseError && cause.code === PROTOCOL_VIOLATION;
}

const COMPILES =
  "The database compiles statements that look expensive (setting jit), and the pooler lets no session turn this off. " +
  "Once there are many events, each look for new ones takes seconds. ALTER ROLE … SET jit = off.";

/**
 * Decides how sessions get their settings if a pooler, which shares connections between clients, refuses settings at the
 * start of a session: each transaction sets them, unless the defaults are right.
 */
async function chooseSettingsBehindPooler(url: string, onWarning: (message: string) => void) {
  const pooled = connect({ address: { url }, poolSize: 1, prepare: false });
  try {
    const deviations = await pooled.execute<{ name: string }>(FIND_DEVIATIONS);
    if (deviations.length === 0) {
      const [session] = await pooled.execute<{ compiles: boolean }>(FIND_COMPILING);
      if (session?.compiles) onWarning(COMPILES);
      return undefined;
    }
    const names = deviations.map(({ name }) => name).join(", ");
    onWarning(
      `The database's role has settings that the gateway can't work with, and the pooler lets no session set its own: ${names}. ` +
        "Each statement sets them now, which makes it slower. ALTER ROLE … RESET them.",
    );
    return "in each transaction";
  } finally {
    await pooled.close();
  }
}
