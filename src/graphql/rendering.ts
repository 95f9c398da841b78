import type { ExecutionResult } from "graphql";
import type { OperationContext } from "../context.ts";
import { type ErrorContext, renderErrors } from "./errors.ts";
import type { MediaType } from "./media-type.ts";

/** The result of a request, and what it depends on. */
export interface Outcome {
  result: ExecutionResult;
  variables: Readonly<Record<string, unknown>>;
  cost?: number;
}

interface RenderedAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** OK, or the code of the first error. */
  outcome: string;
}

/** The extensions as JSON; empty if there are none. */
export function extensionsOf(cost: number | undefined, limit: number, rateLimit?: object | null): string {
  const parts: string[] = [];
  if (cost !== undefined) parts.push(`"cost":{"requested":${cost},"limit":${limit}}`);
  if (rateLimit) parts.push(`"rateLimit":${JSON.stringify(rateLimit)}`);
  return parts.length === 0 ? "" : `,"extensions":{${parts.join()}}`;
}

/** The answer with this result. `variables` are those that were sent. */
export function render(
  { result: { data, errors }, variables }: Pick<Outcome, "result" | "variables">,
  mediaType: MediaType,
  extensions: string,
  context: OperationContext,
): RenderedAnswer {
  if (!errors) {
    const body = wrap(`{"data":${JSON.stringify(data)}${extensions}}`, mediaType);
    return { status: 200, headers: {}, body, outcome: "OK" };
  }
  const rendered = renderErrors(errors, errorContextOf(variables, context));
  const json = `${JSON.stringify({ errors: rendered.errors, data }).slice(0, -1)}${extensions}}`;
  return {
    // GraphQL over HTTP: with `application/json`, the status says only whether the server understood the request.
    status:
      rendered.status === 400 && mediaType !== "application/graphql-response+json" ? 200 : rendered.status,
    headers: rendered.headers,
    body: wrap(json, mediaType),
    outcome: String(rendered.errors[0]?.extensions.code),
  };
}

/** The result as JSON, for an event of a stream. */
export function resultToJson(
  { data, errors }: ExecutionResult,
  variables: Outcome["variables"],
  context: OperationContext,
): string {
  if (!errors) return JSON.stringify({ data });
  return JSON.stringify({ errors: renderErrors(errors, errorContextOf(variables, context)).errors, data });
}

function errorContextOf(variables: Outcome["variables"], context: OperationContext): ErrorContext {
  // An omitted variable has its default value, or is absent.
  return { ...context, isNull: (name) => Object.hasOwn(variables, name) && variables[name] === null };
}

/** An event stream has the answer as one event and then the end, as clients of graphql-sse expect. */
function wrap(json: string, mediaType: MediaType): string {
  return mediaType === "text/event-stream"
    ? `event: next\ndata: ${json}\n\nevent: complete\ndata:\n\n`
    : json;
}
