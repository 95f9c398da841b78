import { STATUS_CODES } from "node:http";
import { type AppError, toHttp } from "../../errors.ts";
import { type ErrorBody, renderFailure } from "../errors.ts";
import { headersOf, type JsonSchema, ON_EVERY_ANSWER, type RestOperation, reference } from "./components.ts";
import { type Failure, failures } from "./failures.ts";

const statusOf = ({ examples }: Failure) => toHttp(examples[0] as AppError).status;
const unique = <T>(values: T[]) => [...new Set(values)].sort();
const statuses = unique(failures.map(statusOf));

const ERROR_FIELDS: Record<keyof ErrorBody["error"], JsonSchema> = {
  type: { type: "string", description: "The kind of failure." },
  code: { type: "string", description: "What failed, for programs." },
  message: {
    type: "string",
    description: "What failed, for people. It never repeats a value from the request.",
  },
  param: { type: "string", description: "The invalid parameter, or the first of several." },
  current_version: {
    type: "integer",
    minimum: 1,
    description: "With `version_conflict`: the record's version, as in its `ETag`.",
  },
};

/** The schema of an error itself, with a type and a code of these. */
function describeError(narrowed: { type?: object; code?: object }): JsonSchema {
  const { type, code, ...rest } = ERROR_FIELDS;
  return {
    type: "object",
    properties: { type: { ...type, ...narrowed.type }, code: { ...code, ...narrowed.code }, ...rest },
    required: ["type", "code", "message"],
    additionalProperties: false,
  };
}

/** An error next to the fields of a record. */
export const errorObject: JsonSchema = describeError({});

function errorSchema(narrowed: { type?: object; code?: object }) {
  return {
    type: "object",
    properties: { error: describeError(narrowed) },
    required: ["error"],
    additionalProperties: false,
  };
}

/** The name of the component that describes a status: `BadRequest` for 400. */
const nameOf = (status: number) => (STATUS_CODES[status] ?? "").replaceAll(/\W/g, "");
/** The name of its body: `BadRequestError`. */
const bodyNameOf = (status: number) => `${nameOf(status).replace(/Error$/, "")}Error`;

const examplesOf = (status: number) =>
  failures.filter((failure) => statusOf(failure) === status).flatMap(({ examples }) => examples);

function describeBody(status: number) {
  const errors = examplesOf(status).map((example) => renderFailure(example).error);
  return {
    title: STATUS_CODES[status],
    description: `The body of a failure with the status ${status}.`,
    ...errorSchema({
      type: { enum: unique(errors.map(({ type }) => type)) },
      code: { enum: unique(errors.map(({ code }) => code)) },
    }),
  };
}

/** The schemas of errors: one for each status, with every type and code that it can have, and one for the rest. */
export const errorSchemas = {
  ApiError: {
    title: "Error",
    description: "The shape of every failure.",
    ...errorSchema({}),
  },
  ...Object.fromEntries(statuses.map((status) => [bodyNameOf(status), describeBody(status)])),
};

function describeStatus(status: number) {
  const these = failures.filter((failure) => statusOf(failure) === status);
  const examples = examplesOf(status);
  return {
    description: these.map(({ when }) => when).join("\n\n"),
    headers: headersOf(
      ...ON_EVERY_ANSWER,
      ...examples.flatMap((example) => Object.keys(toHttp(example).headers)),
      ...these.flatMap(({ headers }) => headers ?? []),
    ),
    content: {
      "application/json": {
        schema: reference("schemas", bodyNameOf(status)),
        examples: Object.fromEntries(
          examples.map(renderFailure).map((value) => [value.error.code, { value }]),
        ),
      },
    },
  };
}

/** `components.responses`: one for each status, and one for the rest. */
export const errorResponses = {
  ...Object.fromEntries(statuses.map((status) => [nameOf(status), describeStatus(status)])),
  Failure: {
    description: "Any other failure, such as one of a proxy on the way.",
    content: { "application/json": { schema: reference("schemas", "ApiError") } },
  },
};

/** References to the failures that this operation can have, by status. */
export function failuresOf(operation: RestOperation): Record<string, object> {
  const own = failures.filter(({ operations }) => operations.includes(operation)).map(statusOf);
  return Object.fromEntries(unique(own).map((s) => [s, reference("responses", nameOf(s))]));
}
