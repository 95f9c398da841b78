import { setImmediate as nextTurn } from "node:timers/promises";
import type { Database, Executor } from "../db/client.ts";
import { DatabaseError } from "../db/database-error.ts";
import { withRetries } from "../db/retry.ts";
import {
  type ImportContext,
  type ImportOutcome,
  insertImported,
  judgeImport,
  type PreparedKyc,
  prepareImport,
} from "../kyc/import-kycs.ts";
import { countSealsAhead } from "../sealing/seal-counts.ts";
import type { BadLine, FaultFile } from "./fault-file.ts";
import type { SourceEntry } from "./fields.ts";
import type { IdSet } from "./id-set.ts";
import { readRecord } from "./read-record.ts";
import { type ImportProgress, type LineCounts, lockProgress, updateProgress } from "./store.ts";

/** Lines of one transaction. */
const BATCH = 500;
/** Lines that are prepared in one turn of the event loop, in about a millisecond. Meanwhile the transaction of the batch before waits. */
const SLICE = 20;
/** The time limit of a transaction. */
const DEADLINE_MS = 60_000;

const ID_IS_TAKEN = "23505";

/** Another process continues the same import. */
export class OvertakenError extends Error {
  override readonly name = "OvertakenError";

  constructor() {
    super("another process is importing the same records into this account");
  }
}

/** One run of an import. */
export interface ImportRun {
  db: Database;
  ctx: ImportContext;
  /** How far the import is. It changes with each batch. */
  progress: ImportProgress;
  faults: FaultFile;
  /** The time of the database, in epoch milliseconds. */
  now: () => number;
  onBatch: (progress: ImportProgress) => void;
  /** The ids of this run, if it is a dry run: nothing is written then. */
  seen: IdSet | null;
}

type BadOutcome = Exclude<ImportOutcome, "imported" | "unchanged">;

/** The bad lines of outcomes that are no success. */
const MESSAGES: Record<BadOutcome, string> = {
  repeated: "has the id of an earlier line",
  different: "has the id of a different record of the account",
  deleted: "has the id of a record that was deleted",
};
/** The same for records without an id, whose id is made from their values. */
const MESSAGES_WITHOUT_ID: Record<BadOutcome, string> = {
  repeated: "has the values of an earlier line",
  different: "was imported before, and the record has changed since",
  deleted: "was imported before, and the record was deleted",
};

/**
 * Imports the entries behind `progress.line`, in batches: each is one transaction with its records, their events and the
 * progress, so that after an end at any moment another run continues exactly there. The next batch is prepared while the
 * database writes one. Fails with an OvertakenError if another process continues the same import.
 */
export async function importRecords(
  run: ImportRun,
  entries: AsyncIterable<readonly SourceEntry[]>,
): Promise<void> {
  let writing: Promise<void> = Promise.resolve();
  for await (const batch of toBatches(entries, run.progress.line)) {
    if (!run.seen) await withRetries(() => countSealsAhead(run.db, run.ctx.keys, batch.length));
    const prepared = await prepare(run, batch);
    await writing;
    writing = write(run, prepared);
    // It is awaited before the next one: a failure in between is no unhandled one.
    writing.catch(() => {});
  }
  await writing;
  const { db, progress, seen } = run;
  progress.finishedAt = run.now();
  if (!seen) await withRetries(() => db.transaction((tx) => updateProgress(tx, run.ctx.accountId, progress)));
}

