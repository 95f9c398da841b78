import { isUtf8 } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import { RequestRefusal } from "../errors.ts";
import { ID_NAMES, type TrustedDocuments } from "./documents/trusted-documents.ts";

/** The parameters of a request. `query` is the text of the document even if the request only named it. */
export interface Params {
  query: string;
  operationName?: string | null;
  variables?: Record<string, unknown> | null;
}

/** The parts of an HTTP request that its parameters can be in. */
export interface ParamsRequest {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  /** Bytes, or nothing. */
  body: unknown;
}

const NAMES = new Set(["query", "operationName", "variables", "extensions"]);
const ALL_NAMES = new Set([...NAMES, ...ID_NAMES]);

/**
 * The parameters of a GET or a POST. Fails with a RequestRefusal if they are not those of GraphQL over HTTP, and with
 * the GraphQLError of `trusted` if they name a document that it does not have. No error repeats what was sent.
 */
export function readParams(request: ParamsRequest, trusted: TrustedDocuments): Params {
  const sent = request.method === "POST" ? readBody(request) : readAddress(request.url);
  const params = trusted.resolve(sent);
  const { query, operationName, variables, extensions } = params;
  for (const name of Object.keys(params))
    if (!NAMES.has(name)) throw malformed(`The request has parameters besides ${[...NAMES].join(", ")}.`);
  if (query == null) throw malformed("The request has no query.");
  if (typeof query !== "string") throw malformed("The query must be a string.");
  if (operationName != null && typeof operationName !== "string")
    throw malformed("The operationName must be a string.");
  if (variables != null && !isObject(variables)) throw malformed("The variables must be an object.");
  if (extensions != null && !isObject(extensions)) throw malformed("The extensions must be an object.");
  return { query, operationName, variables } as Params;
}

function readBody({ headers, body }: ParamsRequest): Record<string, unknown> {
  if (!Buffer.isBuffer(body) || body.length === 0) throw malformed("The request has no body.");
  // Browsers send forms and plain text to other origins without a preflight.
  const type = headers["content-type"]?.split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json")
    throw new RequestRefusal(415, "content_type_unsupported", "The body must be application/json.");
  // Decoding would replace each faulty byte with U+FFFD, which would then be stored.
  if (!isUtf8(body)) throw malformed("The body is not UTF-8.");
  const params = parseJson(body.toString().replace(/^\ufeff/, ""));
  if (Array.isArray(params)) throw malformed("Send one operation for each request: there are no batches.");
  if (!isObject(params)) throw malformed("The body must be a JSON object.");
  return params;
}

function readAddress(url: string): Record<string, unknown> {
  const params: Record<string, unknown> = {};
  for (const pair of searchOf(url).split("&")) {
    const [name = "", value = ""] = pair.split(/=(.*)/s, 2).map(decode);
    // Ignore other parameters: they may be for a proxy, for example.
    if (!ALL_NAMES.has(name)) continue;
    if (name in params) throw malformed(`The parameter ${name} is sent more than once.`);
    params[name] = name === "variables" || name === "extensions" ? parseJson(value) : value;
  }
  return params;
}

/** The query of an address. Its path does not matter: a client may send a whole URL. */
function searchOf(url: string): string {
  const start = url.indexOf("?");
  return start === -1 ? "" : url.slice(start + 1);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw malformed("The address is not percent-encoded UTF-8.");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed("The request holds something that is not JSON.");
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const malformed = (message: string) => new RequestRefusal(400, "request_malformed", message);
