import { isKycId } from "../kyc-id.ts";
import { ORDER_NAMES, type OrderName } from "../vocabulary.ts";
import type { PlainValues } from "./fields.ts";

/** How a list is sorted: by a time, and by id if times are equal. */
export interface Ordering {
  by: OrderName;
  isDescending: boolean;
}

/** The order of lists unless a client asks for another one: newest first. */
export const NEWEST_FIRST: Ordering = { by: "created_at", isDescending: true };

/** A position in the list of records in one order, `(time, id)`. It remains valid after its record has been deleted. */
export interface Position {
  /** Epoch milliseconds; infinity if the record does not expire. */
  at: number;
  id: string;
}

/** Epoch milliseconds of the time by which an order sorts the record. */
type Times = Pick<PlainValues, "id" | "createdAt" | "updatedAt" | "statusSince" | "expiresAt">;
const TIMES: Record<OrderName, (kyc: Times) => number> = {
  created_at: (kyc) => kyc.createdAt,
  updated_at: (kyc) => kyc.updatedAt,
  status_since: (kyc) => kyc.statusSince,
  expires_at: (kyc) => kyc.expiresAt ?? Number.POSITIVE_INFINITY,
};

/** The position of a record in this order. */
export function positionOf(kyc: Times, by: OrderName): Position {
  return { at: TIMES[by](kyc), id: kyc.id };
}

const NEVER = "never";
const SHAPE = /^(?:([a-z_]+):)?(-?\d{1,16}|never):(.*)$/;

/** The opaque cursor of a position. Cursors of the order by creation name no order, as in earlier releases. */
export function toKycCursor({ at, id }: Position, by: OrderName = "created_at"): string {
  const time = at === Number.POSITIVE_INFINITY ? NEVER : at;
  return Buffer.from(`${by === "created_at" ? "" : `${by}:`}${time}:${id}`, "latin1").toString("base64url");
}

/** The position and order of a cursor that `toKycCursor` created; null for any other string. */
export function fromKycCursor(cursor: string): { by: OrderName; position: Position } | null {
  const text = Buffer.from(cursor, "base64url").toString("latin1");
  const [, name = "created_at", time, id] = SHAPE.exec(text) ?? [];
  const by = ORDER_NAMES.find((order) => order === name);
  if (by === undefined || time === undefined || id === undefined || !isKycId(id)) return null;
  const position = { at: time === NEVER ? Number.POSITIVE_INFINITY : Number(time), id };
  return toKycCursor(position, by) === cursor ? { by, position } : null;
}

/** Negative if `a` is older than `b`, positive if it is newer. */
export function comparePositions(a: Position, b: Position): number {
  if (a.at !== b.at) return a.at < b.at ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
