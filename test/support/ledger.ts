import { createHash } from "node:crypto";
import type { Database, Executor } from "../../src/db/client.ts";
import { signCheckpoint } from "../../src/ledger/checkpoint.ts";
import type { OpenDigests } from "../../src/ledger/earlier-customers.ts";
import { saltedHash, toLeaf } from "../../src/ledger/event-leaf.ts";
import type { Head } from "../../src/ledger/heads.ts";
import { sealOnce } from "../../src/ledger/seal.ts";
import type { LogKeys } from "../../src/ledger/signing-keys.ts";
import { append, emptyFrontier, hashLeaf, rootOf } from "../../src/ledger/tree.ts";

/** Writes events as a replica of release 0.2 does: with the columns that it knows. */
export async function writeEvents(
  db: Pick<Executor, "execute">,
  accountId: string,
  requestIds: readonly string[],
  { reason = null, kycId = "k1" }: { reason?: string | null; kycId?: string } = {},
): Promise<void> {
  await db.execute(
    `with event as (
       insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids,
         changed_fields, status_before, status_after, reason)
       select $1, now(), 'tok_1', 'a name', 'rest', request, 'updated', array[$4], '{documentType}', 'pending', 'failed', $3
       from unnest($2::text[]) with ordinality as given(request, n) order by n
       returning account_id, kyc_ids, sequence
     )
     insert into audit_event_records (account_id, kyc_id, sequence)
     select account_id, unnest(kyc_ids), sequence from event`,
    [accountId, requestIds, reason, kycId],
  );
}

/** Digests of customers under no key. */
export const plainDigests: OpenDigests = async () => (accountId, customerId) =>
  createHash("sha256").update(`${accountId} ${customerId}`).digest().subarray(0, 16);

/** Signs a head as the gateway does, whatever was signed before. */
export function signAnyHead(logKeys: LogKeys, head: Head): string {
  const origin = logKeys.originOf(head.accountId);
  return signCheckpoint({ origin, size: head.size, root: rootOf(head) }, logKeys.signersOf(origin));
}

/** Seals until there is nothing more to do. */
export async function sealAll(db: Database, limit?: number, openDigests = plainDigests): Promise<void> {
  for (let tries = 0; tries < 10_000; tries++)
    if ((await sealOnce(db, openDigests, limit)) === "idle") return;
  throw new Error("sealing does not come to an end");
}

interface SealedEvent {
  position: number;
  requestId: string;
}

/** An account's events by position. */
export async function sealedEvents(db: Pick<Executor, "execute">, accountId: string): Promise<SealedEvent[]> {
  return db.execute<SealedEvent>(
    `select position::float8, request_id as "requestId" from ledger_entries join audit_events using (account_id, sequence)
     where account_id = $1 order by position`,
    [accountId],
  );
}

/**
 * What is wrong in the ledger: gaps, events without a position or with several, and leaves, subtrees and heads that are
 * not those of the events. It reads the tables and hashes everything anew.
 */
export async function faultsOf(db: Pick<Executor, "execute">): Promise<string[]> {
  const faults: string[] = [];
  // biome-ignore lint/suspicious/noExplicitAny: the columns are named right here.
  const rows = await db.execute<any>(
    `select account_id as "accountId", position::float8, sequence::float8, leaf_hash, token_name_salt, actor_salt, actor_hash,
       reason_hash, reason_salt, round(date_part('epoch', at) * 1000) as at, token_id as "tokenId", token_name, actor_name,
       coalesce(other_surface, surface::text) as surface, request_id as "requestId",
       coalesce(other_action, action::text) as action, subject, kyc_ids as "kycIds", changed_fields as "changedFields",
       status_before as "statusBefore", status_after as "statusAfter", document_type_after as "documentTypeAfter",
       version_after as "versionAfter", reason
     from audit_events full join ledger_entries using (account_id, sequence) order by account_id, position`,
  );
  const frontiers = new Map<string, ReturnType<typeof emptyFrontier>>();
  const nodes = new Map<string, string>();
  for (const row of rows) {
    const { accountId, position } = row;
    const name = `${accountId}/${row.sequence}`;
    const frontier = frontiers.get(accountId) ?? emptyFrontier();
    frontiers.set(accountId, frontier);
    if (position === null) faults.push(`${name} has no position`);
    else if (row.requestId === null) faults.push(`${name} has no event`);
    else if (position !== frontier.size)
      faults.push(`${name} has position ${position}, not ${frontier.size}`);
    else {
      const tokenNameHash = saltedHash(row.token_name_salt, row.token_name);
      const reasonHash = row.reason === null ? null : saltedHash(row.reason_salt, row.reason);
      const actorHash = row.actor_name === null ? null : saltedHash(row.actor_salt, row.actor_name);
      if (actorHash && !actorHash.equals(row.actor_hash)) faults.push(`${name} has another actor`);
      if (reasonHash && !reasonHash.equals(row.reason_hash)) faults.push(`${name} has another reason`);
      const leafHash = hashLeaf(toLeaf(row, { position, tokenNameHash, actorHash, reasonHash }));
      if (!leafHash.equals(row.leaf_hash)) faults.push(`${name} has another leaf`);
      append(frontier, leafHash, ({ level, index }, hash) => {
        if (level > 0 && level % 8 === 0) nodes.set(`${accountId}/${level}/${index}`, hash.toString("hex"));
      });
    }
  }
  const heads = await db.execute<{ name: string; head: string }>(
    `select account_id as name, size || '/' || encode(frontier, 'hex') as head from ledger_heads order by 1`,
  );
  const expected = [...frontiers].map(([name, { size, hashes }]) => ({
    name,
    head: `${size}/${Buffer.concat(hashes).toString("hex")}`,
  }));
  if (JSON.stringify(heads) !== JSON.stringify(expected))
    faults.push("the heads are not those of the events");
  const stored = await db.execute<{ name: string; hash: string }>(
    `select account_id || '/' || level || '/' || index as name, encode(hash, 'hex') as hash from ledger_nodes`,
  );
  const same = stored.length === nodes.size && stored.every(({ name, hash }) => nodes.get(name) === hash);
  if (!same) faults.push("the subtrees are not those of the events");
  return faults;
}
