import type { Scope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { openOperatorContext } from "../kyc/operator-context.ts";
import { signedHeadsOf } from "../ledger/signed-heads.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import { openKeyring } from "../sealing/open-keyring.ts";
import type { CommandScene } from "./command.ts";
import { say } from "./print.ts";

/** The context of operations on an account that a command calls. Needs the encryption keys. */
export async function openContextOf(
  { db, config, by }: CommandScene,
  accountId: string,
  scopes: readonly Scope[],
): Promise<OperationContext> {
  const keys = await openKeyring(config, db, SEALED_PLACES, say, by);
  if (config.auditCheckpointFile !== undefined) signedHeadsOf(keys).readLater(config.auditCheckpointFile);
  return openOperatorContext({
    ...{ db, keys, logName: config.auditLogName, surface: by.surface, requestId: by.requestId },
    viewer: { accountId, tokenId: by.tokenId, tokenName: by.tokenName, expiresAt: null, scopes },
    enforcedRetention: config.retentionEnforced ? config.retention : null,
    reads: config.auditReads ? { shown: new Map(), confirmed: new Map() } : null,
  });
}
