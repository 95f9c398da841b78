import type { Executor } from "../../src/db/client.ts";
import { insertImported, judgeImport } from "../../src/kyc/import-kycs.ts";

/** Writes the records that the account does not have, as an import does. `tx` is a transaction. */
export async function importKycs(
  tx: Executor,
  ...[ctx, records]: [Parameters<typeof judgeImport>[1], Parameters<typeof judgeImport>[2]]
): Promise<void> {
  await insertImported(tx, ctx, records, await judgeImport(tx, ctx, records));
}