async function* toBatches(
  entries: AsyncIterable<readonly SourceEntry[]>,
  after: number,
): AsyncGenerator<SourceEntry[]> {
  let batch: SourceEntry[] = [];
  for await (const some of entries) {
    for (const entry of some) {
      if (entry.line <= after) continue;
      batch.push(entry);
      if (batch.length < BATCH) continue;
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

interface PreparedBatch {
  /** The line of its last entry. */
  end: number;
  records: (PreparedKyc & Pick<SourceEntry, "line" | "id">)[];
  bad: BadLine[];
}

async function prepare({ ctx, now }: ImportRun, batch: readonly SourceEntry[]): Promise<PreparedBatch> {
  const at = now();
  const prepared: PreparedBatch = { end: batch.at(-1)?.line ?? 0, records: [], bad: [] };
  for (const [index, { line, id, values, faults }] of batch.entries()) {
    if (index % SLICE === 0) await nextTurn();
    const read = values ? readRecord(values, at) : faults;
    if (Array.isArray(read)) prepared.bad.push({ line, id, faults: read });
    else prepared.records.push({ line, id, ...prepareImport(ctx, read, at) });
  }
  return prepared;
}

async function write(run: ImportRun, batch: PreparedBatch): Promise<void> {
  const { db, ctx, progress, faults, seen } = run;
  const from = progress.line;
  let next = progress;
  let isSettled = false;
  const settle = async (outcomes: readonly ImportOutcome[]) => {
    const bad = [...batch.bad, ...toBadLines(batch, outcomes)].sort((a, b) => a.line - b.line);
    next = { ...progress, line: batch.end, ...addTo(progress, outcomes, bad.length) };
    await faults.write(bad);
  };
  if (seen) await settle(await judge(db, ctx, batch, seen));
  else {
    // What does not depend on an answer is sent without waiting for it: the database is idle in each wait.
    const writeBatch = () =>
      db.transaction(async (tx) => {
        const [line, outcomes] = await Promise.all([
          lockProgress(tx, ctx.accountId, progress),
          judgeImport(tx, ctx, batch.records),
        ]);
        if (line !== from) {
          // The answer to an earlier try of this process was lost: it has been committed.
          if (isSettled && line === batch.end) return;
          throw new OvertakenError();
        }
        const settled = settle(outcomes);
        const inserted = insertImported(tx, ctx, batch.records, outcomes);
        const updated = updateProgress(tx, ctx.accountId, next);
        // The report is complete before another try can write it.
        const results = await Promise.allSettled([settled, inserted, updated]);
        const failed = results.find((result) => result.status === "rejected");
        if (failed) throw failed.reason;
        isSettled = true;
      }, DEADLINE_MS);
    await withRetries(writeBatch).catch((error) => {
      if (!(error instanceof DatabaseError && error.code === ID_IS_TAKEN)) throw error;
      // Another import has just written one of the records: now it is found.
      return withRetries(writeBatch);
    });
  }
  faults.keep();
  Object.assign(progress, next);
  run.onBatch(progress);
}

async function judge(
  db: Executor,
  ctx: ImportContext,
  { records }: PreparedBatch,
  seen: IdSet,
): Promise<ImportOutcome[]> {
  const outcomes = await judgeImport(db, ctx, records);
  return records.map(({ kyc }, index) => {
    const outcome = outcomes[index] as ImportOutcome;
    return outcome !== "imported" || seen.add(kyc.id) ? outcome : "repeated";
  });
}

function toBadLines({ records }: PreparedBatch, outcomes: readonly ImportOutcome[]): BadLine[] {
  return records.flatMap(({ line, id, input }, index) => {
    const outcome = outcomes[index] as ImportOutcome;
    if (outcome === "imported" || outcome === "unchanged") return [];
    const fault =
      input.id === undefined
        ? { message: MESSAGES_WITHOUT_ID[outcome] }
        : { field: "id", message: MESSAGES[outcome] };
    return [{ line, id, faults: [fault] }];
  });
}

function addTo(
  { imported, unchanged, bad }: LineCounts,
  outcomes: readonly ImportOutcome[],
  more: number,
): LineCounts {
  const count = (wanted: ImportOutcome) => outcomes.filter((outcome) => outcome === wanted).length;
  return {
    imported: imported + count("imported"),
    unchanged: unchanged + count("unchanged"),
    bad: bad + more,
  };
}
