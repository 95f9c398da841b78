/** A source can't be read as records. The message contains no value of a record. */
export class SourceError extends Error {
  override readonly name = "SourceError";
}
