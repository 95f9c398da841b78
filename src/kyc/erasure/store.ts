import { sql } from "drizzle-orm";
import type { Executor } from "../../db/client.ts";
import { epochMillis } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";
import { inForce } from "../holds/store.ts";

const given = sql.placeholder;
const digest = sql`decode(${given("digest")}::text, 'hex')`;

/** A record that an erasure has deleted, and the sequence of the event. */
export interface ErasedRecord {
  kycId: string;
  sequence: number;
}

/** An erasure, as its receipt needs it. */
export interface StoredErasure {
  id: string;
  /** Epoch milliseconds. */
  erasedAt: number;
  /** The sequence of its own event. */
  sequence: number;
  records: ErasedRecord[];
}

const insert = statement(
  () => sql`
    insert into erasures (account_id, id, customer_digest, erased_at, sequence, kyc_ids, sequences)
    values (${given("accountId")}, ${given("id")}, ${digest}, clock_timestamp(), ${given("sequence")}::text::bigint,
      ${given("kycIds")}::text[], ${given("sequences")}::text[]::bigint[])`,
);

/** Stores what the receipt of an erasure is made of. */
export async function insertErasure(
  tx: Executor,
  accountId: string,
  { id, sequence, records }: Omit<StoredErasure, "erasedAt">,
  customerDigest: Buffer,
): Promise<void> {
  await insert(tx, {
    ...{ accountId, id, sequence: String(sequence), digest: customerDigest.toString("hex") },
    kycIds: records.map(({ kycId }) => kycId),
    sequences: records.map((record) => String(record.sequence)),
  });
}

const selectOne = statement(
  () => sql`
    select id, ${epochMillis(sql.raw("erased_at"))}, sequence::float8, kyc_ids, sequences::text[] from erasures
    where account_id = ${given("accountId")} and id = ${given("id")}`,
  ([id, erasedAt, sequence, kycIds, sequences]: [
    string,
    number,
    number,
    string[],
    string[],
  ]): StoredErasure => ({
    ...{ id, erasedAt, sequence },
    records: kycIds.map((kycId, index) => ({ kycId, sequence: Number(sequences[index]) })),
  }),
);

/** The account's erasure with this id. */
export async function findErasure(
  db: Executor,
  accountId: string,
  id: string,
): Promise<StoredErasure | undefined> {
  return (await selectOne(db, { accountId, id }))[0];
}

const customers = sql`(
  select decode(hex, 'hex') as digest, place from unnest(${given("digests")}::text[]) with ordinality as given (hex, place)
) as customer`;
const forgetHolds = statement(
  () => sql`
    update legal_holds set customer_id = null, reason = null, release_reason = null
    where account_id = ${given("accountId")} and customer_digest in (select digest from ${customers}) and not ${inForce}`,
);
// The events of the records are found once, and not for each customer again.
const forgetReasons = statement(
  () => sql`
    select kyc_erase_reasons(${given("accountId")}, digest, case place when 1 then ${given("kycIds")}::text[] else '{}' end,
      ${given("below")}::text::bigint)
    from ${customers}`,
  () => true,
);

/**
 * Erases the texts of these customers' holds, none of which is in force, and the reasons of their events below a sequence, with
 * their salts: the hashes in the log stay, and nobody can find out what they are of. Afterwards, nobody seals events until
 * the transaction ends: it should be its last step.
 */
export async function eraseTexts(
  tx: Executor,
  accountId: string,
  customerDigests: readonly Buffer[],
  { kycIds, below }: { kycIds: readonly string[]; below: number },
): Promise<void> {
  const values = { accountId, digests: customerDigests.map((digest) => digest.toString("hex")) };
  await forgetHolds(tx, values);
  await forgetReasons(tx, { ...values, kycIds, below: String(below) });
}
