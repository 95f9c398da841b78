// The records that are measured on: the same on every machine, made once for each number of them and kept.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgres from "postgres";
import { openSealer, runGateway } from "./gateway.mjs";

const ACCOUNTS = 10;
const RECORDS_OF_A_CUSTOMER = 20;
/** The account whose token the load carries. */
export const ACCOUNT = "account-0";

const START = Date.UTC(2025, 0, 1);
/** Every seeded record is older, and every record that a measurement creates is newer. */
export const END = Date.UTC(2026, 0, 1);

const STATUSES = ["pending", "in_review", "verified", "failed", "expired"];
const DOCUMENT_TYPES = ["passport", "drivers_license", "id_card", "residence_permit", "visa", "other"];
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROWS_OF_A_CHUNK = 2000;
/** Imports and queues write several records in one millisecond, so pages must cut through ties. */
const LONGEST_TIE = 100;

/**
 * Returns a fresh copy of a migrated database with `count` records. A measurement writes only to the copy.
 *
 * @param {string} server a superuser's URL
 * @param {number} count
 * @param {(line: string) => void} say
 * @returns {Promise<string>} the copy's URL
 */
export async function copySeeded(server, count, say) {
  const seeded = `kyc_bench_${count}_${fingerprint()}`;
  const copy = `kyc_bench_copy_${count}`;
  const admin = postgres(server, { max: 1, onnotice: () => {} });
  try {
    const known = await admin`select datname as name from pg_database where datname like 'kyc_bench_%'`;
    if (!known.some(({ name }) => name === seeded)) {
      for (const { name } of known) {
        // Of the same number, but of another release: nothing will ask for it again.
        if (name.startsWith(`kyc_bench_${count}_`)) await admin.unsafe(`drop database ${name} with (force)`);
      }
      say(`making ${count.toLocaleString("en")} records, once …`);
      await make(admin, server, seeded, count);
    }
    await admin.unsafe(`drop database if exists ${copy} with (force)`);
    await admin.unsafe(`create database ${copy} template ${seeded} strategy file_copy`);
  } finally {
    await admin.end({ timeout: 5 });
  }
  return withDatabase(server, copy);
}

/** Drops the copy. @param {string} server @param {string} copy its URL */
export async function dropCopy(server, copy) {
  const admin = postgres(server, { max: 1, onnotice: () => {} });
  await admin.unsafe(`drop database if exists ${new URL(copy).pathname.slice(1)} with (force)`);
  await admin.end({ timeout: 5 });
}

/** The files that the records depend on: this one, the tables, and the code that seals numbers. */
function fingerprint() {
  const hash = createHash("sha256").update(readFileSync(new URL(import.meta.url)));
  const source = new URL("../src/", import.meta.url);
  for (const name of ["cipher.ts", "keyring.ts"]) {
    hash.update(readFileSync(new URL(`sealing/${name}`, source)));
  }
  const migrations = new URL("db/migrations/", source);
  for (const name of readdirSync(migrations).sort()) {
    if (name.endsWith(".sql")) hash.update(readFileSync(new URL(name, migrations)));
  }
  return hash.digest("hex").slice(0, 8);
}

/** @param {string} server @param {string} database */
function withDatabase(server, database) {
  const url = new URL(server);
  url.pathname = database;
  return url.href;
}

/**
 * The database is renamed last: if it exists, it is complete, even after an interrupted run.
 *
 * @param {postgres.Sql} admin
 * @param {string} server
 * @param {string} name
 * @param {number} count
 */
async function make(admin, server, name, count) {
  const unfinished = "kyc_bench_unfinished";
  await admin.unsafe(`drop database if exists ${unfinished} with (force)`);
  await admin.unsafe(`create database ${unfinished}`);
  const url = withDatabase(server, unfinished);
  await runGateway(["migrate"], url);
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await fill(sql, count);
  } finally {
    await sql.end({ timeout: 5 });
  }
  await admin.unsafe(`alter database ${unfinished} rename to ${name}`);
}

/** @param {postgres.Sql} sql @param {number} count */
async function fill(sql, count) {
  // Building an index over existing rows takes a fraction of the time of growing it, and the index is denser.
  const indexes = await sql`
    select indexname as name, indexdef as definition from pg_indexes
    where tablename = 'kycs' and indexname not in (select conname from pg_constraint)`;
  for (const { name } of indexes) await sql.unsafe(`drop index ${name}`);
  // The references' own: what a server that does not encrypt would have, and no index more.
  await sql.unsafe(`
    create table plain_kycs (like kycs including defaults, primary key (account_id, id));
    alter table plain_kycs drop column sealed_number, drop column sealed_version, drop column number_digest,
      alter column document_number set not null`);
  const seal = await openSealer();
  const sealed = await sql`
    copy kycs (account_id, id, customer_id, verification_status, document_type, sealed_number, sealed_version,
      number_digest, created_at, updated_at, version) from stdin`.writable();
  const toSealed = (
    /** @type {string} */ account,
    /** @type {string} */ id,
    /** @type {string} */ number,
  ) => {
    const { sealedNumber, numberDigest } = seal(account, id, number);
    return `${sealedNumber}\t1\t${numberDigest}`;
  };
  await pipeline(Readable.from(rows(count, toSealed)), sealed);
  const plain = await sql`
    copy plain_kycs (account_id, id, customer_id, verification_status, document_type, document_number,
      created_at, updated_at, version) from stdin`.writable();
  await pipeline(Readable.from(rows(count, (_account, _id, number) => number)), plain);
  for (const { name, definition } of indexes) {
    await sql.unsafe(definition);
    if (!name.includes("number")) await sql.unsafe(definition.replaceAll("kycs", "plain_kycs"));
  }
  await sql.unsafe("vacuum (freeze, analyze)");
  await sql.unsafe("checkpoint");
}

/**
 * Yields the rows in the format of COPY, oldest first, some thousand at a time. They are the same in each run.
 *
 * @param {number} count
 * @param {(account: string, id: string, number: string) => string} toNumber the stored form of the number
 */
function* rows(count, toNumber) {
  const random = createRandom(count);
  const below = (/** @type {number} */ limit) => Math.floor(random() * limit);
  const customers = Math.max(1, Math.round(count / ACCOUNTS / RECORDS_OF_A_CUSTOMER));
  const step = ((END - START) / count) * ((LONGEST_TIE + 1) / 2);
  let time = START;
  let tie = 0;
  for (let done = 0; done < count; ) {
    let chunk = "";
    for (let i = 0; i < ROWS_OF_A_CHUNK && done < count; i++, done++) {
      if (tie-- === 0) {
        tie = below(LONGEST_TIE);
        time = Math.min(END - 1, time + 1 + below(2 * step));
      }
      const stamp = new Date(time).toISOString();
      const customer = `customer-${String(below(customers)).padStart(6, "0")}`;
      const number = String(100_000_000 + below(900_000_000));
      const account = `account-${below(ACCOUNTS)}`;
      const id = makeId(time, below);
      chunk += `${account}\t${id}\t${customer}\t${STATUSES[below(5)]}\t${DOCUMENT_TYPES[below(6)]}\t${toNumber(account, id, number)}\t${stamp}\t${stamp}\t1\n`;
    }
    yield chunk;
  }
}

/** @param {number} time @param {(limit: number) => number} below */
function makeId(time, below) {
  let id = "";
  for (let rest = time, i = 0; i < 7; i++, rest = Math.floor(rest / 62)) id = ALPHABET[rest % 62] + id;
  for (let i = 0; i < 9; i++) id += ALPHABET[below(62)];
  return id;
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). @param {number} seed */
function createRandom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
