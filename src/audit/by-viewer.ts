import type { Administrator } from "../administration/record-act.ts";
import type { Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";

/** The viewer of a request, as the one who performs an act of administration. */
export function byViewer(
  { surface, requestId }: Pick<OperationContext, "surface" | "requestId">,
  { tokenId, tokenName, actorName = null }: Viewer,
): Administrator {
  return { surface, tokenId, tokenName, requestId, actorName };
}
