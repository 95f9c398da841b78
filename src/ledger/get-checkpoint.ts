import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { findHead, signHead } from "./sign-head.ts";
import { openLogKeys } from "./signing-keys.ts";

/** The signed head of the viewer's account's log, as it is now. Needs `audit:read`. */
export async function getCheckpoint(ctx: OperationContext): Promise<string> {
  const { accountId } = requireScope(ctx.viewer, "audit:read");
  const logKeys = await openLogKeys(ctx);
  return signHead(ctx.db, logKeys, await findHead(ctx.db, accountId));
}
