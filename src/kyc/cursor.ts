import { isKycId } from "../kyc-id.ts";

/** A position in the list of records, `(created_at, id)`. It remains valid after its record has been deleted. */
export interface Position {
  /** Epoch milliseconds. */
  createdAt: number;
  id: string;
}

const SHAPE = /^(-?\d{1,16}):(.*)$/;

/** The opaque cursor of a position. */
export function toKycCursor({ createdAt, id }: Position): string {
  return Buffer.from(`${createdAt}:${id}`, "latin1").toString("base64url");
}

/** The position of a cursor that `toKycCursor` created; null for any other string. */
export function fromKycCursor(cursor: string): Position | null {
  const [, createdAt, id] = SHAPE.exec(Buffer.from(cursor, "base64url").toString("latin1")) ?? [];
  if (createdAt === undefined || id === undefined || !isKycId(id)) return null;
  const position = { createdAt: Number(createdAt), id };
  return toKycCursor(position) === cursor ? position : null;
}

/** Negative if `a` is older than `b`, positive if it is newer. */
export function comparePositions(a: Position, b: Position): number {
  if (a.createdAt !== b.createdAt) return a.createdAt - b.createdAt;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
