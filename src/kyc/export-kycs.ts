import { recordAct } from "../administration/record-act.ts";
import { byViewer } from "../audit/by-viewer.ts";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { FieldFault } from "../errors.ts";
import { findHead, signHead } from "../ledger/sign-head.ts";
import { openLogKeys } from "../ledger/signing-keys.ts";
import { pagesOf } from "../paging/list.ts";
import { MAX_PAGE_SIZE } from "../paging/page-input.ts";
import type { ListKycsInput } from "./input.ts";
import { listKycs } from "./list-kycs.ts";
import type { ShownKyc } from "./show-kyc.ts";

/** An export that has begun. */
export interface KycExport {
  /**
   * The position of the account's next event when the export began: the events from there on have every change that the
   * export does not have.
   */
  position: number;
  /** The signed head of the account's log at that moment. */
  checkpoint: string;
  /** The records, newest first, in pages. It fails with UNAUTHENTICATED once the token is no longer valid. */
  pages: AsyncIterable<readonly ShownKyc[]>;
}

/**
 * Begins an export of the viewer's records that match the filter, and writes its event. Records that are created, changed
 * or deleted meanwhile may be in it or not. Needs `kyc:read`. Fails as `listKycs`.
 */
export async function exportKycs(
  ctx: OperationContext,
  filter: ListKycsInput["filter"],
  found: readonly FieldFault[] = [],
): Promise<KycExport> {
  const viewer = requireScope(ctx.viewer, "kyc:read");
  const first = await listKycs(ctx, { first: MAX_PAGE_SIZE, filter }, found);
  const head = await findHead(ctx.db, viewer.accountId);
  const checkpoint = await signHead(ctx.db, await openLogKeys(ctx), head);
  const act = { action: "records_exported", subject: null, at: ctx.now() } as const;
  await ctx.db.transaction((tx) => recordAct(tx, byViewer(ctx, viewer), act, viewer.accountId));
  const pages = pagesOf(async (after) => {
    await ctx.confirmViewer();
    return after === undefined ? first : listKycs(ctx, { first: MAX_PAGE_SIZE, after, filter });
  });
  return { position: head.size, checkpoint, pages };
}
