import { getTableColumns, sql } from "drizzle-orm";
import { kycs, NO_EXPIRY_STEP } from "../../db/schema.ts";
import { FIELDS, isPlain, PLAIN, type PlainName } from "../fields.ts";

const given = sql.placeholder;

/** The columns of a sealed number. */
export const NUMBER_COLUMNS = ["sealedNumber", "numberDigest", "sealedVersion"] as const;
/** A column that a statement writes. */
export type Written = PlainName | (typeof NUMBER_COLUMNS)[number];

/** The columns of a new record that get a value. */
const INSERTED: readonly Written[] = [...PLAIN, ...NUMBER_COLUMNS];

const isInteger = (name: Written) =>
  name === "sealedVersion" || (isPlain(name) && FIELDS[name].kind === "integer");
/** The types in PostgreSQL of the kinds of fields that are not text. */
const TYPES: { [kind: string]: string | undefined } = {
  status: "verification_status",
  documentType: "document_type",
  time: "timestamptz",
};

const columnOf = (name: Written) => kycs[name].name;
const typeOf = (name: Written) => (isPlain(name) ? TYPES[FIELDS[name].kind] : undefined);
/** The value of a column that a statement unnests, in the column's own type. */
export const typedValue = (name: Written, row = "") => {
  const type = typeOf(name);
  return sql.raw(`${row}${columnOf(name)}${type ? `::${type}` : ""}`);
};

/** The lists that a statement unnests, one for each column, and the columns' names. */
export const listsOf = (names: readonly Written[]) =>
  sql.join(
    names.map((name) => sql`${given(name)}::${sql.raw(isInteger(name) ? "int" : "text")}[]`),
    sql`, `,
  );
/** The names of columns, as a list. */
export const columnsOf = (names: readonly Written[]) => sql.raw(names.map(columnOf).join(", "));

/** The step of a record for whose expiry nothing was done yet. */
export const NO_STEP = sql.raw(String(NO_EXPIRY_STEP));

/** The rows of new records to insert, in the order of the table's columns. */
export const newRows = () => {
  const values = (Object.keys(getTableColumns(kycs)) as (keyof typeof kycs.$inferInsert)[]).map((name) => {
    if (name === "accountId") return given("accountId");
    if (name === "statusSinceVersion") return typedValue("version");
    if (name === "expiryStep") return NO_STEP;
    return name === "documentNumber" || name === "expiryNotices" ? sql`null` : typedValue(name);
  });
  return sql`
    select ${sql.join(values, sql`, `)}
    from unnest(${listsOf(INSERTED)}) as new(${columnsOf(INSERTED)})`;
};
