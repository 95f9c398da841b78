import { type Column, is, SQL, sql } from "drizzle-orm";
import { batched } from "../db/batch.ts";
import type { Database, Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";

/** Provides the SQL for a condition's value: a placeholder, or a column of the list of requested pages. */
export type Source = (name: string) => SQL;

/** The parts from which a list's statements are built. `Selection` has a key for each possible condition. */
export interface ListSource<Selection extends object, Row> {
  columns: Record<string, Column | SQL.Aliased>;
  /** Makes a row from the values, which are in the order of the columns. */
  toRow(values: unknown[]): Row;
  from(selection: Selection): SQL;
  accountId(selection: Selection): Column;
  /** The paging key. It ends every index that a selection uses. */
  key(selection: Selection): Column[];
  conditions: { [Name in keyof Selection]-?: (source: Source, selection: Selection) => SQL };
  /** Distinguishes selections with the same conditions whose SQL differs. */
  variant?(selection: Selection): string;
  /** The texts that a condition compares with, under the names that it requests from its source. */
  bind<Name extends keyof Selection>(name: Name, value: NonNullable<Selection[Name]>): Record<string, string>;
  /** Negative if `a` is older than `b`, positive if it is newer. */
  compare(a: Row, b: Row): number;
}

/** Which end of a selection is read, and how many rows. */
export interface Stretch {
  from: "newest" | "oldest";
  limit: number;
}

export interface ListStore<Selection, Row> {
  /** Up to `limit` rows from the newest or oldest end of the selection. The cost does not depend on its depth. */
  list(db: Database, accountId: string, selection: Selection, stretch: Stretch): Promise<Row[]>;
  /** The number of rows of the selection. It reads all of them, so its cost grows with their number. */
  count(db: Database, accountId: string, selection: Selection): Promise<number>;
}

/** Maximum rows of one statement, unless a single page has more. Processing them blocks the event loop. */
const MOST_ROWS = 1100;

interface CountRequest<Selection> {
  accountId: string;
  selection: Selection;
  /** The values of the selection's conditions as bound texts. */
  values: Record<string, string>;
}

interface PageRequest<Selection> extends CountRequest<Selection>, Stretch {}

type Statement<Row> = (db: Executor, values: Record<string, unknown>) => Promise<Row[]>;

const given: Source = (name) => sql`${sql.placeholder(name)}`;
const listOf = <T>(parts: readonly T[], write: (part: T) => SQL) => sql.join(parts.map(write), sql`, `);

/**
 * Builds the statements of a list. Each combination of conditions has its own statement, so that the planner sees only
 * those conditions. Pages that are requested at the same time and differ only in the values of their conditions are read
 * by one statement. Equal counts are read once.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the closures share the shapes of one list.
export function createListStore<Selection extends object, Row>(
  source: ListSource<Selection, Row>,
): ListStore<Selection, Row> {
  const names = Object.keys(source.conditions) as (keyof Selection & string)[];
  const conditionsOf = (selection: Selection) => names.filter((name) => selection[name] !== undefined);
  const shapeOf = (selection: Selection) =>
    [...conditionsOf(selection), source.variant?.(selection) ?? ""].join(" ");
  const columns = listOf(Object.values(source.columns), (column) =>
    is(column, SQL.Aliased) ? sql`${column.sql} as ${sql.identifier(column.fieldAlias)}` : sql`${column}`,
  );
  /** The index of the `place` column, which follows the columns of a row. */
  const place = Object.keys(source.columns).length;

  function where(selection: Selection, from: Source): SQL {
    const conditions = conditionsOf(selection).map((name) => source.conditions[name](from, selection));
    return sql.join([sql`${source.accountId(selection)} = ${given("accountId")}`, ...conditions], sql` and `);
  }

  function page(selection: Selection, from: Stretch["from"], values: Source): SQL {
    const order = from === "newest" ? sql`desc` : sql`asc`;
    return sql`select ${columns} from ${source.from(selection)} where ${where(selection, values)}
      order by ${listOf(source.key(selection), (column) => sql`${column} ${order}`)} limit ${given("limit")}`;
  }

  const selectPage = variants<Row>((selection, from) =>
    statement(() => page(selection, from, given), source.toRow),
  );
  const selectPages = variants<{ row: Row; place: number }>((selection, from) => {
    const labels = Object.keys(valuesOf(selection));
    return statement(
      () => sql`select page.*, wanted.place::int
        from unnest(${listOf(labels, (name) => sql`${given(name)}::text[]`)})
          with ordinality as wanted(${listOf(labels, (name) => sql.identifier(name) as unknown as SQL)}, place)
        cross join lateral (${page(selection, from, (name) => sql`wanted.${sql.identifier(name)}`)}) as page`,
      (values: unknown[]) => ({ row: source.toRow(values), place: values[place] as number }),
    );
  });
  const selectCount = variants<number>((selection) =>
    statement(
      () => sql`select count(*) from ${source.from(selection)} where ${where(selection, given)}`,
      ([total]: [string]) => Number(total),
    ),
  );

  function variants<Result>(build: (selection: Selection, from: Stretch["from"]) => Statement<Result>) {
    const known = new Map<string, Statement<Result>>();
    return (selection: Selection, from: Stretch["from"] = "newest"): Statement<Result> => {
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
    for (const { row, place } of found) pages[place - 1]?.push(row);
    // Each page comes from its index in order, but PostgreSQL guarantees no order without an outer ORDER BY.
    const sign = from === "newest" ? -1 : 1;
    for (const page of pages) page.sort((a, b) => sign * source.compare(a, b));
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
    list: (db, accountId, selection, stretch) =>
      findPage(db, { accountId, selection, values: valuesOf(selection), ...stretch }),
    count: (db, accountId, selection) => findCount(db, { accountId, selection, values: valuesOf(selection) }),
  };
}
