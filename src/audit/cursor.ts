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

const ID = /^evt_([1-9]\d{0,15})$/;

/** The id of an event. */
export function toEventId({ sequence }: { sequence: number }): string {
  return `evt_${sequence}`;
}

/** The sequence of an id that `toEventId` created; null for any other string. */
export function fromEventId(id: string): number | null {
  const sequence = Number(ID.exec(id)?.[1]);
  return Number.isSafeInteger(sequence) ? sequence : null;
}
