import { type SQL, sql } from "drizzle-orm";
import { orderKey } from "../../db/order-key.ts";
import { kycs } from "../../db/schema.ts";
import type { PageParts, Source } from "../../paging/list-store.ts";
import { ORDER_NAMES, type OrderName } from "../../vocabulary.ts";
import { conditions, hasOne, type KycSelection, keyOf, LISTS, orderingOf, type Range } from "./selection.ts";

/** The maximum number of records that a statement looks through for a page. */
const MOST_SEEN = 10_000;
/** The same for each of several ranges in which a page is looked for in its order. */
const MOST_SEEN_OF_EACH = 500;

/**
 * The ranges in which a page of the selection can be looked for, in the order in which they are to be tried; none if it is a
 * range by itself. The last one, in the order of the list, is read as far as the page needs; the others are read as a whole.
 */
export function rangesOf(selection: KycSelection): Range[] {
  const { by } = orderingOf(selection);
  const { customerIds, verificationStatuses, documentTypes, numberDigests, numberAnywhere } = selection;
  if (numberAnywhere) return [];
  if (numberDigests) return ["number"];
  const spans = ORDER_NAMES.filter((name) => name !== by && selection[name] !== undefined);
  if (!customerIds) return spans.length === 0 ? [] : [...spans, by];
  if (by !== "created_at") return ["customers", by];
  return spans.length > 0 || verificationStatuses || documentTypes ? ["customers"] : [];
}

/**
 * Whether release 0.2 had this filter: at most one customer, status and kind of document, newest first. Its clients get each
 * page, however many records must be read: those of one customer, or those of the account with one number.
 */
export function isOfEarlierRelease(selection: KycSelection): boolean {
  const { customerIds, verificationStatuses, documentTypes, numberDigests } = selection;
  const lists = [customerIds, verificationStatuses, documentTypes];
  return (
    (customerIds !== undefined || numberDigests !== undefined) &&
    orderingOf(selection).by === "created_at" &&
    ORDER_NAMES.every((name) => selection[name] === undefined) &&
    lists.every((list) => list === undefined || list.length === 1)
  );
}

/** Whether the records of a range come in the order of the list. */
const isInOrder = (range: Range, by: OrderName) =>
  range === by || (range === "customers" && by === "created_at");

/** One or several ranges of an index. */
interface IndexRanges {
  /** A row for each range; undefined: there is one. */
  each: SQL | undefined;
  /** The conditions of one range. */
  of: SQL[];
  /** How the index is sorted; undefined: the order does not matter. */
  key?: SQL;
}

/** The records of some customers. */
function ofCustomers(selection: KycSelection, source: Source): IndexRanges {
  const key = orderKey(kycs, "created_at");
  if (hasOne(selection, "customerIds"))
    return { each: undefined, of: [conditions.customerIds(source, selection)], key };
  return {
    each: sql`unnest(${LISTS.customerIds(source)}) as wanted_customer(wanted_customer)`,
    of: [sql`${kycs.customerId} = wanted_customer`],
    key,
  };
}

/** The records in an order: one range for each combination of status and kind of document, or fewer if an index allows it. */
function inOrder(selection: KycSelection, by: OrderName, source: Source): IndexRanges {
  const key = orderKey(kycs, by);
  const { verificationStatuses: statuses, documentTypes: types, range } = selection;
  if (by === "created_at" && range === undefined) {
    const given = [statuses && "verificationStatuses", types && "documentTypes"] as const;
    const [only, other] = given.filter((name) => name !== undefined);
    if (!only) return { each: undefined, of: [], key };
    if (!other && hasOne(selection, only))
      return { each: undefined, of: [conditions[only](source, selection)], key };
  }
  const anyStatus = sql`enum_range(null::verification_status)`;
  const anyType = sql`enum_range(null::document_type)`;
  return {
    each: sql`unnest(${statuses ? LISTS.verificationStatuses(source) : anyStatus}) as wanted_status(wanted_status)
      cross join unnest(${types ? LISTS.documentTypes(source) : anyType}) as wanted_type(wanted_type)`,
    of: [sql`${kycs.verificationStatus} = wanted_status`, sql`${kycs.documentType} = wanted_type`],
    key,
  };
}

const BOUNDS = ["newerThan", "olderThan", "fromHereNewer", "fromHereOlder"] as const;

function boundsOf(selection: KycSelection, source: Source): SQL[] {
  return BOUNDS.filter((name) => selection[name]).map((name) => conditions[name](source, selection));
}

const and = (parts: readonly SQL[]) => sql.join([...parts], sql` and `);
const ofAccount = sql`${kycs.accountId} = ${sql.placeholder("accountId")}`;

