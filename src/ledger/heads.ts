import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { type Frontier, HASH_LENGTH } from "./tree.ts";

/** The log of an account, as far as it is needed to append to it. */
export interface Head extends Frontier {
  accountId: string;
}

/** The columns of `ledger_heads` that `toHead` reads. */
export const headColumns = sql.raw("account_id, size::float8, frontier");
/** The head of these values. If somebody has changed the length of the frontier, its last hash is a part of one. */
export const toHead = ([accountId, size, frontier]: [string, number, Buffer]): Head => ({
  accountId,
  size,
  hashes: Array.from({ length: Math.ceil(frontier.length / HASH_LENGTH) }, (_, n) =>
    frontier.subarray(n * HASH_LENGTH, (n + 1) * HASH_LENGTH),
  ),
});

const selectHeads = statement(
  () => sql`
    select ${headColumns} from ledger_heads
    where account_id = any(${sql.placeholder("accountIds")}::text[])`,
  toHead,
);

/** The logs of those of these accounts that have one. */
export function findHeads(db: Executor, accountIds: readonly string[]): Promise<Head[]> {
  return selectHeads(db, { accountIds });
}
