/** What somebody has done to a log. */
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
  /** Where it is, or the first place where it can be; null: at no position. */
  position: number | null;
  message: string;
}
