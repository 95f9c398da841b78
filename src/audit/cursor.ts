const SHAPE = /^event:([1-9]\d{0,15})$/;

/** The opaque cursor of an event. */
export function toAuditCursor({ sequence }: { sequence: number }): string {
  return Buffer.from(`event:${sequence}`, "latin1").toString("base64url");
}

/** The sequence of a cursor that `toAuditCursor` created; null for any other string. */
export function fromAuditCursor(cursor: string): number | null {
  const [, digits] = SHAPE.exec(Buffer.from(cursor, "base64url").toString("latin1")) ?? [];
  const sequence = Number(digits);
  return Number.isSafeInteger(sequence) && toAuditCursor({ sequence }) === cursor ? sequence : null;
}
