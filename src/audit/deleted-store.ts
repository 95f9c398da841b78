import { sql } from "drizzle-orm";
import { batched } from "../db/batch.ts";
import type { Database } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import type { DocumentType } from "../vocabulary.ts";

const given = sql.placeholder;

/** The values of a deleted record that the trail keeps. */
interface DeletedKyc {
  id: string;
  /** Of its deletion. */
  sequence: number;
  /** The last kind of document that an event states; null if none does, as those of release 0.2. */
  documentType: DocumentType | null;
}

const changesOf = sql`
  audit_events event where event.account_id = ${given("accountId")} and event.kyc_ids[1] = wanted.id
    and event.action <> 'read' and event.other_action is null`;

const selectDeleted = statement(
  () => sql`
    select wanted.id, deletion.sequence::float8,
      (select document_type_after from ${changesOf} and document_type_after is not null
        order by event.sequence desc limit 1)
    from unnest(${given("ids")}::text[]) as wanted(id) cross join lateral (
      select event.sequence from ${changesOf} and event.action = 'deleted' order by event.sequence desc limit 1
    ) as deletion`,
  ([id, sequence, documentType]: [string, number, DocumentType | null]): DeletedKyc => ({
    ...{ id, sequence, documentType },
  }),
);

const findOne = batched<{ accountId: string; id: string }, DeletedKyc | undefined>(
  ({ accountId }) => accountId,
  ({ id }) => id,
  async (db, keys) => {
    const ids = keys.map(({ id }) => id);
    const found = await selectDeleted(db, { accountId: keys[0].accountId, ids });
    const byId = new Map(found.map((deleted) => [deleted.id, deleted]));
    return ids.map((id) => byId.get(id));
  },
);

/** Returns the values that the trail keeps of the record, if the account has deleted it. */
export function findDeletedKyc(db: Database, accountId: string, id: string): Promise<DeletedKyc | undefined> {
  return findOne(db, { accountId, id });
}

interface CustomerOfEvent {
  accountId: string;
  sequence: number;
  digest: Buffer;
}

const selectCustomers = statement(
  () => sql`
    select customer.sequence || ' ' || encode(customer_digest, 'hex')
    from audit_event_customers customer
      join unnest(${given("sequences")}::bigint[], ${given("digests")}::text[]) as wanted(sequence, digest)
        on customer.sequence = wanted.sequence and customer_digest = decode(wanted.digest, 'hex')
    where account_id = ${given("accountId")}`,
  ([question]: [string]) => question,
);

const toQuestion = ({ sequence, digest }: CustomerOfEvent) => `${sequence} ${digest.toString("hex")}`;

const isOne = batched<CustomerOfEvent, boolean>(
  ({ accountId }) => accountId,
  toQuestion,
  async (db, keys) => {
    const found = await selectCustomers(db, {
      accountId: keys[0].accountId,
      sequences: keys.map(({ sequence }) => String(sequence)),
      digests: keys.map(({ digest }) => digest.toString("hex")),
    });
    const known = new Set(found);
    return keys.map((key) => known.has(toQuestion(key)));
  },
);

/** Whether the event is about a record of the customer with this digest. */
export function isEventOfCustomer(db: Database, event: CustomerOfEvent): Promise<boolean> {
  return isOne(db, event);
}
