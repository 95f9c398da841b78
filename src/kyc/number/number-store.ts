import { and, asc, eq, gt, isNotNull, sql } from "drizzle-orm";
import type { Executor } from "../../db/client.ts";
import { withRetries } from "../../db/retry.ts";
import { kycs } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";
import type { Kyc, SealedNumber } from "../record.ts";

const given = sql.placeholder;
const ofAccount = eq(kycs.accountId, given("accountId"));

/** A stored number: sealed or, if an earlier release stored it, plain. */
export type StoredNumber = Pick<Kyc, "id" | "version" | "sealedNumber" | "sealedVersion" | "plainNumber">;

const number = {
  id: kycs.id,
  version: kycs.version,
  sealedNumber: kycs.sealedNumber,
  sealedVersion: kycs.sealedVersion,
  plainNumber: kycs.documentNumber,
};
type NumberRow = [
  id: string,
  version: number,
  sealedNumber: string | null,
  sealedVersion: number | null,
  plainNumber: string | null,
];
const toNumber = ([id, version, sealedNumber, sealedVersion, plainNumber]: NumberRow): StoredNumber => ({
  ...{ id, version, sealedNumber, sealedVersion, plainNumber },
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

/** Up to `limit` numbers of the account's records after the id, in the order of ids. */
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

/** As `findNumbers`, but only plain numbers. */
export function findPlainNumbers(
  db: Executor,
  accountId: string,
  after: string,
  limit: number,
): Promise<StoredNumber[]> {
  return selectPlain(db, { accountId, after, limit });
}

const toText = ([text]: [string]) => text;

// It is one index look-up for each account, regardless of its number of records.
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

/** The accounts that have records, or that have plain numbers. */
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

// Records are locked in the order of their ids, so that concurrent replacements can't deadlock.
const replace = statement(
  () =>
    sql`
      with held as (
        select kycs.id, new.sealed_number, new.sealed_version, new.number_digest
        from unnest(${given("ids")}::text[], ${given("versions")}::int[], ${given("sealed")}::text[],
          ${given("sealedVersions")}::int[], ${given("digests")}::text[], ${given("oldSealed")}::text[],
          ${given("oldPlain")}::text[])
          as new(id, version, sealed_number, sealed_version, number_digest, old_sealed, old_plain)
        join kycs on kycs.account_id = ${given("accountId")} and kycs.id = new.id and kycs.version = new.version
          and kycs.sealed_number is not distinct from new.old_sealed
          and kycs.document_number is not distinct from new.old_plain
        order by kycs.id for update of kycs
      )
      update kycs
      set document_number = null, sealed_number = held.sealed_number, sealed_version = held.sealed_version,
        number_digest = held.number_digest
      from held where kycs.account_id = ${given("accountId")} and kycs.id = held.id
      returning kycs.id`,
  toText,
);

/**
 * Replaces stored numbers and returns how many. A number stays as it is if it has changed since it was read, or if its record
 * has another version or was deleted. Versions and times of records don't change. After `signal` is aborted, a failed attempt
 * is not repeated.
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
    versions: numbers.map(({ from }) => from.version),
    sealed: numbers.map(({ to }) => to.sealedNumber),
    sealedVersions: numbers.map(({ to }) => to.sealedVersion),
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

/** How many of the account's numbers each key seals; null counts plain numbers. It reads all records. */
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

/** Whether the key seals a number of the account. It can read all records. */
export async function isAnyNumberSealedUnder(
  db: Executor,
  accountId: string,
  keyId: string,
): Promise<boolean> {
  return (await selectSealedUnder(db, { accountId, keyId })).length > 0;
}

const selectOwnership = statement(
  () => sql`select pg_has_role(relowner, 'usage') from pg_class where oid = 'kycs'::regclass`,
  ([owns]: [boolean]) => owns,
);

/** Whether this role owns the table of records, and so can alter it. */
export async function ownsRecords(db: Executor): Promise<boolean> {
  return (await selectOwnership(db, {}))[0] === true;
}

const BOUND = "kycs_number_is_bound";

/**
 * When the transaction is committed, the table refuses sealed numbers that are bound to no version, as releases up to 0.2
 * write them. Existing numbers stay. Other statements wait for two seconds at most. The role must own the table. Fails if
 * another transaction keeps it locked.
 */
export async function refuseUnboundNumbers(tx: Executor): Promise<void> {
  const known = "select 1 from pg_constraint where conname = $1 and conrelid = 'kycs'::regclass";
  if ((await tx.execute(known, [BOUND])).length > 0) return;
  await tx.execute("set local lock_timeout = '2s'");
  await tx.execute(`
    alter table kycs add constraint ${BOUND} check (sealed_number is null or sealed_version is not null) not valid`);
}
