import type { Config } from "../../config/config.ts";
import type { Database } from "../../db/client.ts";
import { FIND_DEVIATIONS } from "../../db/pool/session.ts";
import { isWritable } from "../../db/writable.ts";
import { Area, type Finding, type Stage } from "./finding.ts";
import type { InspectedDatabase } from "./open-for-inspection.ts";

export const database = new Area("database");

const OLDEST_VERSION = 140_000;

interface Facts {
  version: string;
  number: number;
  encoding: string;
  name: string;
  isStandby: boolean;
  isReadOnly: boolean;
}

const FACTS = `
  select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
    current_setting('server_encoding') as encoding, current_database() as name, pg_is_in_recovery() as "isStandby",
    current_setting('default_transaction_read_only') = 'on' as "isReadOnly"`;

/** Version, encoding, and whether it accepts writes. */
export async function checkServer({ db, defaults }: InspectedDatabase, stage: Stage): Promise<Finding[]> {
  const [facts] = await defaults.execute<Facts>(FACTS);
  if (!facts) return [];
  return [checkVersion(facts), checkEncoding(facts), await checkWrites(db, facts, stage)];
}

function checkVersion({ version, number }: Facts): Finding {
  if (number >= OLDEST_VERSION) return database.ok("version", `PostgreSQL ${version}`);
  return database.problem("version", `PostgreSQL ${version}`, "Upgrade it: the gateway needs 14 or newer");
}

function checkEncoding({ encoding, name }: Facts): Finding {
  if (encoding === "UTF8") return database.ok("encoding", "UTF8");
  return database.problem(
    "encoding",
    `${name} is in ${encoding}, which lacks characters of many names`,
    "Use a database made with: CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0",
  );
}

async function checkWrites(db: Database, { isStandby, isReadOnly }: Facts, stage: Stage): Promise<Finding> {
  if (isStandby) {
    const todo = "Name the primary in DATABASE_URL, or all hosts: the gateway uses the one that takes writes";
    return database.problem("writable", "the server is a standby, and takes no writes", todo);
  }
  if (isReadOnly) {
    const found = "default_transaction_read_only is on for this role, database or server";
    return database.problem(
      "writable",
      found,
      "ALTER ROLE … (or DATABASE …) RESET default_transaction_read_only",
    );
  }
  if (stage === "empty") return database.ok("writable", "the server takes writes");
  if (await isWritable(db)) return database.ok("writable", "it takes writes from this role");
  return database.problem("writable", "it takes no writes", "Name the primary in DATABASE_URL, or all hosts");
}

interface Setting {
  name: string;
  value: string;
  source: string;
}

/** Settings that would change answers, cut statements, or lose acknowledged writes. */
export async function checkSettings(
  { defaults, isPooled }: InspectedDatabase,
  config: Config,
): Promise<Finding[]> {
  const deviations = await defaults.execute<{ name: string }>(FIND_DEVIATIONS);
  const names = deviations.map(({ name }) => name).join(", ");
  const found = await defaults.execute<Setting>(`
    select name, setting as value, source from pg_settings
    where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout', 'role')
      or (name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off')
      or (name = 'jit' and pg_jit_available())`);
  const findings = found.flatMap((setting) => checkSetting(setting, isPooled, config));
  if (names !== "" && isPooled) {
    const todo =
      "ALTER ROLE … RESET them: the pooler lets no session set its own, so that each statement has to";
    findings.push(database.warning("settings", `the role's defaults differ: ${names}`, todo));
  } else if (findings.length === 0) {
    const own = names === "" ? "" : `; the gateway's sessions set ${names} themselves`;
    findings.push(database.ok("settings", `none does harm${own}`));
  }
  return findings;
}

