import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { createOpenapi } from "../../src/rest/openapi/openapi.ts";

/** An answer as any client sees it. */
export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  body: string;
}

/** The description of one answer in the document, with references resolved. */
interface Response {
  pointer: string;
  headers: Record<string, { schema: object; required: boolean }>;
  hasBody: boolean;
  /** Types of bodies that are described as text alone. */
  texts: string[];
}

// Headers that any HTTP server may add. They are not part of this API.
const OF_HTTP =
  /^(access-control-.*|allow|cache-control|connection|content-(length|security-policy|type)|cross-origin-.*|date|keep-alive|referrer-policy|strict-transport-security|transfer-encoding|vary|x-content-type-options)$/;

// biome-ignore lint/suspicious/noExplicitAny: the document's shape is its own standard's
const document = createOpenapi() as any;
const ajv = new Ajv2020({ allErrors: true });
addFormats.default(ajv);
// To resolve references, the whole document is added as a schema. Its keywords mean nothing to the validator.
ajv.addVocabulary(Object.keys(document));
ajv.addSchema(document, "openapi", false, false);
const validators = new Map<string, ValidateFunction>();

const NOT_REST = /^\/(graphql|health|ready|metrics)(\?|$)/;

/**
 * Fails, naming every difference, if the OpenAPI document does not describe this answer to this request. Other paths than
 * those of REST are ignored.
 */
export function expectDescribed(method: string, url: string, answer: Answer): void {
  if (NOT_REST.test(url)) return;
  const faults = differences(method, url, answer);
  if (faults.length === 0) return;
  throw new Error(`OpenAPI: ${method} ${url} was answered ${answer.status}: ${faults.join("; ")}`);
}

function differences(method: string, url: string, answer: Answer): string[] {
  const response = describedAnswer(method, url.replace(/\?.*/s, ""), answer.status);
  if (!response) return ["this status is not described"];
  return [
    ...headerFaults(response, answer.headers),
    ...(method === "HEAD" ? [] : bodyFaults(response, answer)),
  ];
}

function describedAnswer(method: string, path: string, status: number): Response | undefined {
  const own = path.replace(/\/$/, "");
  const item =
    document.paths[own] ?? document.paths[own.replace(/^\/v1\/kyc\/[^/]+(\/history)?$/, "/v1/kyc/{id}$1")];
  const operation = item?.[method.replace("HEAD", "GET").toLowerCase()];
  if (operation) return operation.responses[status] && follow(operation, status);
  // An unknown address, or a method that is not for it: no operation, and so an error in the shape of them all.
  const [any] = Object.values(document.paths["/v1/kyc"]);
  return status === (item ? 405 : 404) ? follow(any, "default") : undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: as above
function follow(operation: any, status: number | "default"): Response {
  const { $ref, ...inline } = operation.responses[status];
  const { headers = {}, content } = $ref ? lookUp($ref) : inline;
  const pointer = $ref ?? `#${pointerTo(operation.operationId)}/responses/${status}`;
  return {
    pointer: `${pointer}/content/application~1json/schema`,
    headers: Object.fromEntries(
      Object.entries<{ $ref: string }>(headers).map(([name, header]) => [name, lookUp(header.$ref)]),
    ),
    hasBody: content !== undefined,
    texts: Object.keys(content ?? {}).filter((type) => type !== "application/json"),
  };
}

function pointerTo(operationId: string): string {
  for (const [path, item] of Object.entries<Record<string, { operationId?: string }>>(document.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      if (operation.operationId === operationId) return `/paths/${path.replaceAll("/", "~1")}/${method}`;
    }
  }
  throw new Error(`no operation ${operationId}`);
}

function lookUp(reference: string) {
  return reference
    .split("/")
    .slice(1)
    .reduce((part, key) => part[key], document);
}

function headerFaults({ headers: described }: Response, headers: Record<string, unknown>): string[] {
  const known = new Set(Object.keys(described).map((name) => name.toLowerCase()));
  const unknown = Object.keys(headers).filter((name) => !known.has(name) && !OF_HTTP.test(name));
  const faults = Object.entries(described).flatMap(([name, { schema, required }]) => {
    const value = headers[name.toLowerCase()];
    if (value === undefined) return required ? [`the header ${name} lacks`] : [];
    return ajv.validate(schema, String(value)) ? [] : [`the header ${name} ${ajv.errorsText()}`];
  });
  // The only answers that no operation gives have no headers described.
  return [...faults, ...(known.size > 0 ? unknown.map((name) => `the header ${name} is not described`) : [])];
}

function bodyFaults({ pointer, hasBody, texts }: Response, { headers, body }: Answer): string[] {
  if (!hasBody) return body === "" ? [] : ["it has a body"];
  if (texts.some((type) => String(headers["content-type"]).startsWith(`${type};`))) return [];
  if (!/^application\/json(;|$)/.test(String(headers["content-type"]))) return ["it is not JSON"];
  let validate = validators.get(pointer);
  if (!validate) {
    validate = ajv.compile({ $ref: `openapi${pointer.replaceAll("{", "%7B").replaceAll("}", "%7D")}` });
    validators.set(pointer, validate);
  }
  return validate(JSON.parse(body)) ? [] : [ajv.errorsText(validate.errors, { dataVar: "the body" })];
}
