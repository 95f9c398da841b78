// What both references know of the table: its statements, one for each request or field, and the shapes of a record.
import { randomInt } from "node:crypto";
import { once } from "node:events";
import postgres from "postgres";

// The references know no keys: their table is the gateway's as it was without encryption, with the same records.
const COLUMNS = `id, customer_id, verification_status, document_type, document_number,
  (extract(epoch from created_at) * 1000)::float8 as created_at,
  (extract(epoch from updated_at) * 1000)::float8 as updated_at, version`;

const FIND = `select ${COLUMNS} from plain_kycs where account_id = $1 and id = $2`;
const FIRST_PAGE = `select ${COLUMNS} from plain_kycs where account_id = $1 order by plain_kycs.created_at desc, id desc limit $2`;
const CUSTOMER_PAGE = `select ${COLUMNS} from plain_kycs where account_id = $1 and customer_id = $2
  order by plain_kycs.created_at desc, id desc limit $3`;
// Whether newer records stand before the page is read along with it, so that a page is one round trip.
const PAGE_AFTER = `select ${COLUMNS},
    exists (select from plain_kycs where account_id = $1 and (created_at, id) >= ($2::timestamptz, $3)) as has_previous
  from plain_kycs where account_id = $1 and (plain_kycs.created_at, id) < ($2::timestamptz, $3)
  order by plain_kycs.created_at desc, id desc limit $4`;
const INSERT = `insert into plain_kycs (account_id, id, customer_id, verification_status, document_type, document_number,
  created_at, updated_at, version) values ($1, $2, $3, $4, $5, $6, $7, $7, 1)`;
const UPDATE = `update plain_kycs set verification_status = $3, document_number = $4,
  updated_at = greatest(updated_at, $5::timestamptz), version = version + 1
  where account_id = $1 and id = $2 returning ${COLUMNS}`;

/**
 * A row as the statements give it.
 * @typedef {{ id: string, customer_id: string, verification_status: string, document_type: string,
 *   document_number: string, created_at: number, updated_at: number, version: number, has_previous?: boolean }} Row
 */

/** The statements on the records of one account, each prepared and sent once a call. */
export function openRecords() {
  const { DATABASE_URL, DATABASE_POOL_SIZE, ACCOUNT } = process.env;
  const account = String(ACCOUNT);
  const sql = postgres(String(DATABASE_URL), { max: Number(DATABASE_POOL_SIZE), fetch_types: false });
  const run = (/** @type {string} */ text, /** @type {any[]} */ values) =>
    /** @type {Promise<Row[]>} */ (/** @type {unknown} */ (sql.unsafe(text, values, { prepare: true })));
  return {
    find: async (/** @type {string} */ id) => (await run(FIND, [account, id]))[0],
    /** @param {{ first: number, after?: string | null, filter?: { customerId?: string | null } | null }} page */
    list: async ({ first, after, filter }) => {
      if (filter?.customerId) {
        return toPage(await run(CUSTOMER_PAGE, [account, filter.customerId, first + 1]), first);
      }
      if (!after) return toPage(await run(FIRST_PAGE, [account, first + 1]), first);
      const [createdAt, id] = fromCursor(after);
      return toPage(await run(PAGE_AFTER, [account, createdAt, id, first + 1]), first);
    },
    /** @param {Record<string, string>} input enums in lower case */
    insert: async ({ customerId, verificationStatus, documentType, documentNumber }) => {
      const now = Date.now();
      const id = newId(now);
      const stamp = new Date(now).toISOString();
      await run(INSERT, [account, id, customerId, verificationStatus, documentType, documentNumber, stamp]);
      return /** @type {Row} */ ({
        id,
        customer_id: customerId,
        verification_status: verificationStatus,
        document_type: documentType,
        document_number: documentNumber,
        created_at: now,
        updated_at: now,
        version: 1,
      });
    },
    /** @param {Record<string, string>} input enums in lower case */
    update: async ({ id, verificationStatus, documentNumber }) => {
      const stamp = new Date().toISOString();
      return (await run(UPDATE, [account, id, verificationStatus, documentNumber, stamp]))[0];
    },
  };
}

/** @param {Row[]} rows @param {number} first */
function toPage(rows, first) {
  const more = rows.length > first;
  if (more) rows.length = first;
  return { rows, more, previous: rows[0]?.has_previous ?? false };
}

/** @param {{ created_at: number, id: string }} row */
export function toCursor({ created_at, id }) {
  return Buffer.from(`${created_at}:${id}`, "latin1").toString("base64url");
}

/** @param {string} cursor */
function fromCursor(cursor) {
  const [millis, id] = Buffer.from(cursor, "base64url").toString("latin1").split(":");
  return [new Date(Number(millis)).toISOString(), String(id)];
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** An id that sorts by its time and can't be guessed, as the gateway makes them. @param {number} now */
function newId(now) {
  let time = "";
  for (let rest = now, i = 0; i < 7; i++, rest = Math.floor(rest / 62)) time = ALPHABET[rest % 62] + time;
  let random = "";
  for (let i = 0; i < 9; i++) random += ALPHABET[randomInt(62)];
  return time + random;
}

/** The record as GraphQL shows it. @param {Row} row */
export function toGraphql(row) {
  return {
    id: row.id,
    customerId: row.customer_id,
    verificationStatus: row.verification_status.toUpperCase(),
    documentType: row.document_type.toUpperCase(),
    documentNumber: row.document_number,
    createdAt: new Date(row.created_at).toISOString(),
    updatedAt: new Date(row.updated_at).toISOString(),
    version: row.version,
  };
}

/** The page as a Relay connection. @param {{ rows: Row[], more: boolean, previous: boolean }} page */
export function toConnection({ rows, more, previous }) {
  const edges = rows.map((row) => ({ cursor: toCursor(row), node: toGraphql(row) }));
  return {
    edges,
    pageInfo: {
      hasNextPage: more,
      hasPreviousPage: previous,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}

/** The input of a mutation with its enums as the table spells them. @param {Record<string, string>} input */
export function fromGraphql(input) {
  return /** @type {Record<string, string>} */ ({
    ...input,
    verificationStatus: input.verificationStatus?.toLowerCase(),
    documentType: input.documentType?.toLowerCase(),
  });
}

/** Says on stdout where the server listens, which the bench reads. @param {import("node:http").Server} server */
export async function announce(server) {
  if (!server.listening) await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`http://127.0.0.1:${port}`);
}
