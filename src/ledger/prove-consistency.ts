import type { Executor } from "../db/client.ts";
import { LedgerError } from "./ledger-error.ts";
import { findHead, signHead } from "./sign-head.ts";
import type { LogKeys } from "./signing-keys.ts";
import { loadHashes } from "./stored-hashes.ts";
import { consistencyRanges, EMPTY_ROOT, isConsistent, rootOf } from "./tree.ts";

/**
 * The signed head of the account's log, with the proof that it continues the log as it was with `since` events, in the
 * form of c2sp.org/tlog-witness. Fails with a LedgerError if the log has fewer events, or was tampered with.
 */
export async function proveConsistency({
  db,
  logKeys,
  accountId,
  since,
}: {
  db: Executor;
  logKeys: LogKeys;
  accountId: string;
  since: number;
}): Promise<string> {
  const head = await findHead(db, accountId);
  if (since > head.size) {
    throw new LedgerError(`the log of ${accountId} has ${head.size} events, and not ${since}`);
  }
  const ranges = consistencyRanges(since, head.size);
  const before = { from: 0, to: since };
  const hashOf = await loadHashes(db, head, since === 0 ? ranges : [...ranges, before]);
  const hashes = ranges.map(hashOf);
  const first = { size: since, root: since === 0 ? EMPTY_ROOT : hashOf(before) };
  if (!isConsistent(first, { size: head.size, root: rootOf(head) }, hashes)) {
    throw new LedgerError(
      `the stored hashes of the log of ${accountId} contradict one another: run \`audit verify\``,
    );
  }
  const lines = [`old ${since}`, ...hashes.map((hash) => hash.toString("base64"))];
  return `${lines.join("\n")}\n\n${await signHead(db, logKeys, head)}`;
}
