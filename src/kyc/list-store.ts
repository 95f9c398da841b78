import { and, asc, count, desc, eq, type SQL, sql } from "drizzle-orm";
import { batched } from "../db/batch.ts";
import type { Executor } from "../db/client.ts";
import { kycs, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { comparePositions, type Position } from "./cursor.ts";
import type { DocumentType, Kyc, VerificationStatus } from "./kyc.ts";
import { columns, given, type KycRow, toKyc } from "./store.ts";

/** Which records of an account a statement is about. */
export interface Selection {
  customerId?: string;
  verificationStatus?: VerificationStatus;
  documentType?: DocumentType;
  /** Sealed with one of these digests. */
  numberDigests?: string[];
  /** The same, or stored plain as this number. */
  numberAnywhere?: { digests: string[]; plain: string };
  /** Newer than this place in the list, itself excluded. */
  newerThan?: Position;
  olderThan?: Position;
  /** This place in the list, and what is newer. */
  fromHereNewer?: Position;
  fromHereOlder?: Position;
}

interface PageRequest {
  accountId: string;
  selection: Selection;
  /** The values of the selection's conditions, as statements take them. */
  values: Record<string, string>;
  from: "newest" | "oldest";
  limit: number;
}

const findPage = batched<PageRequest, Kyc[]>(
  ({ accountId, from, limit, selection }) => `${accountId} ${from} ${limit} ${shapeOf(selection)}`,
  // No value has a NUL.
  ({ values }) => Object.values(values).join("\0"),
  async (db, requests) => {
    const [request] = requests;
    return requests.length === 1 ? [await selectPage(db, request)] : selectPages(db, request, requests);
  },
);

const byTime = { newest: desc, oldest: asc };
const pageVariants = new Map<string, Statement<Kyc>>();
const pagesVariants = new Map<string, Statement<{ kyc: Kyc; place: number }>>();

function selectPage(
  db: Executor,
  { accountId, selection, values, from, limit }: PageRequest,
): Promise<Kyc[]> {
  const direction = byTime[from];
  const select = variant(pageVariants, selection, from, () =>
    statement(
      (executor) =>
        executor
          .select(columns)
          .from(kycs)
          .where(matches(selection, one))
          .orderBy(direction(kycs.createdAt), direction(kycs.id))
          .limit(given("limit")),
      toKyc,
    ),
  );
  return select(db, { accountId, ...values, limit });
}

const fieldsOf = <Page extends object>(page: Page) =>
  Object.fromEntries(Object.keys(columns).map((name) => [name, page[name as keyof Page]])) as Pick<
    Page,
    keyof typeof columns & keyof Page
  >;

/** Pages of one account that differ in the values of their conditions alone, in the order of the requests. */
async function selectPages(db: Executor, sample: PageRequest, requests: PageRequest[]): Promise<Kyc[][]> {
  const { accountId, selection, from, limit } = sample;
  const names = Object.keys(sample.values);
  const direction = byTime[from];
  const select = variant(pagesVariants, selection, from, () =>
    statement(
      (executor) => {
        const page = executor
          .select(columns)
          .from(kycs)
          .where(matches(selection, (name) => sql`wanted.${sql.identifier(name)}`))
          .orderBy(direction(kycs.createdAt), direction(kycs.id))
          .limit(given("limit"))
          .as("page");
        const lists = sql.join(
          names.map((name) => sql`${given(name)}::text[]`),
          sql`, `,
        );
        const labels = sql.join(
          names.map((name) => sql.identifier(name)),
          sql`, `,
        );
        return executor
          .select({ ...fieldsOf(page), place: sql<number>`wanted.place::int` })
          .from(sql`unnest(${lists}) with ordinality as wanted(${labels}, place)`)
          .crossJoinLateral(page);
      },
      (row: [...KycRow, place: number]) => ({ kyc: toKyc(row), place: row[PLACE] as number }),
    ),
  );
  const columnsOf = Object.fromEntries(
    names.map((name) => [name, requests.map(({ values }) => values[name])]),
  );
  const pages: Kyc[][] = requests.map(() => []);
  for (const { kyc, place } of await select(db, { accountId, limit, ...columnsOf }))
    pages[place - 1]?.push(kyc);
  // They come in order, each page from its index; but a statement without an order promises none.
  const sign = from === "newest" ? -1 : 1;
  for (const page of pages) page.sort((a, b) => sign * comparePositions(a, b));
  return pages;
}

/** Behind the columns of a record. */
const PLACE = Object.keys(columns).length;

/**
 * Up to `limit` records of the selection, from its newest or its oldest end. One range of one index, at whatever
 * depth it starts.
 */
export function listKycs(
  db: Executor,
  accountId: string,
  selection: Selection,
  page: { from: "newest" | "oldest"; limit: number },
): Promise<Kyc[]> {
  return findPage(db, { accountId, selection, values: valuesOf(selection), ...page });
}

/** How many records the selection has. It reads them all in the index: its cost grows with their number. */
export async function countKycs(db: Executor, accountId: string, selection: Selection): Promise<number> {
  const select = variant(countVariants, selection, "", () =>
    statement(
      (executor) => executor.select({ total: count() }).from(kycs).where(matches(selection, one)),
      ([total]: [string]) => Number(total),
    ),
  );
  return (await select(db, { accountId, ...valuesOf(selection) }))[0] ?? 0;
}

type Statement<Row> = (db: Executor, values: Record<string, unknown>) => Promise<Row[]>;
const countVariants = new Map<string, Statement<number>>();

/** A statement for each set of conditions that occurs, so that the planner sees just those conditions. */
function variant<Row>(
  known: Map<string, Statement<Row>>,
  selection: Selection,
  order: string,
  build: () => Statement<Row>,
): Statement<Row> {
  const key = `${order} ${shapeOf(selection)}`;
  let found = known.get(key);
  if (!found) {
    found = build();
    known.set(key, found);
  }
  return found;
}

/** Where the value of a condition comes from: a placeholder, or a row of the wanted pages. */
type Source = (name: string) => SQL;
const one: Source = (name) => sql`${given(name)}`;

// A comparison of rows is a range of the index; the same said with OR is not.
const stands = (operator: "<" | ">" | "<=" | ">=", name: keyof Selection) => (source: Source) =>
  sql`(${kycs.createdAt}, ${kycs.id}) ${sql.raw(operator)} (${source(`${name}At`)}::timestamptz, ${source(`${name}Id`)})`;

// Lists in lists are no arrays that PostgreSQL could unnest: they come as texts, and no digest has a comma.
const hasDigest = (list: SQL) => sql`${kycs.numberDigest} = any(string_to_array(${list}, ','))`;

const CONDITIONS: Record<keyof Selection, (source: Source) => SQL> = {
  customerId: (source) => sql`${kycs.customerId} = ${source("customerId")}`,
  verificationStatus: (source) =>
    sql`${kycs.verificationStatus} = ${source("verificationStatus")}::verification_status`,
  documentType: (source) => sql`${kycs.documentType} = ${source("documentType")}::document_type`,
  numberDigests: (source) => hasDigest(source("numberDigests")),
  numberAnywhere: (source) =>
    sql`(${hasDigest(source("numberAnywhereDigests"))} or ${kycs.documentNumber} = ${source("numberAnywherePlain")})`,
  newerThan: stands(">", "newerThan"),
  olderThan: stands("<", "olderThan"),
  fromHereNewer: stands(">=", "fromHereNewer"),
  fromHereOlder: stands("<=", "fromHereOlder"),
};
const CONDITION_NAMES = Object.keys(CONDITIONS) as (keyof Selection)[];

const conditionsOf = (selection: Selection) => CONDITION_NAMES.filter((name) => name in selection);
const shapeOf = (selection: Selection) => conditionsOf(selection).join(" ");

function matches(selection: Selection, source: Source): SQL | undefined {
  const conditions = conditionsOf(selection).map((name) => CONDITIONS[name](source));
  return and(eq(kycs.accountId, given("accountId")), ...conditions);
}

function valuesOf(selection: Selection): Record<string, string> {
  const bound: Record<string, string> = {};
  for (const name of conditionsOf(selection)) {
    const value = selection[name] as Selection[keyof Selection] & {};
    if (typeof value === "string") bound[name] = value;
    else if (Array.isArray(value)) bound[name] = value.join();
    else if ("plain" in value) {
      bound[`${name}Digests`] = value.digests.join();
      bound[`${name}Plain`] = value.plain;
    } else {
      bound[`${name}At`] = toTimestamptz(value.createdAt);
      bound[`${name}Id`] = value.id;
    }
  }
  return bound;
}
