import { readFile } from "node:fs/promises";
import { type DocumentNode, Kind } from "graphql";
import { z } from "zod";
import { ConfigError } from "../../lib/settings.ts";
import { schema } from "../schema.ts";
import { parseDocument } from "./parse-document.ts";
import type { Validate } from "./validation.ts";

const VARIABLE = "PERSISTED_OPERATIONS";
const FORMATS =
  "an Apollo manifest (version 1), or an object of texts by their ids as Relay and graphql-codegen write";

const id = z.string().min(1);
const apollo = z.object({
  format: z.literal("apollo-persisted-query-manifest"),
  version: z.literal(1),
  operations: z.array(z.object({ id, body: z.string() })),
});
const byId = z.record(id, z.string());

/**
 * The documents, by id, of a manifest that Apollo's tool, Relay's compiler or graphql-codegen's client preset has written.
 * Fails with a ConfigError that names every document that is invalid or above the limits.
 */
export async function readManifest(
  path: string,
  validate: Validate,
  tokenLimit: number,
): Promise<Map<string, string>> {
  const manifest = parseJson(await readText(path));
  const operations = apollo.safeParse(manifest);
  const texts = byId.safeParse(manifest);
  if (!operations.success && !texts.success) throw new ConfigError([`${VARIABLE} must be ${FORMATS}`]);
  const entries: [string, string][] = operations.success
    ? operations.data.operations.map(({ id, body }) => [id, body])
    : Object.entries(texts.data ?? {});
  const documents = new Map<string, string>();
  const faults: string[] = [];
  for (const [id, text] of entries) {
    if (documents.has(id) && documents.get(id) !== text) faults.push(`${id}: is there twice`);
    documents.set(id, text);
    for (const fault of findFaults(text, validate, tokenLimit)) faults.push(`${id}: ${fault}`);
  }
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `${VARIABLE} ${fault}`));
  return documents;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError([`${VARIABLE} names a file that can't be read (${code})`]);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigError([`${VARIABLE} must be JSON: ${FORMATS}`]);
  }
}

function findFaults(text: string, validate: Validate, tokenLimit: number): string[] {
  let document: DocumentNode;
  try {
    document = parseDocument(text, tokenLimit);
  } catch (error) {
    return [(error as Error).message];
  }
  const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  if (operations.length === 0) return ["holds no operation"];
  return validate(schema, document).map(({ message }) => message);
}
