import { and, asc, eq, gt, isNotNull, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { withRetries } from "../db/retry.ts";
import { kycs } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { SealedNumber } from "./kyc.ts";

const given = sql.placeholder;
const ofAccount = eq(kycs.accountId, given("accountId"));

/** A number as it lies in its record: sealed or, from an earlier release, plain. */
export interface StoredNumber {
  id: string;
  sealedNumber: string | null;
  plainNumber: string | null;
}

const number = { id: kycs.id, sealedNumber: kycs.sealedNumber, plainNumber: kycs.documentNumber };
type NumberRow = [id: string, sealedNumber: string | null, plainNumber: string | null];
const toNumber = ([id, sealedNumber, plainNumber]: NumberRow): StoredNumber => ({
  id,
  sealedNumber,
  plainNumber,
});
const isPlain = isNotNull(kycs.documentNumber);

const selectNumbers = statement(
  (db) =>
    db
      .select(number)
      .from(kycs)
      .where(and(ofAccount, gt(kycs.id, given("after"))))
      .orderBy(asc(kycs.id))
      .limit(given("limit")),
  toNumber,
);

/** Up to `limit` numbers of the account's records behind the id, in the order of ids. */
export function findNumbers(
  db: Executor,
  accountId: string,
  after: string,
  limit: number,
): Promise<StoredNumber[]> {
  return selectNumbers(db, { accountId, after, limit });
}

const selectPlain = statement(
  (db) =>
    db
      .select(number)
      .from(kycs)
      .where(and(ofAccount, isPlain, gt(kycs.id, given("after"))))
      .orderBy(asc(kycs.id))
      .limit(given("limit")),
  toNumber,
);

/** As `findNumbers`, and only those that are plain. */
export function findPlainNumbers(
  db: Executor,
  accountId: string,
  after: string,
  limit: number,
): Promise<StoredNumber[]> {
  return selectPlain(db, { accountId, after, limit });
}

/** Whether an earlier release has left plain numbers in the account. */
export async function hasPlainNumbers(db: Executor, accountId: string): Promise<boolean> {
  return (await findPlainNumbers(db, accountId, "", 1)).length > 0;
}

const toText = ([text]: [string]) => text;

// One look into an index for each account, however many records it has.
const selectNextAccount = statement(
  (db) =>
    db
      .select({ accountId: kycs.accountId })
      .from(kycs)
      .where(gt(kycs.accountId, given("after")))
      .orderBy(asc(kycs.accountId))
      .limit(1),
  toText,
);
const selectNextPlainAccount = statement(
  (db) =>
    db
      .select({ accountId: kycs.accountId })
      .from(kycs)
      .where(and(gt(kycs.accountId, given("after")), isPlain))
      .orderBy(asc(kycs.accountId))
      .limit(1),
  toText,
);

/** The accounts that have records, or plain numbers. */
export async function* listAccounts(
  db: Executor,
  which: "all" | "with plain numbers",
): AsyncGenerator<string> {
  const next = which === "all" ? selectNextAccount : selectNextPlainAccount;
  for (let [account] = await next(db, { after: "" }); account !== undefined; ) {
    yield account;
    [account] = await next(db, { after: account });
  }
}

// Records are locked in the order of their ids: two that replace numbers at once can't wait for one another.
const replace = statement(
  () =>
    sql`
      with held as (
        select kycs.id, new.sealed_number, new.number_digest
        from unnest(${given("ids")}::text[], ${given("sealed")}::text[], ${given("digests")}::text[],
          ${given("oldSealed")}::text[], ${given("oldPlain")}::text[])
          as new(id, sealed_number, number_digest, old_sealed, old_plain)
        join kycs on kycs.account_id = ${given("accountId")} and kycs.id = new.id
          and kycs.sealed_number is not distinct from new.old_sealed
          and kycs.document_number is not distinct from new.old_plain
        order by kycs.id for update of kycs
      )
      update kycs
      set document_number = null, sealed_number = held.sealed_number, number_digest = held.number_digest
      from held where kycs.account_id = ${given("accountId")} and kycs.id = held.id
      returning kycs.id`,
  toText,
);

/**
 * Puts each number in the place of the one that it was made from; answers how many. One that has changed since, or
 * whose record is gone, stays as it is. Versions and times of records stay. Once `signal` is aborted it is not tried
 * again where it failed.
 */
export async function replaceNumbers(
  db: Executor,
  accountId: string,
  numbers: readonly { from: StoredNumber; to: SealedNumber }[],
  signal?: AbortSignal,
): Promise<number> {
  const values = {
    accountId,
    ids: numbers.map(({ from }) => from.id),
    sealed: numbers.map(({ to }) => to.sealedNumber),
    digests: numbers.map(({ to }) => to.numberDigest),
    oldSealed: numbers.map(({ from }) => from.sealedNumber),
    oldPlain: numbers.map(({ from }) => from.plainNumber),
  };
  return (await withRetries(() => replace(db, values), signal)).length;
}

const keyIdOfNumber = sql<string | null>`split_part(${kycs.sealedNumber}, '.', 1)`;

const countKeys = statement(
  (db) =>
    db
      .select({ keyId: keyIdOfNumber.as("key_id"), count: sql<number>`count(*)::float8` })
      .from(kycs)
      .where(ofAccount)
      .groupBy(sql`key_id`),
  (row: [keyId: string | null, count: number]) => row,
);

/** How many of the account's numbers each key seals; under null the plain ones. It reads all records. */
export function countNumbersByKey(
  db: Executor,
  accountId: string,
): Promise<[keyId: string | null, count: number][]> {
  return countKeys(db, { accountId });
}

const selectSealedUnder = statement(
  (db) =>
    db
      .select({ id: kycs.id })
      .from(kycs)
      .where(and(ofAccount, sql`${keyIdOfNumber} = ${given("keyId")}`))
      .limit(1),
  toText,
);

/** Whether the key seals a number of the account. It may read all records. */
export async function isAnyNumberSealedUnder(
  db: Executor,
  accountId: string,
  keyId: string,
): Promise<boolean> {
  return (await selectSealedUnder(db, { accountId, keyId })).length > 0;
}
