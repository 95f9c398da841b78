import { badUserInput, type FieldFault, RequestRefusal } from "../errors.ts";

/** The raw parameters by their REST names, with the faults that are already known. */
export interface WireParams {
  values: ReadonlyMap<string, unknown>;
  faults: readonly FieldFault[];
}

/** The maximum number of parameters, many times what a request needs. More are reported as one fault. */
const MOST_PARAMS = 100;

/** The parameters of a query string or a form-encoded body: the first hundred, and a fault if there are more. */
export function parseForm(text: string): WireParams {
  const values = new Map<string, string>();
  const faults = new Map<string, FieldFault>();
  const pairs = text.split("&", MOST_PARAMS + 1);
  if (pairs.length > MOST_PARAMS) faults.set("", tooMany());
  for (const pair of pairs.slice(0, MOST_PARAMS)) {
    if (pair === "") continue;
    const [, rawName = "", rawValue = ""] = /^([^=]*)=?(.*)$/s.exec(pair) ?? [];
    const name = decode(rawName) ?? rawName;
    const value = decode(rawValue);
    const fault = (message: string) => faults.set(name, { path: [name], kind: "invalid", message });
    if (value === undefined) fault("is not percent-encoded UTF-8");
    else if (values.has(name)) fault("must be given once");
    values.set(name, value ?? "");
  }
  return { values, faults: [...faults.values()] };
}

function tooMany(): FieldFault {
  return { path: ["request"], kind: "invalid", message: `must have at most ${MOST_PARAMS} parameters` };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

/**
 * The parameters of a body, form-encoded or JSON according to its content type; none if it is empty. Fails with a
 * RequestRefusal for another content type, and with BAD_USER_INPUT if the body does not match its type.
 */
export function parseBody(contentType: string | undefined, body: unknown): WireParams {
  if (!Buffer.isBuffer(body) || body.length === 0) return parseForm("");
  const type = contentType?.split(";")[0]?.trim().toLowerCase();
  if (type !== "application/x-www-form-urlencoded" && type !== "application/json") {
    throw new RequestRefusal(
      415,
      "content_type_unsupported",
      "The body must be application/x-www-form-urlencoded or application/json.",
    );
  }
  const text = toText(body);
  if (type !== "application/json") return parseForm(text);
  const entries = Object.entries(parseJson(text));
  const values = new Map(entries.slice(0, MOST_PARAMS));
  return { values, faults: entries.length > MOST_PARAMS ? [tooMany()] : [] };
}

const bodyFault = (message: string) => badUserInput([{ path: ["body"], kind: "invalid", message }]);

function toText(body: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw bodyFault("is not UTF-8");
  }
}

function parseJson(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the body.
    throw bodyFault("is not valid JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bodyFault("must be a JSON object");
  }
  return value;
}

// Only letters, with indexes as SDKs write lists. If a client mixes up names and values, a document number mostly has digits.
const SHOWABLE_NAME = /^[a-z_-]{1,64}(\[\w{0,64}\]){0,4}$/i;

/**
 * Adds a fault to `params` for each unknown parameter. A name that does not look like a name is not repeated: if a query or
 * body is malformed, it can be a part of a record.
 */
export function allowOnly(params: WireParams, known: readonly string[], where: "query" | "body"): WireParams {
  const names = [...params.values.keys()].filter((name) => !known.includes(name));
  const unknown = names.map((name): FieldFault => {
    if (SHOWABLE_NAME.test(name))
      return { path: [name], kind: "unknown", message: "is not a parameter of this request" };
    return { path: [where], kind: "unknown", message: "has names that are no parameters of this request" };
  });
  const strange = new Set(names);
  const faults = params.faults.filter(({ path }) => !strange.has(String(path[0])));
  return { ...params, faults: [...faults, ...unknown] };
}
