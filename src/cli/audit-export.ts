import { findEntries, leafOf, type StoredEntry } from "../ledger/sealed-events.ts";
import { findHead, signHead } from "../ledger/sign-head.ts";
import { toCsvRow } from "../lib/csv.ts";
import { openLogKeysOf, sealPending } from "./audit-scene.ts";
import { CommandFailure, type CommandScene } from "./command.ts";
import { printAndWait } from "./print.ts";

/** Events of one statement. */
const STEP = 500;

export interface ExportOptions {
  account: string;
  format: "ndjson" | "csv";
  /** Positions; `to` is excluded. */
  from: number;
  to?: number;
}

/** The fields of an exported event. `null` is an absent value. */
type Row = Record<string, string | number | readonly string[] | null>;

/** The names of the columns, in their order. */
const COLUMNS = [
  ...["position", "at", "action", "subject", "surface", "token_id", "token_name", "actor", "request_id"],
  ...["kyc_ids", "changed_fields", "status_before", "status_after", "document_type_after", "version_after"],
  ...["reason", "leaf"],
] as const;

/**
 * Prints the events of an account's log in order of position, and then the signed checkpoint that they can be verified
 * against. Its memory does not depend on the size of the log, and a slow reader holds it back. Fails with a
 * CommandFailure if the account has no log, or if an event is missing.
 */
export async function exportLog(scene: CommandScene, options: ExportOptions): Promise<void> {
  const { account, format, from } = options;
  const logKeys = await openLogKeysOf(scene);
  await sealPending(scene);
  const head = await findHead(scene.db, account);
  if (head.size === 0) throw new CommandFailure(`the account ${account} has no log`);
  const to = Math.min(options.to ?? head.size, head.size);
  const write = WRITERS[format];
  await printAndWait(write.head);
  for (let next = from; next < to; ) {
    const entries = await findEntries(scene.db, account, { from: next, to, limit: STEP });
    const isWhole = entries.every(({ entry, event }, n) => event !== null && entry.position === next + n);
    if (entries.length === 0 || !isWhole) {
      throw new CommandFailure(`an event of the positions from ${next} on is missing: run audit verify`);
    }
    await printAndWait(entries.map((stored) => write.event(toRow(stored))).join(""));
    next += entries.length;
  }
  const count = Math.max(0, to - from);
  const checkpoint = await signHead(scene.db, logKeys, head);
  await printAndWait(write.end({ count, from, to, size: head.size, checkpoint }));
}

function toRow({ entry, event }: StoredEntry): Row {
  if (event === null) throw new Error("the event is missing");
  return {
    position: entry.position,
    at: new Date(event.at).toISOString(),
    action: event.action,
    subject: event.subject,
    surface: event.surface,
    token_id: event.tokenId,
    token_name: event.tokenName,
    actor: event.actorName,
    request_id: event.requestId,
    kyc_ids: event.kycIds,
    changed_fields: event.changedFields,
    status_before: event.statusBefore,
    status_after: event.statusAfter,
    document_type_after: event.documentTypeAfter,
    version_after: event.versionAfter,
    reason: event.reason,
    leaf: leafOf({ entry, event }),
  } satisfies Record<(typeof COLUMNS)[number], unknown>;
}

/** The end of an export. */
interface End {
  count: number;
  from: number;
  to: number;
  /** The events of the whole log at that moment. */
  size: number;
  checkpoint: string;
}

/** A list as one text, with spaces between its items. */
const toText = (value: Row[string]) =>
  typeof value === "object" && value !== null ? value.join(" ") : (value ?? null);

const WRITERS = {
  ndjson: {
    head: "",
    event: (row: Row) => `${JSON.stringify(row)}\n`,
    end: (end: End) => `${JSON.stringify(end)}\n`,
  },
  csv: {
    head: toCsvRow(COLUMNS),
    event: (row: Row) => toCsvRow(COLUMNS.map((name) => toText(row[name] ?? null))),
    // As many columns as in every other line.
    end: ({ checkpoint }: End) =>
      toCsvRow(COLUMNS.map((name) => ({ position: "checkpoint", leaf: checkpoint })[name as string] ?? "")),
  },
};
