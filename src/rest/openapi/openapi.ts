import type { FastifyInstance } from "fastify";
import type { Scope } from "../../auth/scopes.ts";
import { LONGEST_KEY } from "../../idempotency/key.ts";
import { readVersion } from "../../version.ts";
import { KYC_ROUTES, type RestOperation } from "../kyc.ts";
import { headersOf, type JsonSchema, ON_EVERY_ANSWER, reference, responseHeaders } from "./components.ts";
import { errorResponses, errorSchemas, failuresOf } from "./errors.ts";
import { inputSchemas, listParameters, reasonSchema, textHeader } from "./inputs.ts";
import { idSchema, RECORD, recordSchemas } from "./schemas.ts";

const INTRODUCTION = `
**Requests.** Bodies are form-encoded, as \`curl -d\` sends them, or JSON. Every request needs a token in the header
\`Authorization: Bearer <token>\`; a token opens the records of one account. A parameter that is not listed is an error.

**Lists** are newest first, in pages of at most 100 records. To go on, send the id of the last record as
\`starting_after\`; to go back, that of the first as \`ending_before\`.

**Versions.** A record comes with an \`ETag\`. Send it as \`If-Match\` with an update or a deletion, and a record that
has changed since is left alone. \`If-Match\` and \`If-None-Match\` work on every call as RFC 9110, section 13, says.

**Writing once.** A write that is sent again with its \`Idempotency-Key\` is done once.

**Errors** are \`{"error": {"type", "code", "message", "param"?}}\`, and every answer has a \`Request-Id\`.
\`HEAD\` answers as \`GET\` does, without the body.
`.trim();

interface Parameter {
  name: string;
  in: "query" | "header";
  description: string;
  schema: JsonSchema;
  deprecated?: boolean;
}

interface Description {
  summary: string;
  description: string;
  scope: Scope;
  parameters?: Parameter[];
  body?: { schema: string; required: boolean };
  success: { status: number; description: string; schemas: string[]; headers?: string[] };
}

const ifMatch: Parameter = {
  name: "If-Match",
  in: "header",
  description:
    'Do it only if the record is at one of these versions: `*`, or a list of entity tags such as `"1"`. Else 412.',
  schema: { type: "string" },
};

const reason: Parameter = {
  name: "Kyc-Reason",
  in: "header",
  description:
    "Why you do it, for the audit trail: printable characters in UTF-8, without the document number.",
  schema: reasonSchema,
};

const idempotencyKey: Parameter = {
  name: "Idempotency-Key",
  in: "header",
  description:
    "Printable characters of your choice. A request that comes again with its key within 24 hours is done once, and " +
    "answered as it was the first time. What is refused for its input, its token or too many requests uses no key up.",
  schema: textHeader(LONGEST_KEY),
};

const ifNoneMatch: Parameter = {
  name: "If-None-Match",
  in: "header",
  description: "Answer 304 if the record is at one of these versions: `*`, or a list of entity tags.",
  schema: { type: "string" },
};

const unlessMatch: Parameter = {
  ...ifNoneMatch,
  description:
    "Don't do it, but answer 412, if the record is at one of these versions: `*`, or a list of tags.",
};

const RECEIPT = " A token without the scope `kyc:read` is answered the record's id and version alone.";

/** What each call is for. A route that is added has to be described here. */
const DESCRIPTIONS: Record<RestOperation, Description> = {
  listKycs: {
    summary: "List KYC records",
    description: "A page of your records, newest first, ten where no `limit` is given.",
    scope: "kyc:read",
    parameters: [
      ...Object.entries(listParameters).map(([name, parameter]) => ({
        ...{ name, in: "query" as const },
        ...parameter,
      })),
      ifNoneMatch,
    ],
    success: { status: 200, description: "The page.", schemas: ["KycList"] },
  },
  searchKycs: {
    summary: "Search for KYC records",
    description:
      "The page that the list has for the same parameters, which the body holds: addresses end up in the logs of " +
      "proxies, and a document number must not.",
    scope: "kyc:read",
    body: { schema: "KycSearch", required: false },
    success: { status: 200, description: "The page.", schemas: ["KycList"] },
  },
  createKyc: {
    summary: "Create a KYC record",
    description: `Adds a record. Sending it again adds another, unless it has an \`Idempotency-Key\`.${RECEIPT}`,
    scope: "kyc:write",
    parameters: [idempotencyKey, reason],
    body: { schema: "KycCreation", required: true },
    success: {
      status: 201,
      description: "The new record.",
      schemas: ["Kyc", "KycReceipt"],
      headers: ["ETag", "Location"],
    },
  },
  getKyc: {
    summary: "Retrieve a KYC record",
    description: "The record with this id.",
    scope: "kyc:read",
    parameters: [ifMatch, ifNoneMatch],
    success: { status: 200, description: "The record.", schemas: ["Kyc"], headers: ["ETag"] },
  },
  updateKyc: {
    summary: "Update a KYC record",
    description:
      "Changes what is given and keeps what is absent. A change of any value makes a new version; sending the same " +
      "again changes nothing. An unmasked number from a token without `kyc:pii` always makes a new version, whether " +
      "it is another one or not. `PUT`, `PATCH` and `POST` do the same." +
      RECEIPT,
    scope: "kyc:write",
    parameters: [ifMatch, unlessMatch, idempotencyKey, reason],
    body: { schema: "KycChanges", required: false },
    success: {
      status: 200,
      description: "The record as it is now.",
      schemas: ["Kyc", "UnreadableKyc", "KycReceipt"],
      headers: ["ETag"],
    },
  },
  deleteKyc: {
    summary: "Delete a KYC record",
    description: "Deletes the record and all its data for good. This can't be undone.",
    scope: "kyc:delete",
    parameters: [ifMatch, unlessMatch, idempotencyKey, reason],
    success: { status: 200, description: "The record is gone.", schemas: ["KycDeletion"] },
  },
};