function checkSetting({ name, value }: Setting, isPooled: boolean, config: Config): Finding[] {
  if (/^(fsync|full_page_writes|synchronous_commit)$/.test(name)) {
    const todo = "Turn it on, unless this is a test";
    return [database.warning("settings", `${name} is off: a crash loses acknowledged writes`, todo)];
  }
  if (name === "role") {
    if (value === "none") return [];
    const todo = "Check that this role has the grants; ALTER ROLE … RESET role if it is not meant";
    return [database.warning("settings", `the session runs as the role ${value} (setting role)`, todo)];
  }
  // Direct sessions set all of these themselves, except this one.
  if (!isPooled && name !== "transaction_timeout") return [];
  if (name === "jit") {
    const found =
      "jit is on: the server compiles statements that look expensive, which takes longer than they do";
    return [database.warning("settings", found, "ALTER ROLE … SET jit = off")];
  }
  const ours = name === "statement_timeout" ? config.statementTimeout : config.requestTimeout;
  if (Number(value) === 0 || Number(value) >= ours) return [];
  const variable = name === "statement_timeout" ? "STATEMENT_TIMEOUT" : "REQUEST_TIMEOUT";
  const found = `${name} is ${value} ms, below ${variable} (${ours} ms): the server ends what the gateway would wait for`;
  return [database.warning("settings", found, `ALTER ROLE … SET ${name} = ${ours}, or lower ${variable}`)];
}

const CONNECTIONS = `
  select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as server,
    datconnlimit as database, (select rolconnlimit from pg_roles where rolname = current_user) as role,
    (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as used
  from pg_database where datname = current_database()`;

/** Whether the pool gets its connections. Through a pooler it gets the pooler's. */
export async function checkConnections(
  { db, isPooled }: InspectedDatabase,
  config: Config,
): Promise<Finding> {
  if (isPooled) return database.ok("connections", "the pooler decides how many the server gives");
  const [row] = await db.execute<Record<"server" | "database" | "role" | "used", number>>(CONNECTIONS);
  if (!row) return database.notChecked("connections", "the server does not say");
  const limits = [row.server, row.database, row.role].filter((limit) => limit >= 0);
  const room = Math.min(...limits);
  const pool = config.databasePoolSize;
  const found = `${row.used} of the server's ${row.server} are in use; this role may have ${room}, and a replica wants ${pool}`;
  if (room >= pool && row.server - row.used >= pool) return database.ok("connections", found);
  const todo = "Lower DATABASE_POOL_SIZE, or raise max_connections or the role's CONNECTION LIMIT";
  return database.warning("connections", found, todo);
}

/** A statement to prepare. It returns the id of the server process in which it runs. */
const WHERE_AM_I = "select pg_backend_pid() where $1::int = 1";
/** The error codes for a statement that another server process has prepared, and for statements after it. */
const LOST_STATEMENT = ["26000", "25P02", "42P05"];

/**
 * Whether prepared statements work. `prepared` prepares one, and uses it in a transaction while another client uses its
 * connection to the server: a pooler that shares connections between transactions gives it another one.
 */
export async function checkPooler(
  inspected: InspectedDatabase,
  prepared: Database,
  config: Config,
): Promise<Finding> {
  if (!config.databasePrepare) {
    if (inspected.isPooled)
      return database.ok("pooler", "a pooler is in between, and DATABASE_PREPARE is false");
    const todo = "Remove DATABASE_PREPARE=false, unless a pooler needs it: it makes statements slower";
    return database.warning("pooler", "no pooler refuses settings, and DATABASE_PREPARE is false", todo);
  }
  const [first] = await prepared.send(WHERE_AM_I, [1]);
  try {
    const second = await inspected.defaults.transaction(async (tx) => {
      await tx.execute("select 1");
      return (await prepared.transaction((other) => other.send(WHERE_AM_I, [1])))[0];
    });
    const isShared = inspected.isPooled || first?.[0] !== second?.[0];
    return database.ok("pooler", isShared ? "a pooler is in between, and keeps prepared statements" : "none");
  } catch (error) {
    const { code, cause } = error as { code?: string; cause?: { code?: string } };
    if (!LOST_STATEMENT.includes(cause?.code ?? code ?? ""))
      return database.notChecked("pooler", "it has too few connections to try it");
    return database.problem(
      "pooler",
      "a pooler shares connections between transactions, and loses prepared statements",
      "Set DATABASE_PREPARE=false, or max_prepared_statements above 0 in pgbouncer 1.21 or newer",
    );
  }
}
