import { and, eq, sql } from "drizzle-orm";
import { batched } from "../../db/batch.ts";
import type { Database, Executor } from "../../db/client.ts";
import { orderKey } from "../../db/order-key.ts";
import { deletedKycs, epochMillis, kycs } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";
import { type DocumentType, ORDER_NAMES, type OrderName, type VerificationStatus } from "../../vocabulary.ts";
import type { Position } from "../cursor.ts";
import type { Kyc } from "../record.ts";

/** The columns of a record. `toKyc` expects the values in this order. */
export const columns = {
  id: kycs.id,
  customerId: kycs.customerId,
  verificationStatus: kycs.verificationStatus,
  documentType: kycs.documentType,
  sealedNumber: kycs.sealedNumber,
  sealedVersion: kycs.sealedVersion,
  plainNumber: kycs.documentNumber,
  createdAt: epochMillis(kycs.createdAt).as("created_millis"),
  updatedAt: epochMillis(kycs.updatedAt).as("updated_millis"),
  statusSince: epochMillis(orderKey(kycs, "status_since")).as("status_since_millis"),
  expiresAt: epochMillis<number | null>(kycs.expiresAt).as("expires_millis"),
  relationshipEndedAt: epochMillis<number | null>(kycs.relationshipEndedAt).as("relationship_ended_millis"),
  version: kycs.version,
} satisfies Record<Exclude<keyof Kyc, "openOnce">, unknown>;
const given = sql.placeholder;
/** Selects the record `id` of `accountId`. */
export const isRecord = and(eq(kycs.accountId, given("accountId")), eq(kycs.id, given("id")));

/** The values of `columns`; a statement can read more values after them. */
export type KycRow = [
  id: string,
  customerId: string,
  verificationStatus: VerificationStatus,
  documentType: DocumentType,
  sealedNumber: string | null,
  sealedVersion: number | null,
  plainNumber: string | null,
  createdAt: number,
  updatedAt: number,
  statusSince: number,
  expiresAt: number | null,
  relationshipEndedAt: number | null,
  version: number,
  ...more: unknown[],
];

class ReadKyc implements Kyc {
  readonly id: string;
  readonly customerId: string;
  readonly verificationStatus: VerificationStatus;
  readonly documentType: DocumentType;
  readonly sealedNumber: string | null;
  readonly sealedVersion: number | null;
  readonly plainNumber: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly statusSince: number;
  readonly expiresAt: number | null;
  readonly relationshipEndedAt: number | null;
  readonly version: number;
  #number: string | undefined;

  constructor(row: KycRow) {
    this.id = row[0];
    this.customerId = row[1];
    this.verificationStatus = row[2];
    this.documentType = row[3];
    this.sealedNumber = row[4];
    this.sealedVersion = row[5];
    this.plainNumber = row[6];
    this.createdAt = row[7];
    this.updatedAt = row[8];
    this.statusSince = row[9];
    this.expiresAt = row[10];
    this.relationshipEndedAt = row[11];
    this.version = row[12];
  }

  openOnce(open: () => string): string {
    this.#number ??= open();
    return this.#number;
  }
}

export function toKyc(row: KycRow): Kyc {
  return new ReadKyc(row);
}

const selectByIds = statement(
  (db) =>
    db
      .select(columns)
      .from(kycs)
      .where(and(eq(kycs.accountId, given("accountId")), sql`${kycs.id} = any(${given("ids")}::text[])`)),
  toKyc,
);

/** The records of the account with these ids, in no particular order. */
export function findKycs(db: Executor, accountId: string, ids: string[]): Promise<Kyc[]> {
  return selectByIds(db, { accountId, ids });
}

const selectDeleted = statement(
  (db) =>
    db
      .select({ id: deletedKycs.id })
      .from(deletedKycs)
      .where(
        and(
          eq(deletedKycs.accountId, given("accountId")),
          sql`${deletedKycs.id} = any(${given("ids")}::text[])`,
        ),
      ),
  ([id]: [string]) => id,
);

/** Which of these ids the account's deleted records had. */
export function findDeleted(db: Executor, accountId: string, ids: string[]): Promise<string[]> {
  return selectDeleted(db, { accountId, ids });
}

const findOne = batched<{ accountId: string; id: string }, Kyc | undefined>(
  ({ accountId }) => accountId,
  ({ id }) => id,
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

const selectForUpdate = statement((db) => db.select(columns).from(kycs).where(isRecord).for("update"), toKyc);

const selectAllForUpdate = statement(
  (db) =>
    db
      .select(columns)
      .from(kycs)
      .where(and(eq(kycs.accountId, given("accountId")), sql`${kycs.id} = any(${given("ids")}::text[])`))
      .orderBy(kycs.id)
      .for("update"),
  toKyc,
);

/** The present records with these ids, locked in the order of their ids until the transaction ends. */
export function lockKycs(tx: Executor, accountId: string, ids: readonly string[]): Promise<Kyc[]> {
  return selectAllForUpdate(tx, { accountId, ids });
}

/** The present record, locked until the transaction ends. */
export async function lockKyc(tx: Executor, accountId: string, id: string): Promise<Kyc | undefined> {
  return (await selectForUpdate(tx, { accountId, id }))[0];
}

const selectPosition = byOrder((order) =>
  statement(
    (db) => {
      const living = db
        .select({ at: epochMillis(orderKey(kycs, order)).as("at"), id: kycs.id })
        .from(kycs)
        .where(isRecord);
      if (order !== "created_at") return living;
      const deleted = db
        .select({ at: epochMillis(deletedKycs.createdAt).as("at"), id: deletedKycs.id })
        .from(deletedKycs)
        .where(and(eq(deletedKycs.accountId, given("accountId")), eq(deletedKycs.id, given("id"))));
      return living.unionAll(deleted);
    },
    ([at, id]: [number, string]): Position => ({ at, id }),
  ),
);

function byOrder<T>(build: (order: OrderName) => T): Record<OrderName, T> {
  return Object.fromEntries(ORDER_NAMES.map((order) => [order, build(order)])) as Record<OrderName, T>;
}

/** The position of a record in the account's list in this order. Of a deleted record, only the time of creation is known. */
export async function findPosition(
  db: Executor,
  accountId: string,
  id: string,
  order: OrderName,
): Promise<Position | undefined> {
  return (await selectPosition[order](db, { accountId, id }))[0];
}
