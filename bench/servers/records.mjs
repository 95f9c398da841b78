// The records as a server without the gateway's duties stores them: one statement for each request or field.
import { fromCursor, toNewRow } from "./shapes.mjs";

/** @typedef {import("./shapes.mjs").Row} Row */
/** @typedef {{ rows: Row[], more: boolean, previous: boolean }} Page */
/** @typedef {{ first: number, after?: string | null, filter?: { customerId?: string | null } | null }} PageInput */

/**
 * Who calls. A server without duties knows the account alone.
 * @typedef {{ viewer: { accountId: string, tokenId?: string, tokenName?: string }, requestId?: string }} Call
 */

/**
 * @typedef {object} Records
 * @property {(call: Call, id: string) => Promise<Row | undefined>} find
 * @property {(call: Call, page: PageInput) => Promise<Page>} list
 * @property {(call: Call, input: Record<string, string>) => Promise<Row>} insert enums in lower case
 * @property {(call: Call, input: Record<string, string>) => Promise<Row | undefined>} update enums in lower case
 */

/** The columns of a row. @param {string} table @param {string} number the column that is read as `document_number` */
export const columnsOf = (table, number) => `id, customer_id, verification_status, document_type,
  ${table}.${number} as document_number, round(date_part('epoch', ${table}.created_at) * 1000) as created_at,
  round(date_part('epoch', ${table}.updated_at) * 1000) as updated_at, version`;

/**
 * The reads of a table, each one statement.
 *
 * @param {import("./connect.mjs").Run} run
 * @param {string} table
 * @param {string} number as for `columnsOf`
 */
export function openReads(run, table, number) {
  const columns = columnsOf(table, number);
  const newestFirst = `order by ${table}.created_at desc, id desc limit`;
  const one = `select ${columns} from ${table} where account_id = $1 and id = $2`;
  const firstPage = `select ${columns} from ${table} where account_id = $1 ${newestFirst} $2`;
  const customerPage = `select ${columns} from ${table} where account_id = $1 and customer_id = $2 ${newestFirst} $3`;
  // Whether there are newer records before the page is read along with it, so that a page is one round trip.
  const pageAfter = `select ${columns},
      exists (select from ${table} where account_id = $1 and (created_at, id) >= ($2::timestamptz, $3)) as has_previous
    from ${table} where account_id = $1 and (${table}.created_at, id) < ($2::timestamptz, $3) ${newestFirst} $4`;
  return {
    find: async (/** @type {string} */ account, /** @type {string} */ id) =>
      (await run(one, [account, id]))[0],
    list: async (/** @type {string} */ account, /** @type {PageInput} */ { first, after, filter }) => {
      const more = first + 1;
      if (filter?.customerId)
        return toPage(await run(customerPage, [account, filter.customerId, more]), first);
      if (!after) return toPage(await run(firstPage, [account, more]), first);
      return toPage(await run(pageAfter, [account, ...fromCursor(after), more]), first);
    },
  };
}

/** @param {Row[]} rows one more than the page, if there are more @param {number} first @returns {Page} */
function toPage(rows, first) {
  const more = rows.length > first;
  if (more) rows.length = first;
  return { rows, more, previous: rows[0]?.has_previous ?? false };
}

const INSERT = `insert into plain_kycs (account_id, id, customer_id, verification_status, document_type, document_number,
  created_at, updated_at, version) values ($1, $2, $3, $4, $5, $6, $7, $7, 1)`;
const UPDATE = `update plain_kycs set verification_status = $3, document_number = $4,
  updated_at = greatest(updated_at, $5::timestamptz), version = version + 1
  where account_id = $1 and id = $2 returning ${columnsOf("plain_kycs", "document_number")}`;

/**
 * The records with their numbers in the clear, in a table that has what a server without encryption needs.
 *
 * @param {import("./connect.mjs").Run} run
 * @returns {Records}
 */
export function openRecords(run) {
  const { find, list } = openReads(run, "plain_kycs", "document_number");
  return {
    find: ({ viewer }, id) => find(viewer.accountId, id),
    list: ({ viewer }, page) => list(viewer.accountId, page),
    insert: async ({ viewer }, input) => {
      const row = toNewRow(input, Date.now());
      const { id, customer_id, verification_status, document_type, document_number, created_at } = row;
      await run(INSERT, [
        ...[viewer.accountId, id, customer_id, verification_status, document_type, document_number],
        new Date(created_at).toISOString(),
      ]);
      return row;
    },
    update: async ({ viewer }, { id, verificationStatus, documentNumber }) => {
      const now = new Date().toISOString();
      return (await run(UPDATE, [viewer.accountId, id, verificationStatus, documentNumber, now]))[0];
    },
  };
}
