import { openCustomerDigests } from "../audit/customer-digest.ts";
import type { Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { createLog } from "../log.ts";

/** What differs between the commands that call operations. */
type Given = Pick<OperationContext, "db" | "keys" | "requestId" | "enforcedRetention"> & {
  viewer: Viewer;
} & Partial<Pick<OperationContext, "surface" | "reads" | "logName" | "now">>;

/**
 * The context of operations that a command calls, without a request. Operators have the database and its keys: they have no
 * token that can be revoked. Reads are not audited, and nothing is logged, unless `given` says otherwise.
 */
export async function openOperatorContext(given: Given): Promise<OperationContext> {
  return {
    ...{ logs: null, surface: "cli", idempotency: null, reads: null, unreadable: [], fieldErrors: [] },
    ...{ log: createLog("silent"), now: Date.now },
    digestCustomer: await openCustomerDigests(given.db, given.keys),
    confirmViewer: async () => {},
    watchViewer: () => () => {},
    ...given,
  };
}
