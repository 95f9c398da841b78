import { type FieldName, NAMES } from "../kyc/fields.ts";
import { toSnakeCase } from "../lib/snake-case.ts";
import type { SourceEntry } from "./fields.ts";

/** The columns of an export in CSV, and the keys of its lines in NDJSON, in their order, with the fields that they have. */
export const EXPORT_COLUMNS: ReadonlyMap<string, FieldName> = new Map(
  NAMES.map((field) => [toSnakeCase(field), field]),
);

/** Fields that the exports of every release have. */
const ALWAYS_EXPORTED = ["id", "customer_id", "created_at", "status_since", "version"];

/** The key of an export's last line in NDJSON; in CSV, its cell of the id. No record has this id. */
export const END_ID = "export";

/** Whether a file with these columns is an export of a gateway of this or an earlier release, which has a last line. */
export const isOwnExport = (columns: readonly string[]): boolean =>
  ALWAYS_EXPORTED.every((name) => columns.includes(name)) &&
  columns.join() === [...EXPORT_COLUMNS.keys()].filter((name) => columns.includes(name)).join();

/** The last line of an export in one of the lines: how many records it says that there are. */
export interface EndEntry {
  line: number;
  /** Undefined: it does not say. */
  count: number | undefined;
}

/** Reads a last line. */
export function readEnd(line: number, end: unknown): EndEntry {
  const count = typeof end === "object" && end !== null && "count" in end ? end.count : undefined;
  return { line, count: typeof count === "number" ? count : undefined };
}

/**
 * The entries without the last lines of exports. A last line that does not fit the records before it is bad, and so is an
 * export's end without one: `isOwn` says whether the file is one, once it has been read.
 */
export async function* checkEnds(
  entries: AsyncIterable<readonly (SourceEntry | EndEntry)[]>,
  isOwn: () => boolean,
): AsyncGenerator<SourceEntry[]> {
  let records = 0;
  let last = 0;
  let isOpen = true;
  for await (const some of entries) {
    const checked: SourceEntry[] = [];
    for (const entry of some) {
      last = entry.line;
      isOpen = !("count" in entry);
      if (!("count" in entry)) {
        records += 1;
        checked.push(entry);
        continue;
      }
      const message = `says that the export has ${entry.count ?? "no"} records, and it has ${records}`;
      if (entry.count !== records) checked.push({ line: entry.line, faults: [{ message }] });
      records = 0;
    }
    yield checked;
  }
  if (!isOpen || !isOwn()) return;
  yield [
    { line: last + 1, faults: [{ message: "is missing: the export is not complete without its last line" }] },
  ];
}
