const SHAPE = /^event:([1-9]\d{0,15})$/;

/** The opaque cursor of an event. */
export function toCursor({ sequence }: { sequence: number }): string {
  return Buffer.from(`event:${sequence}`, "latin1").toString("base64url");
}

/** The sequence of a cursor as `toCursor` makes them, or null for any other string. */
export function fromCursor(cursor: string): number | null {
  const [, digits] = SHAPE.exec(Buffer.from(cursor, "base64url").toString("latin1")) ?? [];
  const sequence = Number(digits);
  return Number.isSafeInteger(sequence) && toCursor({ sequence }) === cursor ? sequence : null;
}
