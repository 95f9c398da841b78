import { isUtf8 } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import {
  type DocumentNode,
  type ExecutionResult,
  execute,
  getOperationAST,
  type OperationDefinitionNode,
  OperationTypeNode,
} from "graphql";
import { LRUCache } from "lru-cache";
import type { QueryLimits } from "../config.ts";
import { type OperationContext, withholdAnswer } from "../context.ts";
import { costOf } from "./documents/cost.ts";
import { findKeyMisuse } from "./documents/key-misuse.ts";
import { parseDocument } from "./documents/parse-document.ts";
import type { TrustedDocuments } from "./documents/trusted-documents.ts";
import { failureOf, inDocumentOrder, renderErrors, type Validate } from "./errors.ts";
import { addFieldErrors } from "./field-errors.ts";
import { labelOf, NO_OPERATION, type Observed } from "./observed.ts";
import { schema } from "./schema.ts";
import { checkVariables, type VariableCheck } from "./variables.ts";

/**
 * The way of most requests, and a third of its cost: Yoga builds a fetch Request and Response and runs its hooks
 * for each, which takes longer than the rest together. What is plainly a POST of JSON, is one valid operation and
 * has variables of the right types is executed here; everything else, each error of a request included, takes the
 * way through Yoga, which has not seen it yet. Both ways execute the same schema, with the same rules, and render
 * errors with the same function: the answers are the same to the byte.
 */
export function createFastPath(validate: Validate, limits: QueryLimits, trusted: TrustedDocuments): FastPath {
  const documents = new LRUCache<string, Document>({
    maxSize: CACHE_SIZE,
    sizeCalculation: (document) => document.size,
  });

  function read(query: string): Document {
    const known = documents.get(query);
    if (known) return known;
    const document = new Document(query, validate, limits, trusted.includes(query));
    documents.set(query, document);
    return document;
  }

  return async ({ headers, body, operationContext: context, rateLimit }) => {
    const mediaType = plainMediaType(headers);
    const params = mediaType && Buffer.isBuffer(body) && readParams(body, trusted);
    if (!params) return null;
    const document = read(params.query);
    const { operation } = document;
    if (!operation || (params.operationName != null && params.operationName !== operation.name?.value))
      return null;
    const variables = params.variables ?? {};
    if (document.findVariableFaults(variables).length > 0) return null;
    const cost = document.costOf(variables);
    if (cost > limits.cost) return null;
    if (context.idempotency && !document.takesKey) return null;
    const result = addFieldErrors(context, await document.execute(context, variables));
    // An error of a field has its path; one without it comes before any field has run.
    if (result.errors?.some(({ path }) => !path)) return null;
    // A number that was read for a field whose parent failed is not in the answer.
    if (!result.data) withholdAnswer(context, failureOf(result));
    const told = `"cost":{"requested":${cost},"limit":${limits.cost}}`;
    const extensions = rateLimit ? `{${told},"rateLimit":${JSON.stringify(rateLimit)}}` : `{${told}}`;
    return render(result, extensions, context, mediaType, document.label);
  };
}

/**
 * Answers a POST of `/graphql`, or leaves it to Yoga with null: nothing has been done then. Fails only where the code is at fault.
 */
export type FastPath = (request: FastRequest) => Promise<FastAnswer | null>;

interface FastRequest {
  headers: IncomingHttpHeaders;
  /** Bytes, where there is one. */
  body: unknown;
  operationContext: OperationContext;
  /** What is told of the limit of requests, where there is one. */
  rateLimit?: object | null;
}

/** What to answer with. */
interface FastAnswer extends Observed {
  status: number;
  headers: Record<string, string>;
  mediaType: string;
  body: string;
}

interface Params {
  query: string;
  operationName?: string | null;
  variables?: Record<string, unknown> | null;
}

/** Tokens of all documents in the cache. Each takes some 250 bytes of the syntax tree, however short its text is. */
const CACHE_SIZE = 50_000;
/** Counts each document as so much longer: its text, up to the limit of a body, is kept too. Tokens. */
const OVERHEAD = 20;
/** Characters of text that take about as much memory as a token. */
const CHARACTERS_PER_TOKEN = 200;
const MEDIA_TYPES: Record<string, string> = {
  "*/*": "application/json",
  "application/json": "application/json",
  "application/json, */*": "application/json",
  "application/json, text/plain, */*": "application/json",
  "application/graphql-response+json": "application/graphql-response+json",
  "application/graphql-response+json, application/json": "application/graphql-response+json",
  "application/graphql-response+json,application/json;q=0.9": "application/graphql-response+json",
};

