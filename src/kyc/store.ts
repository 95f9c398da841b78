import { and, eq, sql } from "drizzle-orm";
import { batched } from "../db/batch.ts";
import type { Database, Executor } from "../db/client.ts";
import { deletedKycs, epochMillis, kycs, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { Position } from "./cursor.ts";
import type { Kyc } from "./kyc.ts";

/** A record as statements read it. */
export const columns = {
  id: kycs.id,
  customerId: kycs.customerId,
  verificationStatus: kycs.verificationStatus,
  documentType: kycs.documentType,
  documentNumber: kycs.documentNumber,
  createdAt: epochMillis(kycs.createdAt).as("created_millis"),
  updatedAt: epochMillis(kycs.updatedAt).as("updated_millis"),
  version: kycs.version,
};
export const given = sql.placeholder;
const isRecord = and(eq(kycs.accountId, given("accountId")), eq(kycs.id, given("id")));

const selectByIds = statement<{ accountId: string; ids: string[] }, Kyc>((db) =>
  db
    .select(columns)
    .from(kycs)
    .where(and(eq(kycs.accountId, given("accountId")), sql`${kycs.id} = any(${given("ids")}::text[])`))
    .prepare("find_kycs"),
);

/** Those of the records that the account has, in no order. */
export function findKycs(db: Executor, accountId: string, ids: string[]): Promise<Kyc[]> {
  return selectByIds(db, { accountId, ids });
}

const findOne = batched<{ accountId: string; id: string }, Kyc | undefined>(
  ({ accountId }) => accountId,
  async (db, keys) => {
    const ids = keys.map(({ id }) => id);
    const found = await selectByIds(db, { accountId: keys[0].accountId, ids });
    const byId = new Map(found.map((kyc) => [kyc.id, kyc]));
    return ids.map((id) => byId.get(id));
  },
);

/** The record, if the account has it. */
export function findKyc(db: Database, accountId: string, id: string): Promise<Kyc | undefined> {
  return findOne(db, { accountId, id });
}

const selectForUpdate = statement<{ accountId: string; id: string }, Kyc>((db) =>
  db.select(columns).from(kycs).where(isRecord).for("update").prepare("lock_kyc"),
);

/** The record as it stands now, locked until the transaction ends. */
export async function lockKyc(tx: Executor, accountId: string, id: string): Promise<Kyc | undefined> {
  return (await selectForUpdate(tx, { accountId, id }))[0];
}

const insert = statement((db) =>
  db
    .insert(kycs)
    .values({
      accountId: given("accountId"),
      id: given("id"),
      customerId: given("customerId"),
      verificationStatus: given("verificationStatus"),
      documentType: given("documentType"),
      documentNumber: given("documentNumber"),
      createdAt: given("createdAt"),
      updatedAt: given("updatedAt"),
      version: given("version"),
    })
    .prepare("insert_kyc"),
);

/** Fails with SQLSTATE 23505 where the account has a record with this id already. */
export async function insertKyc(db: Executor, accountId: string, kyc: Kyc): Promise<void> {
  await insert(db, { accountId, ...kyc, ...stamps(kyc) });
}

const update = statement((db) =>
  db
    .update(kycs)
    .set({
      verificationStatus: sql`${given("verificationStatus")}`,
      documentType: sql`${given("documentType")}`,
      documentNumber: sql`${given("documentNumber")}`,
      updatedAt: sql`${given("updatedAt")}`,
      version: sql`${given("version")}`,
    })
    .where(isRecord)
    .prepare("update_kyc"),
);

/** Writes what can change of a record that the transaction holds locked. */
export async function updateKyc(tx: Executor, accountId: string, kyc: Kyc): Promise<void> {
  await update(tx, { accountId, ...kyc, ...stamps(kyc) });
}

const remove = statement((db) => db.delete(kycs).where(isRecord).prepare("delete_kyc"));
const insertDeleted = statement((db) =>
  db
    .insert(deletedKycs)
    .values({ accountId: given("accountId"), id: given("id"), createdAt: given("createdAt") })
    .prepare("insert_deleted_kyc"),
);

/** Removes the record, and keeps its place in the list. */
export async function deleteKyc(tx: Executor, accountId: string, kyc: Kyc): Promise<void> {
  await remove(tx, { accountId, id: kyc.id });
  await insertDeleted(tx, { accountId, id: kyc.id, createdAt: toTimestamptz(kyc.createdAt) });
}

const selectPosition = statement<{ accountId: string; id: string }, Position>((db) => {
  const living = db
    .select({ id: kycs.id, createdAt: epochMillis(kycs.createdAt).as("created_at") })
    .from(kycs)
    .where(isRecord);
  const deleted = db
    .select({ id: deletedKycs.id, createdAt: epochMillis(deletedKycs.createdAt).as("created_at") })
    .from(deletedKycs)
    .where(and(eq(deletedKycs.accountId, given("accountId")), eq(deletedKycs.id, given("id"))));
  return living.unionAll(deleted).prepare("find_position");
});

/** Where the record stands, or stood before it was deleted, in the account's list. */
export async function findPosition(
  db: Executor,
  accountId: string,
  id: string,
): Promise<Position | undefined> {
  return (await selectPosition(db, { accountId, id }))[0];
}

function stamps(kyc: Kyc): { createdAt: string; updatedAt: string } {
  return { createdAt: toTimestamptz(kyc.createdAt), updatedAt: toTimestamptz(kyc.updatedAt) };
}
