import { openCustomerDigests } from "../audit/customer-digest.ts";
import type { Database } from "../db/client.ts";
import { openIdSecret } from "../kyc/import-kycs.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { FaultFile } from "./fault-file.ts";
import { IdSet } from "./id-set.ts";
import { importRecords } from "./import-records.ts";
import type { RecordSource } from "./open-source.ts";
import {
  beginProgress,
  findProgress,
  type ImportProgress,
  type LineCounts,
  restartProgress,
} from "./store.ts";

/** The import of one file, or of the list of a server, into one account. */
export interface FileImport {
  db: Database;
  keys: Keyring;
  account: string;
  source: RecordSource;
  /** Identifies the contents of the file, or the list. */
  digest: string;
  /** Whether the source changes, so that each run reads it from its start. What earlier runs have noted is replaced. */
  isAnew?: boolean;
  /** The request id of its events, if no earlier run continues. */
  requestId: string;
  isDryRun: boolean;
  faults: FaultFile;
  /** An earlier run ended after this line, and the report of bad lines has so many fewer than there were. */
  onContinue: (line: number, missing: number) => void;
  onBatch: (counts: LineCounts) => void;
}

/** The outcomes of the lines of the file, of all runs together. */
export interface FileOutcome extends LineCounts {
  /** Whether an earlier run had imported the whole file. */
  wasFinished: boolean;
}

/**
 * Afterwards the account has each good record of the file once, and the report names each bad line once, also if earlier
 * runs ended at any moment. A file that was imported before changes nothing. Fails as `importRecords`, and with a
 * SourceError if the file can't be read as records.
 */
export async function importFile(wanted: FileImport): Promise<FileOutcome> {
  const { db, keys, account, source, faults, isDryRun, onBatch } = wanted;
  const now = await openClock(db);
  const progress = await findOrBegin(wanted, now());
  const wasFinished = progress.finishedAt !== null;
  if (!wasFinished) {
    if (progress.line > 0) {
      const kept = await faults.continueAfter(progress.line);
      wanted.onContinue(progress.line, progress.bad - kept);
    }
    const ctx = {
      ...{ accountId: account, requestId: progress.requestId, keys },
      digestCustomer: await openCustomerDigests(db, keys),
      idSecret: await openIdSecret(db, keys),
    };
    const seen = isDryRun ? new IdSet() : null;
    await importRecords({ db, ctx, progress, faults, now, onBatch, seen }, source.entries);
  }
  const { imported, unchanged, bad } = progress;
  return { imported, unchanged, bad, wasFinished };
}

/** The clock of the database: a wrong clock of this machine must not decide which times are in the future. */
async function openClock(db: Database): Promise<() => number> {
  const [row] = await db.execute<{ now: number }>("select round(date_part('epoch', now()) * 1000) as now");
  const offset = (row as { now: number }).now - performance.now();
  return () => Math.round(performance.now() + offset);
}

/** How far the import of this file is; at its start if the account has not had it. A dry run begins none. */
async function findOrBegin(wanted: FileImport, now: number): Promise<ImportProgress> {
  const { db, keys, account, digest, requestId, isDryRun, isAnew = false } = wanted;
  // The key that was the newest when it began can be an older one now.
  const sources = keys.keyIds.map((keyId) => keys.digest("import", account, digest, keyId));
  const start: ImportProgress = {
    ...{ source: sources[0] as string, requestId, line: 0, imported: 0, unchanged: 0, bad: 0 },
    finishedAt: null,
  };
  if (isDryRun) return start;
  const known = await findProgress(db, account, sources);
  if (known && isAnew) {
    await restartProgress(db, account, { source: known.source, requestId }, now);
    return { ...start, source: known.source };
  }
  if (known) return known;
  await beginProgress(db, account, start, now);
  return (await findProgress(db, account, sources)) as ImportProgress;
}
