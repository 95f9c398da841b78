import type { OperationContext } from "../../context.ts";
import { AppError, badUserInput } from "../../errors.ts";
import { isKeyFault } from "../../idempotency/key.ts";

/** The failure of a request whose database could not be reached. */
const outages = new WeakMap<OperationContext, AppError>();

/**
 * Does the work of one mutation field. A document can have many, which run one after another. If the token is revoked
 * meanwhile, the rest must fail; if the database can't be reached, the rest fails without waiting for it again. Paths of
 * input errors begin with the argument's name `input`, except those of headers.
 */
export async function runMutation<T>(ctx: OperationContext, work: () => Promise<T>): Promise<T> {
  const outage = outages.get(ctx);
  if (outage) throw outage;
  try {
    await ctx.confirmViewer();
    return await work();
  } catch (error) {
    if (error instanceof AppError && error.code === "UNAVAILABLE") outages.set(ctx, error);
    if (!(error instanceof AppError) || error.faults.length === 0) throw error;
    throw badUserInput(
      error.faults.map((fault) => (isKeyFault(fault) ? fault : { ...fault, path: ["input", ...fault.path] })),
    );
  }
}
