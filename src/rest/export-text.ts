import { hasReads, recordReads } from "../audit/record-reads.ts";
import type { OperationContext } from "../context.ts";
import { END_ID, EXPORT_COLUMNS } from "../import/own-export.ts";
import type { KycExport } from "../kyc/export-kycs.ts";
import type { FieldName } from "../kyc/fields.ts";
import type { ShownKyc } from "../kyc/show-kyc.ts";
import { toCsvRow } from "../lib/csv.ts";
import { untilTurn } from "../lib/turns.ts";

export const EXPORT_FORMATS = ["ndjson", "csv"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

const toIso = (millis: number) => new Date(millis).toISOString();

/** A record of an export: the names of REST, and times to the millisecond, so that an import makes an equal record. */
function renderExported(kyc: ShownKyc) {
  return {
    id: kyc.id,
    customer_id: kyc.customerId,
    verification_status: kyc.verificationStatus,
    document_type: kyc.documentType,
    document_number: kyc.documentNumber,
    created_at: toIso(kyc.createdAt),
    updated_at: toIso(kyc.updatedAt),
    status_since: toIso(kyc.statusSince),
    expires_at: kyc.expiresAt === null ? null : toIso(kyc.expiresAt),
    relationship_ended_at: kyc.relationshipEndedAt === null ? null : toIso(kyc.relationshipEndedAt),
    version: kyc.version,
  } satisfies Record<(typeof EXPORT_COLUMNS)[number] | Snake<FieldName>, string | number | null>;
}
type ExportedBody = ReturnType<typeof renderExported>;

type Snake<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${Snake<Rest>}`
  : "";

/** Records with an unreadable number that are named in the log, at most. */
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
    head: toCsvRow(EXPORT_COLUMNS),
    record: (body: ExportedBody) => toCsvRow(EXPORT_COLUMNS.map((name) => body[name])),
    // As many columns as in every other line.
    end: (end: ExportEnd) =>
      toCsvRow(
        EXPORT_COLUMNS.map(
          (name) => ({ id: END_ID, customer_id: JSON.stringify(end) })[name as string] ?? "",
        ),
      ),
  },
};

/**
 * The text of an export, a page at a time: the next one is read once it is asked for. If reads are audited, the trail has
 * the event of a page before the page is passed on.
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
