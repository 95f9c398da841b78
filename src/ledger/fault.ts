/** The kinds of tampering with a log. */
export type FaultKind =
  | "altered"
  | "removed"
  | "inserted"
  | "reordered"
  | "truncated"
  | "rewritten"
  | "unproven";

/** The first fault of a log. The message contains no data of records. */
export interface Fault {
  account: string;
  kind: FaultKind;
  /** Its position, or the first possible one; null if it has none. */
  position: number | null;
  message: string;
}
