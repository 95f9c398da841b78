import { setTimeout as wait } from "node:timers/promises";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { batched } from "../db/batch.ts";
import type { Database } from "../db/client.ts";
import { AppError } from "../errors.ts";
import type { Head } from "./heads.ts";
import { LedgerError } from "./ledger-error.ts";
import { formatProof } from "./proof.ts";
import { findSealed, leafOf, type SealedEvent } from "./sealed-events.ts";
import { findHead, signHead } from "./sign-head.ts";
import { type KeySource, openLogKeys } from "./signing-keys.ts";
import { loadHashes } from "./stored-hashes.ts";
import { hashLeaf, inclusionRanges, rootByInclusion, rootOf } from "./tree.ts";

/** How long a proof waits for the sealer, which needs a tenth of a second. Milliseconds. */
const PATIENCE_MS = 2000;
const LOOK_AGAIN_MS = 100;

interface Wanted {
  accountId: string;
  sequence: number;
  source: KeySource;
}

/** The proof that an event is in its account's log, and where. */
export interface EventProof {
  position: number;
  /** As in c2sp.org/tlog-proof. */
  text: string;
}

// Proofs that are asked for at the same time share the statements, the head and its signature.
const findProof = batched<Wanted, EventProof | null>(
  ({ accountId }) => accountId,
  ({ sequence }) => sequence,
  proveAll,
);

/** Each event's proof, in the order of the events; null for one without a position. */
async function proveAll(
  db: Database,
  wanted: readonly [Wanted, ...Wanted[]],
): Promise<(EventProof | null)[]> {
  const [{ accountId, source }] = wanted;
  const found = await findSealed(
    db,
    accountId,
    wanted.map(({ sequence }) => sequence),
  );
  if (found.length === 0) return wanted.map(() => null);
  // Read after the entries: it has them all.
  const head = await findHead(db, accountId);
  const ranges = new Map(
    found.map(({ entry: { sequence, position } }) => [sequence, inclusionRanges(position, head.size)]),
  );
  const hashOf = await loadHashes(db, head, [...ranges.values()].flat());
  const checkpoint = await signHead(db, await openLogKeys({ ...source, db }), head);
  const proofs = new Map(
    found.map((sealed): [number, EventProof] => {
      const { position, sequence } = sealed.entry;
      const hashes = (ranges.get(sequence) ?? []).map(hashOf);
      const extra = Buffer.from(leafOf(sealed));
      requireValid(head, sealed, { extra, hashes });
      return [sequence, { position, text: formatProof({ extra, index: position, hashes, checkpoint }) }];
    }),
  );
  return wanted.map(({ sequence }) => proofs.get(sequence) ?? null);
}

/** Fails with a LedgerError if clients would refuse the proof: somebody has changed the event, or a stored hash. */
function requireValid(
  head: Head,
  { entry: { accountId, position } }: SealedEvent,
  { extra, hashes }: { extra: Buffer; hashes: readonly Buffer[] },
): void {
  const root = rootByInclusion(position, head.size, hashLeaf(extra), hashes);
  if (root?.equals(rootOf(head))) return;
  throw new LedgerError(
    `the event ${position} of the log of ${accountId} is not what was sealed: run \`audit verify\``,
  );
}

/**
 * The proof that the event with this sequence is in the log of the viewer's account, as of now. Needs `audit:read`. Waits
 * up to 2 s for an event that has no position yet, and then fails with UNAVAILABLE. Fails with a LedgerError if the event
 * or the log was tampered with.
 */
export async function proveEvent(
  ctx: OperationContext,
  { sequence }: { sequence: number },
): Promise<EventProof> {
  const { accountId } = requireScope(ctx.viewer, "audit:read");
  return waitForProof(ctx, accountId, sequence, PATIENCE_MS);
}

/** As `proveEvent`, for an event of the account that the viewer has just caused. Waits up to `patience` milliseconds. */
export async function waitForProof(
  ctx: OperationContext,
  accountId: string,
  sequence: number,
  patience: number,
): Promise<EventProof> {
  const until = performance.now() + patience;
  for (;;) {
    const proof = await findProof(ctx.db, { accountId, sequence, source: ctx });
    if (proof !== null) return proof;
    if (performance.now() > until) {
      throw new AppError("UNAVAILABLE", "The event has no position in its log yet. Try again shortly.");
    }
    await wait(LOOK_AGAIN_MS);
  }
}
