import type { ListAuditEventsInput } from "../audit/list-audit-events.ts";
import type { FieldFault } from "../errors.ts";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../paging/page-input.ts";
import { ACTION_WORDS, STATUS_WORDS, toWord } from "../spellings.ts";
import { AUDIT_ACTIONS, type AuditAction } from "../vocabulary.ts";
import { readLimit } from "./list-params.ts";
import type { WireParams } from "./params.ts";
import { type BoundParam, boundParams, readBounds } from "./time-bounds.ts";

/** The parameters of a record's history. */
export const HISTORY_PARAMS = ["limit", "starting_after", "ending_before"] as const;

const TEXTS = { kyc_id: "kycId", customer_id: "customerId", token_id: "tokenId", actor: "actor" } as const;
/** The parameters of the trail. */
export const AUDIT_PARAMS = [
  ...["limit", "kyc_id", "customer_id", "token_id", "actor", "action", "status_after"],
  ...[...boundParams("at"), "starting_after", "ending_before"],
] as readonly AuditParam[];
export type AuditParam =
  | (typeof HISTORY_PARAMS)[number]
  | keyof typeof TEXTS
  | BoundParam<"at">
  | "action"
  | "status_after";

type Page = Omit<ListAuditEventsInput, "filter">;
type Filter = NonNullable<ListAuditEventsInput["filter"]>;

const EVENT_ID = /^evt_[1-9]\d{0,15}$/;

/** The requested page, and the faults of the parameters. */
export function readAuditPage({ values, faults }: WireParams): { page: Page; faults: FieldFault[] } {
  const found = [...faults];
  const invalid = (name: string, message: string) => found.push({ path: [name], kind: "invalid", message });
  const size = readLimit(values.get("limit"));
  if (size === undefined) invalid("limit", `must be an integer from 1 to ${MAX_PAGE_SIZE}`);
  const [after, before] = ["starting_after", "ending_before"].map((name) => {
    const value = values.get(name);
    if (value !== undefined && !EVENT_ID.test(String(value))) invalid(name, "must be the id of an event");
    return value as string | undefined;
  });
  if (after !== undefined && before !== undefined)
    invalid("ending_before", "can't be used together with starting_after");
  const direction = before === undefined ? "first" : "last";
  return { page: { [direction]: size ?? DEFAULT_PAGE_SIZE, after, before }, faults: found };
}

/** The requested filter, and the faults of the parameters. */
export function readAuditFilter({ values }: WireParams): { filter: Filter; faults: FieldFault[] } {
  const faults: FieldFault[] = [];
  const invalid = (name: string, message: string) => faults.push({ path: [name], kind: "invalid", message });
  const filter: Filter = {};
  for (const [name, field] of Object.entries(TEXTS)) {
    if (values.has(name)) filter[field] = values.get(name) as string;
  }
  if (values.has("status_after")) filter.statusAfter = toWord(STATUS_WORDS, values.get("status_after"));
  if (values.has("action")) {
    filter.actionIn = String(values.get("action"))
      .split(",")
      .map((word) => toWord(ACTION_WORDS, word));
    const isKnown = filter.actionIn.every((action) => (AUDIT_ACTIONS as readonly string[]).includes(action));
    if (!isKnown) {
      invalid("action", `must be some of ${AUDIT_ACTIONS.join(", ")}, with commas between them`);
      filter.actionIn = [] as AuditAction[];
    }
  }
  const { span, faults: ofBounds } = readBounds(values, "at");
  return { filter: { ...filter, at: span }, faults: [...faults, ...ofBounds] };
}
