import { type Column, is, SQL, sql } from "drizzle-orm";
import { batched } from "../db/batch.ts";
import type { Database, Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";

/** Provides the SQL for a condition's value: a placeholder, or a column of the list of requested pages. */
export type Source = (name: string) => SQL;

/** The input from which a list writes its own statement of a page. */
export interface PageParts<Selection> {
  selection: Selection;
  from: PageSlice["from"];
  values: Source;
  /** The columns of a row. A page must have exactly these. */
  columns: SQL;
  /** The account and all conditions of the selection. */
  where: SQL;
  limit: SQL;
}

/**
 * The parts from which a list's statements are built. `Selection` has a key for each possible condition; the keys `Aside` are
 * no conditions.
 */
export interface ListSource<Selection extends object, Row, Aside extends keyof Selection = never> {
  columns: Record<string, Column | SQL.Aliased>;
  /** Makes a row from the values, which are in the order of the columns. */
  toRow(values: unknown[]): Row;
  from(selection: Selection): SQL;
  accountId(selection: Selection): Column;
  /** The paging key. It ends every index that a selection uses. */
  key(selection: Selection): Column[];
  conditions: { [Name in Exclude<keyof Selection, Aside>]-?: (source: Source, selection: Selection) => SQL };
  /** The statement of a page, if it is not simply a range of an index with these conditions in the order of the key. */
  page?(parts: PageParts<Selection>): SQL | undefined;
  /** A statement that selects whether a page of the selection can be read. */
  check?(parts: PageParts<Selection>): SQL;
  /** Distinguishes selections with the same conditions whose SQL differs. */
  variant?(selection: Selection): string;
  /** The texts that a condition compares with, under the names that it requests from its source. */
  bind<Name extends keyof Selection>(name: Name, value: NonNullable<Selection[Name]>): Record<string, string>;
  /** Negative if `a` is older than `b`, positive if it is newer. */
  compare(a: Row, b: Row, selection: Selection): number;
}

/** A number of rows from one end of a selection. */
export interface PageSlice {
  from: "newest" | "oldest";
  limit: number;
}

export interface ListStore<Selection, Row> {
  /** Up to `limit` rows from the newest or oldest end of the selection. The cost does not depend on its depth. */
  list(db: Database, accountId: string, selection: Selection, slice: PageSlice): Promise<Row[]>;
  /** The number of rows of the selection. It reads all of them, so its cost grows with their number. */
  count(db: Database, accountId: string, selection: Selection): Promise<number>;
  /** The same for each value of a column, in one statement. Values without rows are absent. */
  countBy(
    db: Database,
    accountId: string,
    selection: Selection,
    column: Column,
  ): Promise<Map<string, number>>;
  /** Whether a page can be read, according to the list's `check` statement. */
  check(db: Database, accountId: string, selection: Selection, slice: PageSlice): Promise<boolean>;
}

/** Maximum rows of one statement, unless a single page has more. Processing them blocks the event loop. */
const MOST_ROWS = 1100;

interface CountRequest<Selection> {
  accountId: string;
  selection: Selection;
  /** The values of the selection's conditions as bound texts. */
  values: Record<string, string>;
}

interface PageRequest<Selection> extends CountRequest<Selection>, PageSlice {}

type Statement<Row> = (db: Executor, values: Record<string, unknown>) => Promise<Row[]>;

const given: Source = (name) => sql`${sql.placeholder(name)}`;
const listOf = <T>(parts: readonly T[], write: (part: T) => SQL) => sql.join(parts.map(write), sql`, `);

/**
 * Builds the statements of a list. Each combination of conditions has its own statement, so that the planner sees only
 * those conditions. Pages that are requested at the same time and differ only in the values of their conditions are read
 * by one statement. Equal counts are read once.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the closures share the shapes of one list.
export function createListStore<Selection extends object, Row, Aside extends keyof Selection = never>(
  source: ListSource<Selection, Row, Aside>,
): ListStore<Selection, Row> {
  const names = Object.keys(source.conditions) as (Exclude<keyof Selection, Aside> & string)[];
  const conditionsOf = (selection: Selection) => names.filter((name) => selection[name] !== undefined);
  const shapeOf = (selection: Selection) =>
    [...conditionsOf(selection), source.variant?.(selection) ?? ""].join(" ");
  const columns = listOf(Object.values(source.columns), (column) =>
    is(column, SQL.Aliased) ? sql`${column.sql} as ${sql.identifier(column.fieldAlias)}` : sql`${column}`,
  );
  /** The index of the column with the page's number, which follows the columns of a row. */
  const pageColumn = Object.keys(source.columns).length;

  function where(selection: Selection, from: Source): SQL {
    const conditions = conditionsOf(selection).map((name) => source.conditions[name](from, selection));
    return sql.join([sql`${source.accountId(selection)} = ${given("accountId")}`, ...conditions], sql` and `);
  }

  const partsOf = (selection: Selection, from: PageSlice["from"], values: Source): PageParts<Selection> => ({
    ...{ selection, from, values, columns, where: where(selection, values), limit: given("limit") },
  });

  function page(selection: Selection, from: PageSlice["from"], values: Source): SQL {
    const own = source.page?.(partsOf(selection, from, values));
    if (own) return own;
    const order = from === "newest" ? sql`desc` : sql`asc`;
    return sql`select ${columns} from ${source.from(selection)} where ${where(selection, values)}
      order by ${listOf(source.key(selection), (column) => sql`${column} ${order}`)} limit ${given("limit")}`;
  }

  const selectPage = variants<Row>((selection, from) =>
    statement(() => page(selection, from, given), source.toRow),
  );
  const selectPages = variants<{ row: Row; pageNumber: number }>((selection, from) => {
    const labels = Object.keys(valuesOf(selection));
    return statement(
      () => sql`select page.*, wanted.page_number::int
        from unnest(${listOf(labels, (name) => sql`${given(name)}::text[]`)})
          with ordinality as wanted(${listOf(labels, (name) => sql.identifier(name) as unknown as SQL)}, page_number)
        cross join lateral (${page(selection, from, (name) => sql`wanted.${sql.identifier(name)}`)}) as page`,
      (values: unknown[]) => ({ row: source.toRow(values), pageNumber: values[pageColumn] as number }),
    );
  });
  const selectCount = variants<number>((selection) =>
    statement(
      () => sql`select count(*) from ${source.from(selection)} where ${where(selection, given)}`,
      ([total]: [string]) => Number(total),
    ),
  );

  const selectCheck = variants<boolean>((selection, from) =>
    statement(
      () => (source.check as NonNullable<typeof source.check>)(partsOf(selection, from, given)),
      ([isReadable]: [boolean]) => isReadable,
    ),
  );
  const countsBy = new Map<Column, (selection: Selection) => Statement<[string, number]>>();
  function selectCounts(column: Column): (selection: Selection) => Statement<[string, number]> {
    let found = countsBy.get(column);
    if (!found) {
      found = variants<[string, number]>((selection) =>
        statement(
          () =>
            sql`select ${column}, count(*) from ${source.from(selection)} where ${where(selection, given)} group by 1`,
          ([value, total]: [string, string]): [string, number] => [value, Number(total)],
        ),
      );
      countsBy.set(column, found);
    }
    return found;
  }

  function variants<Result>(build: (selection: Selection, from: PageSlice["from"]) => Statement<Result>) {
    const known = new Map<string, Statement<Result>>();
    return (selection: Selection, from: PageSlice["from"] = "newest"): Statement<Result> => {
      const key = `${from} ${shapeOf(selection)}`;
      let found = known.get(key);
      if (!found) {
        found = build(selection, from);
        known.set(key, found);
      }
      return found;
    };
  }

  function valuesOf(selection: Selection): Record<string, string> {
    const bound: Record<string, string> = {};
    for (const name of conditionsOf(selection))
      Object.assign(bound, source.bind(name, selection[name] as NonNullable<Selection[typeof name]>));
    return bound;
  }

  /** Reads pages of one account that differ only in the values of their conditions, in the order of the requests. */
  async function readPages(
    db: Executor,
    { accountId, selection, from, limit, values }: PageRequest<Selection>,
    requests: PageRequest<Selection>[],
  ): Promise<Row[][]> {
    const lists: Record<string, unknown> = {};
    for (const name of Object.keys(values)) lists[name] = requests.map((request) => request.values[name]);
    const pages: Row[][] = requests.map(() => []);
    const found = await selectPages(selection, from)(db, { accountId, limit, ...lists });
    for (const { row, pageNumber } of found) pages[pageNumber - 1]?.push(row);
    // Each page is read from its index in order, but PostgreSQL guarantees no order without an outer ORDER BY.
    const sign = from === "newest" ? -1 : 1;
    for (const page of pages) page.sort((a, b) => sign * source.compare(a, b, selection));
    return pages;
  }

  const findPage = batched<PageRequest<Selection>, Row[]>(
    ({ accountId, from, limit, selection }) => `${accountId} ${from} ${limit} ${shapeOf(selection)}`,
    // No value contains a NUL.
    ({ values }) => Object.values(values).join("\0"),
    async (db, requests) => {
      const [{ accountId, selection, values, from, limit }] = requests;
      if (requests.length > 1) return readPages(db, requests[0], requests);
      return [await selectPage(selection, from)(db, { accountId, ...values, limit })];
    },
    ({ limit }) => Math.max(1, Math.floor(MOST_ROWS / limit)),
  );

  // Each lane has only one question. Callers that ask it before it is sent share its answer.
  const findCount = batched<CountRequest<Selection>, number>(
    ({ accountId, selection, values }) =>
      [`${accountId} ${shapeOf(selection)}`, ...Object.values(values)].join("\0"),
    () => "",
    (db, [{ accountId, selection, values }]) => selectCount(selection)(db, { accountId, ...values }),
  );

  return {
    list: (db, accountId, selection, slice) =>
      findPage(db, { accountId, selection, values: valuesOf(selection), ...slice }),
    count: (db, accountId, selection) => findCount(db, { accountId, selection, values: valuesOf(selection) }),
    countBy: async (db, accountId, selection, column) =>
      new Map(await selectCounts(column)(selection)(db, { accountId, ...valuesOf(selection) })),
    check: async (db, accountId, selection, { from, limit }) =>
      (await selectCheck(selection, from)(db, { accountId, ...valuesOf(selection), limit }))[0] === true,
  };
}
