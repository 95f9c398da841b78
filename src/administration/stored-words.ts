import {
  APIS,
  type Api,
  type AuditAction,
  RECORD_ACTIONS,
  type RecordAction,
  type Surface,
} from "../vocabulary.ts";

/** The words for an event's action and surface in its four columns. */
export interface StoredWords {
  action: RecordAction;
  otherAction: AuditAction | null;
  surface: Api;
  otherSurface: Surface | null;
}

/**
 * How an event's action and surface are stored. Replicas of release 0.2 know four actions and two surfaces, and show the
 * one that comes nearest for any other: a change of no record.
 */
export function toStoredWords({ action, surface }: { action: AuditAction; surface: Surface }): StoredWords {
  const isOfRecord = isRecordAction(action);
  const isApi = (APIS as readonly string[]).includes(surface);
  return {
    action: isOfRecord ? action : "updated",
    otherAction: isOfRecord ? null : action,
    surface: isApi ? (surface as Api) : "rest",
    otherSurface: isApi ? null : surface,
  };
}

/** Whether it is done to records, and not an act of administration. */
export function isRecordAction(action: AuditAction): action is RecordAction {
  return (RECORD_ACTIONS as readonly string[]).includes(action);
}
