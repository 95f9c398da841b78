import { type DocumentNode, type GraphQLError, getOperationAST, type OperationDefinitionNode } from "graphql";
import { LRUCache } from "lru-cache";
import type { FieldFault } from "../../errors.ts";
import { labelOf } from "../observed.ts";
import { schema } from "../schema.ts";
import type { QueryLimits } from "../settings.ts";
import { checkVariables, type VariableCheck } from "../variables.ts";
import { placeVariables } from "./argument-paths.ts";
import { costOf } from "./cost.ts";
import { findKeyMisuse } from "./key-misuse.ts";
import { parseDocument } from "./parse-document.ts";
import type { Validate } from "./validation.ts";

/** A valid document, or what is wrong with it. */
export type ReadDocument = (text: string) => Document | readonly GraphQLError[];

/** The memory of the syntax tree for each token, however short its text is. Bytes. */
const TOKEN_BYTES = 250;
/** Tokens of all documents in the cache. */
const CACHE_SIZE = 50_000;
/** Counts each document as so much longer: its text, up to the limit of a body, is kept too. Tokens. */
const OVERHEAD = 20;
/** Characters of text that take about as much memory as a token. */
const CHARACTERS_PER_TOKEN = 200;

/**
 * Reads documents within these limits. Valid ones are cached, because clients repeat the same few; invalid ones are not.
 */
export function createDocuments(validate: Validate, { tokens }: Pick<QueryLimits, "tokens">): ReadDocument {
  const documents = new LRUCache<string, Document>({
    maxSize: CACHE_SIZE,
    sizeCalculation: ({ node }, text) =>
      OVERHEAD + Math.ceil(text.length / CHARACTERS_PER_TOKEN) + countTokens(node),
  });
  return (text) => {
    const known = documents.get(text);
    if (known) return known;
    const node = parseDocument(text, tokens);
    const errors = validate(schema, node);
    if (errors.length > 0) return errors;
    const document = new Document(node);
    documents.set(text, document);
    return document;
  };
}

function countTokens({ loc }: DocumentNode): number {
  let tokens = 0;
  for (let token = loc?.startToken; token; token = token.next ?? undefined) tokens += 1;
  return tokens;
}

/** A valid document. */
export class Document {
  readonly node: DocumentNode;
  readonly #operations = new Map<OperationDefinitionNode, Operation>();

  constructor(node: DocumentNode) {
    this.node = node;
  }

  /** Its memory. Bytes. */
  get bytes(): number {
    return TOKEN_BYTES * countTokens(this.node);
  }

  /** The operation of this name, or the only one if `name` is absent; undefined if none or several match. */
  operation(name: string | null | undefined): Operation | undefined {
    const node = getOperationAST(this.node, name);
    if (!node) return undefined;
    let operation = this.#operations.get(node);
    if (!operation) {
      operation = new Operation(this.node, node);
      this.#operations.set(node, operation);
    }
    return operation;
  }
}

/** The properties of an operation that are determined once, before it is executed. */
export class Operation {
  readonly node: OperationDefinitionNode;
  /** The cost with these variables. */
  readonly costOf: (variables: Readonly<Record<string, unknown>>) => number;
  /** The faults of these variables, with paths that start at the arguments that they are used in. */
  readonly findVariableFaults: VariableCheck;
  /** Why a request for it can't have an idempotency key. */
  readonly keyMisuse: readonly FieldFault[];

  constructor(document: DocumentNode, node: OperationDefinitionNode) {
    this.node = node;
    this.costOf = costOf(schema, document, node);
    const find = checkVariables(schema, node);
    this.findVariableFaults = (variables) => {
      const faults = find(variables);
      return faults.length === 0 ? faults : placeVariables(document, node, faults);
    };
    this.keyMisuse = findKeyMisuse(document, node);
  }

  /** Its label in metrics. */
  label(isTrusted: boolean): string {
    return labelOf(this.node, isTrusted);
  }
}
