import type { FastifyInstance } from "fastify";
import { readVersion } from "../../version.ts";
import { AUDIT_ROUTES } from "../audit.ts";
import { EVENT_ROUTES } from "../events.ts";
import { EXPORT_ROUTES } from "../export.ts";
import { KYC_ROUTES } from "../kyc.ts";
import { auditSchemas } from "./audit.ts";
import {
  headersOf,
  type JsonSchema,
  ON_EVERY_ANSWER,
  type RestOperation,
  reference,
  responseHeaders,
} from "./components.ts";
import { errorResponses, errorSchemas, failuresOf } from "./errors.ts";
import { eventSchemas } from "./events.ts";
import { inputSchemas } from "./inputs.ts";
import { DESCRIPTIONS, idempotencyKey, ifNoneMatch } from "./operations.ts";
import { idSchema, RECORD, recordSchemas } from "./schemas.ts";

const INTRODUCTION = `
**Requests.** Bodies are form-encoded, as \`curl -d\` sends them, or JSON. Every request needs a token in the header
\`Authorization: Bearer <token>\`; a token opens the records of one account. A parameter that is not listed is an error.

**Lists** are newest first, in pages of at most 100 records. For the next page, send the id of the last record
as \`starting_after\`; for the previous page, the id of the first as \`ending_before\`.

**Events** are what happened to records, oldest first. They can be followed without a gap.

**Versions.** A record comes with an \`ETag\`. Send it as \`If-Match\` with an update or a deletion: if the
record has changed since then, nothing happens. \`If-Match\` and \`If-None-Match\` work on every call as RFC 9110,
section 13, specifies.

**Writing once.** A write that is sent again with its \`Idempotency-Key\` is done once.

**Errors** are \`{"error": {"type", "code", "message", "param"?}}\`, and every answer has a \`Request-Id\`.
The answer to \`HEAD\` is that to \`GET\`, without the body.
`.trim();

function anyOf(names: readonly string[]): JsonSchema {
  const schemas = names.map((name) => reference("schemas", name));
  return schemas.length === 1 ? (schemas[0] as JsonSchema) : { anyOf: schemas };
}

function describe(operation: RestOperation, method: string, first: boolean) {
  const { summary, description, tag = "KYC", scope, parameters, body, success } = DESCRIPTIONS[operation];
  const once = parameters?.includes(idempotencyKey) ? ["Idempotent-Replayed"] : [];
  const headersWith = (own: readonly string[]) => headersOf(...ON_EVERY_ANSWER, "Cache-Control", ...own);
  const headers = headersWith([...(success.headers ?? []), ...once]);
  const type = { schema: reference("schemas", body?.schema ?? "") };
  return {
    // Operation ids must be unique, even if several methods do the same.
    operationId: first ? operation : `${operation}By${method[0]}${method.slice(1).toLowerCase()}`,
    tags: [tag],
    summary: first ? summary : `${summary} by ${method}`,
    description: `${description}\n\nNeeds the scope \`${scope}\`.`,
    // Only OAuth lists scopes here. Linters report them for any other scheme.
    security: [{ token: [] }],
    ...(parameters && { parameters }),
    ...(body && {
      requestBody: {
        required: body.required,
        // Tools offer the first type. Their forms send every field, but a change has only some fields.
        content: body.required
          ? { "application/x-www-form-urlencoded": type, "application/json": type }
          : { "application/json": type, "application/x-www-form-urlencoded": type },
      },
    }),
    responses: {
      [success.status]: {
        description: success.description,
        headers,
        content: {
          ...(success.schemas.length > 0 && { "application/json": { schema: anyOf(success.schemas) } }),
          ...Object.fromEntries((success.texts ?? []).map((type) => [type, { schema: { type: "string" } }])),
        },
      },
      ...(parameters?.includes(ifNoneMatch) && {
        // The tag is the only header about the content that a 304 has.
        304: {
          description: "You have the record as it is.",
          headers: headersWith(success.headers?.filter((name) => name === "ETag") ?? []),
        },
      }),
      ...failuresOf(operation),
      default: reference("responses", "Failure"),
    },
  };
}

function describePaths() {
  const paths: Record<string, Record<string, unknown>> = {};
  const routes = [
    ...KYC_ROUTES.map((route) => ({ ...route, prefix: "/v1/kyc" })),
    ...AUDIT_ROUTES,
    ...EVENT_ROUTES.map((route) => ({ ...route, prefix: "/v1/events" })),
    ...EXPORT_ROUTES.map((route) => ({ ...route, prefix: "/v1/export" })),
  ];
  for (const { prefix, operation, methods, path } of routes) {
    const url = `${prefix}${path.replace(/\/$/, "").replace(":id", "{id}")}`;
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
      summary: "Know-Your-Customer records: a customer, a document, and the status of its verification.",
      description: INTRODUCTION,
      contact: { name: "The operators of this gateway" },
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/", description: "The gateway that serves this document." }],
    tags: [
      { name: "KYC", description: "Query, create, update and delete records." },
      { name: "Events", description: "Follow the changes of records." },
      { name: "Audit trail", description: "Who did what, and when." },
    ],
    paths: describePaths(),
    components: {
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          description:
            "A token of one account: one that `kyc-gateway token create` has made, or a JWT of your identity provider " +
            "if the gateway is configured for it. Its scopes say what it may do: `kyc:read`, `kyc:write`, `kyc:delete`, " +
            "`kyc:pii` to see document numbers in full, and `audit:read` for the audit trail. `kyc:hold` is for legal holds and `webhooks:manage` for webhooks, " +
            "which GraphQL manages.",
        },
      },
      headers: responseHeaders,
      schemas: { ...recordSchemas, ...inputSchemas, ...eventSchemas, ...auditSchemas, ...errorSchemas },
      responses: errorResponses,
    },
  };
}

/** Adds `/openapi.json`. It needs no token and is created at the first request. */
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
