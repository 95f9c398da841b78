import type { AUDIT_ROUTES } from "../audit.ts";
import type { EVENT_ROUTES } from "../events.ts";
import type { EXPORT_ROUTES } from "../export.ts";
import type { KYC_ROUTES } from "../kyc.ts";

/** Every call of this surface. */
export type RestOperation = (
  | typeof KYC_ROUTES
  | typeof AUDIT_ROUTES
  | typeof EVENT_ROUTES
  | typeof EXPORT_ROUTES
)[number]["operation"];

/** A JSON Schema of draft 2020-12, as in OpenAPI 3.1. */
export type JsonSchema = Record<string, unknown>;

export const reference = (kind: "schemas" | "responses" | "headers", name: string) => ({
  $ref: `#/components/${kind}/${name}`,
});

interface Header {
  description: string;
  schema: JsonSchema;
  /** Whether every answer that lists it has it. */
  required: boolean;
  example?: string;
}

const rateFigure = (description: string, example: string): Header => ({
  description,
  schema: { type: "string", pattern: "^[0-9]+$" },
  required: false,
  example,
});

/** `components.headers`: every header of an answer that a client may rely on. */
export const responseHeaders = {
  "Request-Id": {
    description:
      "The id of the request, which is also in the gateway's log. Include it when you ask for help.",
    schema: { type: "string", pattern: "^req_" },
    required: true,
    example: "req_7f9c24e8-3b12-4c1d-9d2e-5a6b7c8d9e0f",
  },
  ETag: {
    description:
      "The version of the record, for `If-Match` and `If-None-Match`. A token for which the number is masked gets another " +
      'tag, such as `"1-masked"`; `If-Match` accepts either.',
    schema: { type: "string", pattern: '^"[1-9][0-9]*(-masked)?"$' },
    required: true,
    example: '"1"',
  },
  "Idempotent-Replayed": {
    description:
      "Present if an `Idempotency-Key` was sent again, and the answer is that of its first request.",
    schema: { type: "string", const: "true" },
    required: false,
    example: "true",
  },
  "Has-More": {
    description: "Whether there are more events in the direction of paging, as `has_more` in JSON.",
    schema: { type: "string", enum: ["true", "false"] },
    required: true,
    example: "true",
  },
  Location: {
    description: "The address of the new record.",
    schema: { type: "string", format: "uri-reference" },
    required: true,
    example: "/v1/kyc/xgQQXg3hrtjh7AvZ",
  },
  "Cache-Control": {
    description: "Records are personal data: no cache may store them.",
    schema: { type: "string", const: "no-store" },
    required: true,
    example: "no-store",
  },
  "WWW-Authenticate": {
    description: "How to authenticate, and why the token was not enough: RFC 6750, section 3.",
    schema: {
      type: "string",
      pattern: '^Bearer( error="(invalid_token|insufficient_scope)"(, scope="[a-z:]+")?)?$',
    },
    required: true,
    example: 'Bearer error="invalid_token"',
  },
  "Retry-After": {
    description: "Seconds to wait before sending the request again, if a repetition can succeed.",
    schema: { type: "string", pattern: "^[0-9]+$" },
    required: false,
    example: "1",
  },
  "RateLimit-Limit": rateFigure(
    "Requests that the token may send within a minute, if there is a limit.",
    "600",
  ),
  "RateLimit-Remaining": rateFigure("How many of them are left.", "588"),
  "RateLimit-Reset": rateFigure("Seconds until all of them are available again.", "12"),
} satisfies Record<string, Header>;

export const ON_EVERY_ANSWER = ["Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"];

const nameOf = new Map(Object.keys(responseHeaders).map((name) => [name.toLowerCase(), name]));

/**
 * The `headers` of a response, from their names in whatever case. Fails for a header that `responseHeaders` does not
 * describe.
 */
export function headersOf(...names: string[]): Record<string, { $ref: string }> {
  return Object.fromEntries(
    [...new Set(names)].map((given) => {
      const name = nameOf.get(given.toLowerCase());
      if (name === undefined) throw new Error(`The OpenAPI document does not describe the header ${given}.`);
      return [name, reference("headers", name)];
    }),
  );
}
