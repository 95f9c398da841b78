import type { FieldFault } from "../errors.ts";
import type { WireParams } from "./params.ts";

/** Bounds of a time in whole seconds: which end they are of, and how many seconds they add. */
const BOUNDS = { gte: ["from", 0], gt: ["from", 1], lte: ["to", 1], lt: ["to", 0] } as const;
type Bound = keyof typeof BOUNDS;
export type BoundParam<Name extends string> = `${Name}[${Bound}]`;

/** The parameters of a time's bounds. */
export function boundParams<Name extends string>(name: Name): BoundParam<Name>[] {
  return (Object.keys(BOUNDS) as Bound[]).map((bound): BoundParam<Name> => `${name}[${bound}]`);
}

/** The span of epoch milliseconds that the bounds of a time mean, and the faults of the bounds. */
export function readBounds(values: WireParams["values"], time: string) {
  const faults: FieldFault[] = [];
  const span: { from?: number; to?: number } = {};
  for (const [bound, [end, seconds]] of Object.entries(BOUNDS)) {
    const name = `${time}[${bound}]`;
    const value = values.get(name);
    const invalid = (message: string) => faults.push({ path: [name], kind: "invalid", message });
    if (value === undefined) continue;
    if (!/^-?\d{1,12}$/.test(String(value))) invalid("must be a time in whole Unix seconds");
    else if (span[end] !== undefined) invalid("can't be used together with another bound of this end");
    else span[end] = (Number(value) + seconds) * 1000;
  }
  return { span, faults };
}

/** The parameters with the bounds of a time as a form has them, also if a JSON body has them in an object. */
export function flattenBounds(params: WireParams, time: string): WireParams {
  const bounds = params.values.get(time);
  if (typeof bounds !== "object" || bounds === null || Array.isArray(bounds)) return params;
  const { [time]: _bounds, ...others } = Object.fromEntries(params.values);
  const flat = Object.entries(bounds).map(([bound, value]): [string, unknown] => [
    `${time}[${bound}]`,
    value,
  ]);
  return { ...params, values: new Map([...Object.entries(others), ...flat]) };
}