function plainMediaType(headers: IncomingHttpHeaders): string | undefined {
  if (
    headers["content-type"] !== "application/json" &&
    headers["content-type"] !== "application/json; charset=utf-8"
  ) {
    return undefined;
  }
  return MEDIA_TYPES[headers.accept ?? "*/*"];
}

const NAMES = new Set(["query", "operationName", "variables", "extensions"]);

function readParams(body: Buffer, trusted: TrustedDocuments): Params | undefined {
  if (!isUtf8(body)) return undefined;
  let params: unknown;
  try {
    params = JSON.parse(body.toString());
    if (!isObject(params)) return undefined;
    params = trusted.resolve(params);
  } catch {
    return undefined;
  }
  for (const name in params as object) if (!NAMES.has(name)) return undefined;
  const { query, operationName, variables, extensions } = params as Record<string, unknown>;
  const plain =
    typeof query === "string" &&
    (operationName == null || typeof operationName === "string") &&
    (variables == null || isObject(variables)) &&
    (extensions == null || isObject(extensions));
  return plain ? (params as unknown as Params) : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

type Execute = (
  context: OperationContext,
  variables: Record<string, unknown>,
) => ExecutionResult | Promise<ExecutionResult>;

/** A document as it was sent, and how it is executed. */
class Document {
  /** The one query or mutation of a valid document; undefined where it is invalid or has several. */
  readonly operation: OperationDefinitionNode | undefined;
  /** What the metrics call it. */
  readonly label: string;
  readonly size: number;
  /** Whether a request with an idempotency key may have it. */
  readonly takesKey: boolean = false;
  readonly costOf: (variables: Record<string, unknown>) => number;
  readonly findVariableFaults: VariableCheck;
  readonly execute: Execute;

  constructor(query: string, validate: Validate, limits: QueryLimits, isTrusted: boolean) {
    const parsed = parseQuietly(query, limits.tokens);
    // The tree of an invalid document is not kept.
    const document = parsed && validate(schema, parsed).length === 0 ? parsed : undefined;
    this.size = OVERHEAD + Math.ceil(query.length / CHARACTERS_PER_TOKEN) + countTokens(document);
    if (document) {
      const operation = getOperationAST(document);
      if (operation && isOrdinary(operation)) this.operation = operation;
      this.takesKey = operation ? findKeyMisuse(document, operation).length === 0 : false;
    }
    this.costOf = document && this.operation ? costOf(schema, document, this.operation) : () => 0;
    this.label = this.operation ? labelOf(this.operation, isTrusted) : NO_OPERATION;
    this.findVariableFaults = this.operation ? checkVariables(schema, this.operation) : () => [];
    this.execute = (contextValue, variableValues) =>
      execute({ schema, document: document as DocumentNode, contextValue, variableValues });
  }
}

/** Yoga loses a variable that is called as what every object has: whatever comes of that is its to answer. */
function isOrdinary({ operation, variableDefinitions }: OperationDefinitionNode): boolean {
  if (operation === OperationTypeNode.SUBSCRIPTION) return false;
  return !variableDefinitions?.some(({ variable }) => variable.name.value === "__proto__");
}

function countTokens(document: DocumentNode | undefined): number {
  let tokens = 0;
  for (let token = document?.loc?.startToken; token; token = token.next ?? undefined) tokens += 1;
  return tokens;
}

function parseQuietly(query: string, maxTokens: number): DocumentNode | undefined {
  try {
    return parseDocument(query, maxTokens);
  } catch {
    return undefined;
  }
}

function render(
  { data, errors }: ExecutionResult,
  extensions: string,
  context: OperationContext,
  mediaType: string,
  operation: string,
): FastAnswer {
  const end = `,"extensions":${extensions}}`;
  const answer = { status: 200, headers: NO_HEADERS, mediaType, operation };
  if (!errors) return { ...answer, outcome: "OK", body: `{"data":${JSON.stringify(data)}${end}` };
  const ordered = inDocumentOrder(errors);
  const rendered = renderErrors(ordered, context).map(
    ({ message, path, extensions: { http, ...extensions } }, index) => {
      if (http) Object.assign(answer, http);
      return { message, locations: ordered[index]?.locations, path, extensions };
    },
  );
  const outcome = String(rendered[0]?.extensions.code);
  return { ...answer, outcome, body: `${JSON.stringify({ errors: rendered, data }).slice(0, -1)}${end}` };
}

const NO_HEADERS = {};
