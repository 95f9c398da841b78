import type { Executor } from "../db/client.ts";
import { signCheckpoint } from "./checkpoint.ts";
import { findHeads, type Head } from "./heads.ts";
import type { LogKeys } from "./signing-keys.ts";
import { emptyFrontier, rootOf } from "./tree.ts";

/** The head of an account's log, which is empty as long as the account has no event with a position. */
export async function findHead(db: Executor, accountId: string): Promise<Head> {
  const [head] = await findHeads(db, [accountId]);
  return head ?? { accountId, ...emptyFrontier() };
}

/**
 * The head as a signed checkpoint. Everything that signs a head does it here. Fails with a BrokenLogError if this process
 * knows of a signed head of the log that this one does not continue.
 */
export async function signHead(db: Executor, logKeys: LogKeys, head: Head): Promise<string> {
  await logKeys.signed.requireContinued(db, logKeys, head);
  const origin = logKeys.originOf(head.accountId);
  const checkpoint = signCheckpoint(
    { origin, size: head.size, root: rootOf(head) },
    logKeys.signersOf(origin),
  );
  logKeys.signed.remember(head);
  return checkpoint;
}
