import { and, eq, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { imports } from "../db/import-schema.ts";
import { epochMillis, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";

/** How many lines had which outcome. */
export interface LineCounts {
  imported: number;
  /** The account had these records already. */
  unchanged: number;
  bad: number;
}

/** How far an import is. */
export interface ImportProgress extends LineCounts {
  source: string;
  /** The request id of its events. */
  requestId: string;
  /** Everything up to this line is done. */
  line: number;
  /** Epoch milliseconds; null while it is not finished. */
  finishedAt: number | null;
}

const given = sql.placeholder;
const { source, requestId, line, imported, unchanged, bad } = imports;

const selectBySources = statement(
  (db) =>
    db
      .select({
        source,
        requestId,
        line,
        imported,
        unchanged,
        bad,
        finishedAt: epochMillis(imports.finishedAt),
      })
      .from(imports)
      .where(
        and(
          eq(imports.accountId, given("accountId")),
          sql`${imports.source} = any(${given("sources")}::text[])`,
        ),
      ),
  (row: [string, string, number, number, number, number, number | null]): ImportProgress => ({
    ...{ source: row[0], requestId: row[1], line: Number(row[2]), imported: Number(row[3]) },
    ...{ unchanged: Number(row[4]), bad: Number(row[5]), finishedAt: row[6] },
  }),
);

/** The import of the account whose source has one of these digests. */
export async function findProgress(
  db: Executor,
  accountId: string,
  sources: string[],
): Promise<ImportProgress | undefined> {
  return (await selectBySources(db, { accountId, sources }))[0];
}

const insert = statement(
  (db) =>
    db
      .insert(imports)
      .values({
        ...{ accountId: given("accountId"), source: given("source"), requestId: given("requestId") },
        ...{ line: 0, imported: 0, unchanged: 0, bad: 0, startedAt: given("startedAt"), finishedAt: null },
      })
      .onConflictDoNothing()
      .returning({ source }),
  () => true,
);

/** Notes that an import begins. False: another process has begun the same one. */
export async function beginProgress(
  db: Executor,
  accountId: string,
  begun: Pick<ImportProgress, "source" | "requestId">,
  startedAt: number,
): Promise<boolean> {
  const { source, requestId } = begun;
  const values = { accountId, source, requestId, startedAt: toTimestamptz(startedAt) };
  return (await insert(db, values)).length > 0;
}

const restart = statement(
  () => sql`
    update imports set request_id = ${given("requestId")}, line = 0, imported = 0, unchanged = 0, bad = 0,
      started_at = ${given("startedAt")}::timestamptz, finished_at = null
    where account_id = ${given("accountId")} and source = ${given("source")}`,
);

/** Notes that an import begins again, at the start of its source. An earlier run that has not ended fails with its next batch. */
export async function restartProgress(
  db: Executor,
  accountId: string,
  { source, requestId }: Pick<ImportProgress, "source" | "requestId">,
  startedAt: number,
): Promise<void> {
  await restart(db, { accountId, source, requestId, startedAt: toTimestamptz(startedAt) });
}

const selectLine = statement(
  () => sql`
    select line from imports
    where account_id = ${given("accountId")} and source = ${given("source")}
      and request_id = ${given("requestId")} and finished_at is null
    for update`,
  ([line]: [string | number]) => Number(line),
);

/**
 * The line up to which the import is done, locked until the transaction ends; undefined if it is finished, or has been begun
 * again.
 */
export async function lockProgress(
  tx: Executor,
  accountId: string,
  { source, requestId }: Pick<ImportProgress, "source" | "requestId">,
): Promise<number | undefined> {
  return (await selectLine(tx, { accountId, source, requestId }))[0];
}

const update = statement(
  () => sql`
    update imports set line = ${given("line")}, imported = ${given("imported")}, unchanged = ${given("unchanged")},
      bad = ${given("bad")}, finished_at = ${given("finishedAt")}::timestamptz
    where account_id = ${given("accountId")} and source = ${given("source")}`,
);

/** Notes how far an import is that the transaction has locked. */
export async function updateProgress(
  tx: Executor,
  accountId: string,
  progress: ImportProgress,
): Promise<void> {
  const { source, line, imported, unchanged, bad, finishedAt } = progress;
  const end = finishedAt === null ? null : toTimestamptz(finishedAt);
  await update(tx, { accountId, source, line, imported, unchanged, bad, finishedAt: end });
}
