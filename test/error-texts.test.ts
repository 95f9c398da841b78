import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync } from "rolldown/utils";
import { expect, test } from "vitest";

/** The folders and files whose errors reach clients. */
const SOURCES = [
  "audit",
  "auth",
  "graphql",
  "idempotency",
  "kyc",
  "ledger/prove-event.ts",
  "paging",
  "rest",
  "server",
  "webhooks",
  "errors.ts",
];

/** Of these, the texts are for operators, or examples. */
const OTHERS = /settings\.ts$|scope-map\.ts$|manifest\.ts$|openapi\//;

/** A text has words, or is a protocol's, such as PersistedQueryNotFound. */
const TEXT = /[a-z…] |^([A-Z][a-z]+){2,}$/;

/** Functions and classes that make an error for a client from a text. */
const MAKERS = new Set([
  ...[
    "AppError",
    "RequestRefusal",
    "GraphQLError",
    "badUserInput",
    "conflict",
    "keyFault",
    "malformed",
    "fault",
  ],
  ...["refusal", "refuse", "refused", "invalid", "tooComplex", "refine", "regex"],
]);
/** Names of properties and variables that have such a text. */
const HOLDERS = /^(message|error|why)$|^EXPECTED$|^[A-Z_]*(NOT|REFUSED|TOO|MESSAGE|RULE)[A-Z_]*$/;
/** The beginnings of texts that describe a fault of a field. */
const FAULT = /^(must|can't|needs|is not|is required|are|has|holds) \w/;

// biome-ignore lint/suspicious/noExplicitAny: the nodes of the syntax tree have hundreds of types
type Node = any;

const nameOf = (callee: Node): string => callee?.name ?? callee?.property?.name ?? "";

/** The text of a literal, with `…` in the place of each value; undefined for any other node. */
function textOf(node: Node): string | undefined {
  if (node.type === "Literal" && typeof node.value === "string") return node.value;
  if (node.type === "TemplateLiteral") return node.quasis.map((part: Node) => part.value.cooked).join("…");
  if (node.type !== "BinaryExpression" || node.operator !== "+") return undefined;
  const [left, right] = [textOf(node.left), textOf(node.right)];
  return left === undefined || right === undefined ? undefined : left + right;
}

/** Collects the texts below a node. `isError`: whether an error is made of them. */
function collect(node: Node, isError: boolean, found: Set<string>): void {
  if (node === null || typeof node !== "object") return;
  if (Array.isArray(node)) {
    for (const one of node) collect(one, isError, found);
    return;
  }
  if (/^(Import|Export\w*All|TS\w*Type)/.test(node.type ?? "")) return;
  const text = textOf(node);
  if (text !== undefined && TEXT.test(text) && (isError || FAULT.test(text))) found.add(text);
  if (text !== undefined && node.type === "BinaryExpression") return;
  const isMaker = /^(New|Call)Expression$/.test(node.type) && MAKERS.has(nameOf(node.callee));
  const holder =
    node.type === "Property" ? node.key?.name : node.type === "VariableDeclarator" ? node.id?.name : "";
  for (const [name, child] of Object.entries(node)) {
    if (name === "callee") collect(child, false, found);
    else
      collect(child, isMaker || HOLDERS.test(holder ?? "") || (isError && node.type !== "Property"), found);
  }
}

function filesIn(path: string): string[] {
  if (path.endsWith(".ts")) return [path];
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(path, name));
}

/** The texts of each file, in the order of the alphabet. */
function errorTexts(): string {
  const files = SOURCES.flatMap((name) => filesIn(join("src", name)))
    .filter((file) => !OTHERS.test(file))
    .sort();
  const sections = files.flatMap((file) => {
    const found = new Set<string>();
    collect(parseSync(file, readFileSync(file, "utf8")).program, false, found);
    return found.size === 0 ? [] : [[file, ...[...found].sort().map((text) => `  ${text}`)].join("\n")];
  });
  return `${sections.join("\n\n")}\n`;
}

// Clients show them, and some compare them. A text that has to change is changed here too, by vitest's -u.
test("the texts of errors that clients get are these", async () => {
  await expect(errorTexts()).toMatchFileSnapshot("error-texts.txt");
});