function anyOf(names: readonly string[]): JsonSchema {
  const schemas = names.map((name) => reference("schemas", name));
  return schemas.length === 1 ? (schemas[0] as JsonSchema) : { anyOf: schemas };
}

function describe(operation: RestOperation, method: string, first: boolean) {
  const { summary, description, scope, parameters, body, success } = DESCRIPTIONS[operation];
  const once = parameters?.includes(idempotencyKey) ? ["Idempotent-Replayed"] : [];
  const headers = headersOf(...ON_EVERY_ANSWER, "Cache-Control", ...(success.headers ?? []), ...once);
  const type = { schema: reference("schemas", body?.schema ?? "") };
  return {
    // Each operation has a name of its own, also where several methods do the same.
    operationId: first ? operation : `${operation}By${method[0]}${method.slice(1).toLowerCase()}`,
    tags: ["KYC"],
    summary: first ? summary : `${summary} by ${method}`,
    description: `${description}\n\nNeeds the scope \`${scope}\`.`,
    // Scopes are listed here for OAuth alone: linters take any other for a mistake.
    security: [{ token: [] }],
    ...(parameters && { parameters }),
    ...(body && {
      requestBody: {
        required: body.required,
        // Tools offer the first. A form of theirs is sent with every field, and a change is of some.
        content: body.required
          ? { "application/x-www-form-urlencoded": type, "application/json": type }
          : { "application/json": type, "application/x-www-form-urlencoded": type },
      },
    }),
    responses: {
      [success.status]: {
        description: success.description,
        headers,
        content: { "application/json": { schema: anyOf(success.schemas) } },
      },
      ...(parameters?.includes(ifNoneMatch) && {
        304: { description: "You have the record as it is.", headers },
      }),
      ...failuresOf(operation),
      default: reference("responses", "Failure"),
    },
  };
}

function describePaths() {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { operation, methods, path } of KYC_ROUTES) {
    const url = `/v1/kyc${path.replace(/\/$/, "").replace(":id", "{id}")}`;
    const calls = methods.map((method, i) => [method.toLowerCase(), describe(operation, method, i === 0)]);
    const parameters = path.includes(":id") ? { parameters: [idParameter] } : {};
    paths[url] = { ...parameters, ...paths[url], ...Object.fromEntries(calls) };
  }
  return paths;
}

const idParameter = {
  name: "id",
  in: "path",
  required: true,
  description: "The id of the record.",
  schema: idSchema,
  example: RECORD.id,
};

/** The OpenAPI 3.1 document of the REST surface. */
export function createOpenapi() {
  return {
    openapi: "3.1.1",
    info: {
      title: "KYC records over REST",
      version: readVersion(),
      summary: "Know-Your-Customer records: a customer, a document, and how far its verification is.",
      description: INTRODUCTION,
      contact: { name: "Those who run this gateway" },
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/", description: "The gateway that serves this document." }],
    tags: [{ name: "KYC", description: "Query, create, update and delete records." }],
    paths: describePaths(),
    components: {
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          description:
            "A token of one account: one that `kyc-gateway token create` has made, or a JWT of your identity provider " +
            "where the gateway is told of it. Its scopes say what it may do: `kyc:read`, `kyc:write`, `kyc:delete`, " +
            "and `kyc:pii` to see document numbers in full.",
        },
      },
      headers: responseHeaders,
      schemas: { ...recordSchemas, ...inputSchemas, ...errorSchemas },
      responses: errorResponses,
    },
  };
}

/** Adds `/openapi.json`. It needs no token, and is made when it is first asked for. */
export function registerOpenapi(app: FastifyInstance): void {
  let document: string | undefined;
  app.get("/openapi.json", (_request, reply) => {
    document ??= JSON.stringify(createOpenapi());
    return reply
      .type("application/json; charset=utf-8")
      .header("x-content-type-options", "nosniff")
      .send(document);
  });
}
