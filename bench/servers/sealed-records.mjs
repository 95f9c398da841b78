// The records with the gateway's duties towards them: numbers are sealed, and each change is written together with its
// audit event in one statement.
import { columnsOf, openReads } from "./records.mjs";
import { openSeal } from "./seal.mjs";
import { toNewRow } from "./shapes.mjs";

// The event names the token and the request; the second table finds the events of a record.
const EVENT = "account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields";
const CONCERNED = `concerned as (
  insert into audit_event_records (account_id, kyc_id, sequence) select $1, $2, sequence from event)`;

const INSERT = `with event as (
    insert into audit_events (${EVENT}, status_after)
    values ($1, $8, $9, $10, 'graphql', $11, 'created', array[$2], '{}', $4) returning sequence
  ), ${CONCERNED}
  insert into kycs (account_id, id, customer_id, verification_status, document_type, sealed_number, number_digest,
    created_at, updated_at, version, sealed_version) values ($1, $2, $3, $4, $5, $6, $7, $8, $8, 1, 1)`;

const TRIES = 20;
const VERSION = "select version from kycs where account_id = $1 and id = $2";

// The digest tells whether the number is another one, so it need not be opened for that.
const UPDATE = `with stored as (
    select verification_status as status_before, number_digest as digest_before from kycs
    where account_id = $1 and id = $2 and version = $10 for update
  ), changed as (
    update kycs set verification_status = $3, sealed_number = $4, number_digest = $5,
      updated_at = greatest(updated_at, $6::timestamptz), version = version + 1, sealed_version = version + 1
    from stored where account_id = $1 and id = $2 returning kycs.*
  ), event as (
    insert into audit_events (${EVENT}, status_before, status_after)
    select $1, $6, $7, $8, 'graphql', $9, 'updated', array[$2], array_remove(array[
      case when status_before <> $3 then 'verificationStatus' end,
      case when digest_before <> $5 then 'documentNumber' end], null), status_before, $3
    from stored returning sequence
  ), ${CONCERNED}
  select ${columnsOf("changed", "sealed_number")} from changed`;

/**
 * The gateway's own table, read and written as the gateway does.
 *
 * @param {import("./connect.mjs").Run} run
 * @returns {import("./records.mjs").Records}
 */
export function openSealedRecords(run) {
  const { seal, unseal, digest } = openSeal(String(process.env.ENCRYPTION_KEYS));
  const { find, list } = openReads(run, "kycs", "sealed_number");
  const opened = (/** @type {string} */ account, /** @type {import("./shapes.mjs").Row} */ row) => {
    row.document_number = unseal(row.document_number, account, row);
    return row;
  };
  return {
    find: async ({ viewer: { accountId } }, id) => {
      const row = await find(accountId, id);
      return row && opened(accountId, row);
    },
    list: async ({ viewer: { accountId } }, page) => {
      const found = await list(accountId, page);
      for (const row of found.rows) opened(accountId, row);
      return found;
    },
    insert: async ({ viewer: { accountId, tokenId, tokenName }, requestId }, input) => {
      const row = toNewRow(input, Date.now());
      const { id, customer_id, verification_status, document_type, document_number, created_at } = row;
      await run(INSERT, [
        ...[accountId, id, customer_id, verification_status, document_type],
        ...[seal(document_number, accountId, row), digest(document_number, accountId)],
        ...[new Date(created_at).toISOString(), tokenId, tokenName, requestId],
      ]);
      return row;
    },
    update: async ({ viewer: { accountId, tokenId, tokenName }, requestId }, input) => {
      const { id, verificationStatus, documentNumber } = /** @type {Record<string, any>} */ (input);
      let row;
      // A number is sealed for the version that it becomes part of: that has to be known first, and can have changed.
      for (let tries = 0; tries < TRIES && !row; tries++) {
        const [stored] = await run(VERSION, [accountId, id]);
        if (!stored) return undefined;
        const next = { id, version: stored.version + 1 };
        [row] = await run(UPDATE, [
          ...[accountId, id, verificationStatus],
          ...[seal(documentNumber, accountId, next), digest(documentNumber, accountId)],
          ...[new Date().toISOString(), tokenId, tokenName, requestId, stored.version],
        ]);
      }
      // We already have the number: it need not be opened.
      if (row) row.document_number = documentNumber;
      return row;
    },
  };
}
