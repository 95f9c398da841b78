import { hash } from "node:crypto";
import { GraphQLError } from "graphql";
import { LRUCache } from "lru-cache";
import type { PersistedOperationsConfig } from "../settings.ts";
import { readManifest } from "./manifest.ts";
import type { Validate } from "./validation.ts";

/** The unchecked parameters of a request: each can be anything. */
type Params = Record<string, unknown>;

/** The documents that a request can name instead of sending their texts. */
export interface TrustedDocuments {
  /**
   * Adds the text of the document that the parameters name; returns the same object if they name none. Fails with a
   * GraphQLError that asks the client to send the text, or says that the document is not allowed.
   */
  resolve(params: Params): Params;
  /** Whether this text is one of the manifest's. */
  includes(text: string): boolean;
}

/** The parameters that can name a document, besides Apollo's extension: that of GraphQL over HTTP, and Relay's two. */
export const ID_NAMES = ["documentId", "doc_id", "id"];
/** The total size of the texts that clients have registered by their hashes. Characters. */
const REGISTERED_SIZE = 1_000_000;
/** Counts a text as so much longer. Characters. */
const OVERHEAD = 200;

/**
 * The documents of the manifest, and those that clients register under their own SHA-256 while texts are allowed.
 * Fails with a ConfigError if a document of the manifest is invalid or above the limits.
 */
export async function loadTrustedDocuments(
  { mode, manifest }: PersistedOperationsConfig,
  validate: Validate,
  tokenLimit: number,
): Promise<TrustedDocuments> {
  if (mode === "off") return { resolve: refuseHashes, includes: () => false };
  const documents: ReadonlyMap<string, string> =
    manifest === undefined ? new Map() : await readManifest(manifest, validate, tokenLimit);
  const texts = new Set(documents.values());
  const includes = (text: string) => texts.has(text);
  if (mode === "only") {
    const resolve = (params: Params) => {
      if (params.query != null) throw idRequired();
      return withText(params, find(documents, readId(params) ?? fail(idRequired())));
    };
    return { resolve, includes };
  }
  const registered = new LRUCache<string, string>({
    maxSize: REGISTERED_SIZE,
    sizeCalculation: (text) => text.length + OVERHEAD,
  });
  const resolve = (params: Params) => {
    const { query } = params;
    if (typeof query === "string") {
      if (params.extensions == null) return params;
      const id = readHash(params);
      if (id !== undefined && !documents.has(id)) register(registered, id, query);
      return params;
    }
    const id = query == null ? readId(params) : undefined;
    return id === undefined ? params : withText(params, registered.get(id) ?? find(documents, id));
  };
  return { resolve, includes };
}

function refuseHashes(params: Params): Params {
  if (params.query == null && readHash(params) !== undefined) {
    throw refusal("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED");
  }
  return params;
}

function register(registered: LRUCache<string, string>, id: string, text: string): void {
  if (registered.get(id) === text) return;
  if (hash("sha256", text, "hex") !== id) {
    throw refusal("The hash is not the SHA-256 of the document.", "BAD_USER_INPUT");
  }
  registered.set(id, text);
}

function find(documents: ReadonlyMap<string, string>, id: string): string {
  // The draft of GraphQL over HTTP writes the algorithm before the hash.
  const text = documents.get(id) ?? documents.get(id.replace(/^sha256:/, ""));
  // The protocol specifies this text: clients send the document when they see it.
  return text ?? fail(refusal("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND"));
}

function readId(params: Params): string | undefined {
  for (const name of ID_NAMES) if (typeof params[name] === "string") return params[name];
  return readHash(params);
}

function readHash({ extensions }: Params): string | undefined {
  const { persistedQuery } = (extensions ?? {}) as { persistedQuery?: { sha256Hash?: unknown } | null };
  const id = persistedQuery?.sha256Hash;
  return typeof id === "string" ? id : undefined;
}

function withText(params: Params, query: string): Params {
  const resolved: Params = { ...params, query };
  for (const name of ID_NAMES) delete resolved[name];
  return resolved;
}

function idRequired(): GraphQLError {
  return refusal(
    "Only trusted documents are run here: send the id of one, and no text.",
    "PERSISTED_QUERY_ID_REQUIRED",
  );
}

function refusal(message: string, code: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } });
}

function fail(error: Error): never {
  throw error;
}
