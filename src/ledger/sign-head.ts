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

/** The head as a signed checkpoint. */
export function signHead(logKeys: LogKeys, head: Head): string {
  const origin = logKeys.originOf(head.accountId);
  return signCheckpoint({ origin, size: head.size, root: rootOf(head) }, logKeys.signersOf(origin));
}