/** The ranges of a selection, with the bounds that its index has. */
function indexRanges(selection: KycSelection, source: Source): IndexRanges {
  const { by } = orderingOf(selection);
  const usual = selection.customerIds ? "customers" : by;
  const range = !selection.range || selection.range === "all" ? usual : selection.range;
  if (range === "number") return { each: undefined, of: [conditions.numberDigests(source, selection)] };
  const ranges = range === "customers" ? ofCustomers(selection, source) : inOrder(selection, range, source);
  if (isInOrder(range, by)) ranges.of.push(...boundsOf(selection, source));
  else if (range !== "customers") {
    const key = orderKey(kycs, range);
    const [from, to] = [source(`${range}From`), source(`${range}To`)];
    ranges.of.push(sql`${key} >= ${from}::timestamptz and ${key} < ${to}::timestamptz`);
  }
  return ranges;
}

/** The name of the column of a page by which it is sorted. */
const ALIASES: Record<OrderName, string> = {
  created_at: "page.created_millis",
  updated_at: "page.updated_millis",
  status_since: "page.status_since_millis",
  expires_at: "coalesce(page.expires_millis, 'infinity'::float8)",
};

const directionOf = ({ selection, from }: PageParts<KycSelection>) =>
  sql.raw((from === "newest") === orderingOf(selection).isDescending ? "desc" : "asc");
const inOrderOf = (direction: SQL, by: SQL) => sql`order by ${by} ${direction}, ${kycs.id} ${direction}`;

/** The parts that the statements of one page have in common. */
function partsOf(page: PageParts<KycSelection>) {
  const { selection, values: source, where, limit } = page;
  const { by } = orderingOf(selection);
  const { each, of, key } = indexRanges(selection, source);
  const direction = directionOf(page);
  const range = and([ofAccount, ...of]);
  const inOrder = (by: SQL) => inOrderOf(direction, by);
  // If PostgreSQL knew the limit and expected fewer records, it would read all of them from the table and sort them, however
  // many there are. Not knowing it, it reads them in the order of the index.
  const seen = (most: number) =>
    sql`select * from ${kycs} where ${range} ${key ? inOrder(key) : sql.empty()}
      limit ${sql.raw(String(most))} + 0 * ${limit}::int`;
  const forEach = (inner: SQL, alias: SQL) =>
    each ? sql`select ${alias}.* from ${each} cross join lateral (${inner}) as ${alias}` : inner;
  return {
    ...{ each, where },
    isWhole: selection.range !== undefined && !isInOrder(selection.range, by),
    range,
    seen,
    forEach,
    mostOfEach: each ? MOST_SEEN_OF_EACH : MOST_SEEN,
    sorted: inOrder(keyOf(selection)),
    merged: sql`order by ${sql.raw(ALIASES[by])} ${direction}, page.id ${direction}`,
  };
}

/** All records of the ranges, up to the maximum. A condition never makes PostgreSQL look at more of them. */
function whole({ each, forEach, seen }: ReturnType<typeof partsOf>): SQL {
  const records = forEach(seen(MOST_SEEN), sql.raw("kycs"));
  return each ? sql`${records} limit ${sql.raw(String(MOST_SEEN))}` : records;
}

/** The statement of a page. */
export function writePage(page: PageParts<KycSelection>): SQL {
  const { selection, columns, where, limit } = page;
  if (selection.numberAnywhere || selection.range === "all") {
    const sorted = inOrderOf(directionOf(page), keyOf(selection));
    return sql`select ${columns} from ${kycs} where ${where} ${sorted} limit ${limit}`;
  }
  const parts = partsOf(page);
  const { isWhole, each, range, seen, forEach, mostOfEach, sorted, merged } = parts;
  if (isWhole)
    return sql`select ${columns} from (${whole(parts)}) as kycs where ${where} ${sorted} limit ${limit}`;
  const source = selection.range === undefined ? sql`${kycs}` : sql`(${seen(mostOfEach)}) as kycs`;
  const of = selection.range === undefined ? range : where;
  const one = sql`select ${columns} from ${source} where ${of} ${sorted} limit ${limit}`;
  return each ? sql`${forEach(one, sql.raw("page"))} ${merged} limit ${limit}` : one;
}

/**
 * The statement that selects whether `writePage` finds a page: no range has more records than are looked through, unless the
 * page is complete without them.
 */
export function writeCheck(page: PageParts<KycSelection>): SQL {
  const parts = partsOf(page);
  const { isWhole, seen, forEach, mostOfEach, where } = parts;
  if (isWhole) return sql`select count(*) < ${sql.raw(String(MOST_SEEN))} from (${whole(parts)}) as seen`;
  const counts = sql`select count(*) as seen, count(*) filter (where ${where}) as matching
    from (${seen(mostOfEach)}) as kycs`;
  return sql`select not exists (
    select from (${forEach(counts, sql.raw("counts"))}) as counts
    where seen >= ${sql.raw(String(mostOfEach))} and matching < ${page.limit}::int)`;
}
