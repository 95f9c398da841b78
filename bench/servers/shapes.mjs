// A record as the tables, GraphQL and REST show it, and how its ids and cursors are made.
import { randomInt } from "node:crypto";

/**
 * A row as the statements give it.
 * @typedef {{ id: string, customer_id: string, verification_status: string, document_type: string,
 *   document_number: string, created_at: number, updated_at: number, version: number, has_previous?: boolean }} Row
 */

/** @param {{ created_at: number, id: string }} row */
export function toCursor({ created_at, id }) {
  return Buffer.from(`${created_at}:${id}`, "latin1").toString("base64url");
}

/** @param {string} cursor */
export function fromCursor(cursor) {
  const [millis, id] = Buffer.from(cursor, "base64url").toString("latin1").split(":");
  return [new Date(Number(millis)).toISOString(), String(id)];
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** An id that sorts by its time and can't be guessed, as the gateway makes them. @param {number} now */
export function newId(now) {
  let time = "";
  for (let rest = now, i = 0; i < 7; i++, rest = Math.floor(rest / 62)) time = ALPHABET[rest % 62] + time;
  let random = "";
  for (let i = 0; i < 9; i++) random += ALPHABET[randomInt(62)];
  return time + random;
}

/** The row of a record that is created now. @param {Record<string, string>} input @param {number} now @returns {Row} */
export function toNewRow({ customerId, verificationStatus, documentType, documentNumber }, now) {
  return /** @type {Row} */ ({
    id: newId(now),
    customer_id: customerId,
    verification_status: verificationStatus,
    document_type: documentType,
    document_number: documentNumber,
    created_at: now,
    updated_at: now,
    version: 1,
  });
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

/** The page as a Relay connection. @param {import("./records.mjs").Page} page */
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

/** The record as REST shows it. @param {Row} row */
export function toRest(row) {
  return {
    id: row.id,
    customer_id: row.customer_id,
    verification_status: row.verification_status,
    document_type: row.document_type,
    document_number: row.document_number,
    created_at: Math.floor(row.created_at / 1000),
    updated_at: Math.floor(row.updated_at / 1000),
  };
}
