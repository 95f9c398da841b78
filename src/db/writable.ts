import { AppError } from "../errors.ts";
import type { Executor } from "./client.ts";

/** Inserts nothing. A read-only server refuses it before it looks for rows. */
const TRY_TO_WRITE = "insert into kycs (account_id) select account_id from kycs where false";

/**
 * Whether the database accepts writes from this role. If the server is read-only, as after a failover, the pool leaves
 * it. Fails if the database can't be reached.
 */
export async function isWritable(db: Executor): Promise<boolean> {
  try {
    await db.execute(TRY_TO_WRITE);
    return true;
  } catch (error) {
    if (error instanceof AppError && (error.cause as { code?: string } | undefined)?.code === "25006")
      return false;
    throw error;
  }
}
