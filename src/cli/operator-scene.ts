import type { Scope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { openOperatorContext } from "../kyc/operator-context.ts";
import { signedHeadsOf } from "../ledger/signed-heads.ts";
import type { CommandScene } from "./command.ts";
import { openKeys } from "./open-keys.ts";

/** The context of operations on an account that a command calls. Needs the encryption keys. */
export async function openContextOf(
  scene: CommandScene,
  accountId: string,
  scopes: readonly Scope[],
): Promise<OperationContext> {
  const { db, config, by } = scene;
  const keys = await openKeys(scene);
  if (config.auditCheckpointFile !== undefined) signedHeadsOf(keys).readLater(config.auditCheckpointFile);
  return openOperatorContext({
    ...{ db, keys, logName: config.auditLogName, surface: by.surface, requestId: by.requestId },
    viewer: { accountId, tokenId: by.tokenId, tokenName: by.tokenName, expiresAt: null, scopes },
    enforcedRetention: config.retentionEnforced ? config.retention : null,
    reads: config.auditReads ? { shown: new Map(), confirmed: new Map() } : null,
  });
}
