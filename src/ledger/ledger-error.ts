/** The stored ledger contradicts itself, or lacks something. The message contains no data of records. */
export class LedgerError extends Error {
  override readonly name = "LedgerError";
}
