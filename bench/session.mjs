// A copy of the seeded database, with all that asking about it takes: a token, and the ids that exist.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { openSealer, runGateway } from "./gateway.mjs";
import { ACCOUNT, copySeeded, dropCopy, END } from "./seed.mjs";
import { toCursor } from "./servers/shapes.mjs";

const CURSOR_DEPTH = 50_000;
const CURSORS = 1000;
/** The gateway's, and the references'. */
const TABLES = ["kycs", "plain_kycs"];
/** The number that an update writes. */
const NUMBER = "100000000";

/**
 * @typedef {object} Session
 * @property {string} database its URL
 * @property {number} records
 * @property {string} token
 * @property {string} folder for scripts and logs
 * @property {{ id: string[], customer: string[], cursor: string[] }} samples
 * @property {{ id: string, customer: string, cursor: string }} files the samples, one a line
 * @property {() => Promise<{ created: number, events: number }>} clean undoes what a measurement wrote, and returns how
 *   many records and events it left
 * @property {() => Promise<void>} close
 */

/**
 * @param {string} server a superuser's URL
 * @param {{ records: number, folder: string, say: (line: string) => void }} options
 * @returns {Promise<Session>}
 */
export async function openSession(server, { records, folder, say }) {
  const database = await copySeeded(server, records, say);
  await runGateway(["migrate"], database);
  const token = await runGateway(
    ["token", "create", "--account", ACCOUNT, "--name", "bench", "--scopes", "kyc:read,kyc:write,kyc:pii"],
    database,
  );
  const home = join(folder, String(records));
  mkdirSync(home, { recursive: true });
  const sql = postgres(database, { max: 1, onnotice: () => {} });
  const samples = await readSamples(sql);
  const files = { id: join(home, "ids"), customer: join(home, "customers"), cursor: join(home, "cursors") };
  for (const name of /** @type {const} */ (["id", "customer", "cursor"])) {
    writeFileSync(files[name], samples[name].join("\n"));
  }
  return {
    ...{ database, records, token, folder: home, samples, files },
    clean: () => clean(sql),
    close: async () => {
      await sql.end({ timeout: 5 });
      await dropCopy(server, database);
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** @param {postgres.Sql} sql */
async function readSamples(sql) {
  const ids = await sql`select id from kycs where account_id = ${ACCOUNT}`;
  const customers = await sql`select distinct customer_id from kycs where account_id = ${ACCOUNT}`;
  // Several cursors about the depth, so that no cache can answer for all of them.
  const depth = Math.min(CURSOR_DEPTH, Math.floor(ids.length / 2));
  const deep = await sql`
    select id, (extract(epoch from kycs.created_at) * 1000)::float8 as created_at
    from kycs where account_id = ${ACCOUNT}
    order by kycs.created_at desc, id desc offset ${depth} limit ${Math.min(CURSORS, Math.ceil(depth / 4))}`;
  return {
    id: ids.map((row) => row.id),
    customer: customers.map((row) => row.customer_id),
    cursor: deep.map((row) => toCursor(/** @type {{ id: string, created_at: number }} */ (row))),
  };
}

/** @param {postgres.Sql} sql */
async function clean(sql) {
  // Requests that were in progress when the load ended are still being answered.
  await wait(200);
  await undoUpdates(sql);
  let created = 0;
  for (const table of TABLES) {
    const { count } = await sql`
      delete from ${sql(table)} where account_id = ${ACCOUNT} and created_at >= ${new Date(END)}`;
    created += count;
    // Left to itself, VACUUM may skip the indexes, and the first page would step over every record that was there.
    await sql.unsafe(`vacuum (analyze, index_cleanup on) ${table}`);
  }
  const [left] = await sql`select count(*)::int as events from audit_events`;
  await sql.unsafe("truncate audit_events, audit_event_records");
  await sql.unsafe("checkpoint");
  return { created, events: Number(left?.events) };
}

/** Makes the changed rows of both tables equal again, though not to their first values. @param {postgres.Sql} sql */
async function undoUpdates(sql) {
  const changed = await sql`
    select id from kycs where account_id = ${ACCOUNT} and version > 1 and created_at < ${new Date(END)}
    union select id from plain_kycs where account_id = ${ACCOUNT} and version > 1 and created_at < ${new Date(END)}`;
  const ids = changed.map(({ id }) => String(id));
  if (ids.length === 0) return;
  const seal = await openSealer();
  const numbers = ids.map((id) => seal(ACCOUNT, id, NUMBER));
  const same = sql`verification_status = 'pending', updated_at = created_at, version = 1`;
  await sql`
    update kycs set ${same}, sealed_version = 1, sealed_number = new.sealed, number_digest = new.digest
    from unnest(${ids}::text[], ${numbers.map(({ sealedNumber }) => sealedNumber)}::text[],
      ${numbers.map(({ numberDigest }) => numberDigest)}::text[]) as new(id, sealed, digest)
    where account_id = ${ACCOUNT} and kycs.id = new.id`;
  await sql`
    update plain_kycs set ${same}, document_number = ${NUMBER}
    where account_id = ${ACCOUNT} and id = any(${ids}::text[])`;
}
