import type { FieldFault } from "../errors.ts";
import { type RestName, restNames } from "../kyc/fields.ts";
import type { Kyc } from "../kyc/record.ts";
import { toSeconds } from "./kyc-body.ts";
import type { WireParams } from "./params.ts";

/** Fields that a client may send back from a fetched record, but not change. */
export const FIXED: readonly RestName<"once" | "never">[] = [
  "id",
  ...restNames("once"),
  ...restNames("never").filter((name) => name !== "id"),
];

/** The fixed fields in the request. In forms, a time is a text. Values of other types are ignored here. */
export function readFixed(values: WireParams["values"]) {
  const given: [name: string, value: string][] = [];
  const faults: FieldFault[] = [];
  for (const name of FIXED) {
    const value = values.get(name);
    if (typeof value === "string" || typeof value === "number") given.push([name, String(value)]);
    else if (values.has(name)) faults.push(isFixed(name));
  }
  return { given, faults };
}

function isFixed(name: string): FieldFault {
  const message = "can't be changed: leave it out, or send the stored value";
  return { path: [name], kind: "invalid", message };
}

/** The fixed fields that were given with another value than the stored one. */
export function findChangedFixed(values: WireParams["values"], stored: Kyc): FieldFault[] {
  const rendered = {
    ...{ id: stored.id, customer_id: stored.customerId },
    ...{ created_at: toSeconds(stored.createdAt), updated_at: toSeconds(stored.updatedAt) },
  } satisfies Record<RestName<"once" | "never">, unknown>;
  const equals = (value: unknown, field: string | number) =>
    value === field || (typeof field === "number" && value === String(field));
  return FIXED.filter((name) => values.has(name) && !equals(values.get(name), rendered[name])).map(isFixed);
}
