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
 * How an event's action and surface are stored. Replicas of release 0.2 have only the actions of records and the two APIs:
 * they show an administrative act as an update of no record, and any other surface as REST.
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

/** Whether this is done to records, and is not an act of administration. */
export function isRecordAction(action: AuditAction): action is RecordAction {
  return (RECORD_ACTIONS as readonly string[]).includes(action);
}
