import { hasReads, recordReads } from "../audit/record-reads.ts";
import type { OperationContext } from "../context.ts";
import { END_ID, EXPORT_COLUMNS } from "../import/own-export.ts";
import type { KycExport } from "../kyc/export-kycs.ts";
import { FIELDS } from "../kyc/fields.ts";
import type { ShownKyc } from "../kyc/show-kyc.ts";
import { toCsvRow } from "../lib/csv.ts";
import { untilTurn } from "../lib/turns.ts";

export const EXPORT_FORMATS = ["ndjson", "csv"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

type ExportedBody = Record<string, string | number | null>;

/** A record of an export: the names of REST, and times to the millisecond, so that an import makes an equal record. */
function renderExported(kyc: ShownKyc): ExportedBody {
  const body: ExportedBody = {};
  for (const [name, field] of EXPORT_COLUMNS) {
    const value = kyc[field];
    const isTime = FIELDS[field].kind === "time" && value !== null;
    body[name] = isTime ? new Date(value).toISOString() : value;
  }
  return body;
}

/** The log names at most this many records with an unreadable number. */
const MOST_UNREADABLE = 100;

/** The last line of an export, without which it is not complete. */
interface ExportEnd {
  /** Records. */
  count: number;
  position: number;
  checkpoint: string;
}

const WRITERS = {
  ndjson: {
    head: "",
    record: (body: ExportedBody) => `${JSON.stringify(body)}\n`,
    end: (end: ExportEnd) => `${JSON.stringify({ [END_ID]: end })}\n`,
  },
  csv: {
    head: toCsvRow([...EXPORT_COLUMNS.keys()]),
    record: (body: ExportedBody) => toCsvRow(Object.values(body)),
    // As many columns as in every other line.
    end: (end: ExportEnd) =>
      toCsvRow(
        [...EXPORT_COLUMNS.keys()].map(
          (name) => ({ id: END_ID, customer_id: JSON.stringify(end) })[name] ?? "",
        ),
      ),
  },
};

/**
 * The text of an export, a page at a time: the next page is read when its text is requested. If reads are audited, the trail
 * has the event of a page before the page is passed on.
 */
export async function* toExportText(
  ctx: OperationContext,
  { pages, position, checkpoint }: KycExport,
  format: ExportFormat,
): AsyncGenerator<string> {
  const write = WRITERS[format];
  if (write.head !== "") yield write.head;
  let count = 0;
  for await (const page of pages) {
    const turn = untilTurn();
    if (turn) await turn;
    const text = page.map((kyc) => write.record(renderExported(kyc))).join("");
    count += page.length;
    if (hasReads(ctx)) await recordReads(ctx);
    ctx.unreadable.splice(MOST_UNREADABLE);
    if (text !== "") yield text;
  }
  yield write.end({ count, position, checkpoint });
}
