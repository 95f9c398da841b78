import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type Block, blocksOf, DOCUMENTS } from "../support/documents.ts";
import { CLI, listening, ROOT, start, temporaryFolder, tidyUp } from "./support/gateway.ts";

/** A folder like a checkout that was built. Its gateway keeps its data there. */
let folder: string;
let url: string;
let token: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  for (const name of ["dist", "node_modules", "package.json", "schema.graphql"])
    await symlink(join(ROOT, name), join(folder, name));
  await cp(inject("unusedDataDir"), join(folder, ".data"), { recursive: true });
  const run = start(process.execPath, [CLI, "serve"], {
    cwd: folder,
    env: { PORT: "0", MAX_EVENT_LOOP_DELAY: "10 min" },
  });
  ({ url } = await listening(run));
  token = (await readFile(join(folder, ".data/dev-token"), "utf8")).trim();
  // The documents name the port that a gateway has by default. Here curl, and fetch, find another one behind it.
  const { host } = new URL(url);
  await mkdir(join(folder, "home"));
  const settings = ['noproxy = "*"', `connect-to = "127.0.0.1:4000:${host}"`, "fail-with-body", "show-error"];
  await writeFile(join(folder, "home/.curlrc"), settings.join("\n"));
  await writeFile(
    join(folder, "home/fetch.mjs"),
    `const { fetch } = globalThis;
     globalThis.fetch = (address, options) => fetch(String(address).replace("127.0.0.1:4000", "${host}"), options);`,
  );
});
afterAll(tidyUp);

/** Runs a program in the folder to its end, and returns what it printed. */
async function run(command: string, args: string[]): Promise<string> {
  const started = start(command, args, { cwd: folder, env: { CURL_HOME: join(folder, "home") } });
  const { code } = await started.exited;
  expect(code, started.output()).toBe(0);
  return started.stdout();
}

async function runShell(text: string): Promise<string> {
  const first = await run("bash", ["-euo", "pipefail", "-c", text]);
  expect(first).not.toContain('"errors"');
  if (text.includes("Idempotency-Key: "))
    expect(await run("bash", ["-euo", "pipefail", "-c", text])).toMatch(/^idempotent-replayed: true/im);
  return first;
}

async function ask(query: string, variables: unknown = {}) {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the document
  return response.json() as Promise<any>;
}

/** The id that the documents have for a record: there is a new one behind it in each block. */
const DOCUMENTED_ID = "xgQQXg3hrtjh7AvZ";
const CREATE = `mutation { createKyc(input: {
  customerId: "c", verificationStatus: PENDING, documentType: PASSPORT, documentNumber: "1"
}) { kyc { id } } }`;

async function runGraphql(query: string, variables = "{}"): Promise<string> {
  const { data } = await ask(CREATE);
  const answer = await ask(query, JSON.parse(variables.replaceAll(DOCUMENTED_ID, data.createKyc.kyc.id)));
  return JSON.stringify(answer);
}

/** Asks for the `LIST` of a module as the client of its `createClient`. */
async function runModule(text: string): Promise<string> {
  await writeFile(join(folder, "client.mjs"), text);
  const use = `
    import { createClient, LIST } from "./client.mjs";
    const client = createClient(${JSON.stringify(token)});
    const isUrql = "executeQuery" in client;
    const answer = isUrql ? await client.query(LIST, {}).toPromise() : await client.query({ query: LIST });
    if (answer.error) throw answer.error;
    if (answer.data.kycs.edges.length !== 2) throw new Error("There are two records on a page.");
    process.exit();`;
  await writeFile(join(folder, "use.mjs"), use);
  return run(process.execPath, ["--import", "./home/fetch.mjs", "use.mjs"]);
}

/** JSON without what differs from one gateway to another: ids, times and cursors. */
function comparable(json: string): unknown {
  return JSON.parse(json, (name, value) => {
    if (["id", "requestId", "startCursor", "endCursor", "cursor"].includes(name)) return `a ${name}`;
    return /(At|_at)$/.test(name) ? `a ${typeof value}` : value;
  });
}

interface Example {
  name: string;
  block: Block;
  variables: string | undefined;
  answer: string | undefined;
}

/** Each block that is run, with the blocks of JSON that belong to it. */
function examplesOf(path: string): Example[] {
  const examples: Example[] = [];
  for (const block of blocksOf(path)) {
    if (block.mark !== undefined) continue;
    const last = examples.at(-1);
    if (block.language !== "json")
      examples.push({ name: block.name, block, variables: undefined, answer: undefined });
    else if (last) last[block.role as "variables" | "answer"] = block.text;
  }
  return examples;
}

test.each(DOCUMENTS.flatMap(examplesOf))("$name does what it says", async (example) => {
  const { block, variables, answer } = example;
  const runs: Record<string, () => Promise<string>> = {
    sh: () => runShell(block.text),
    graphql: () => runGraphql(block.text, variables),
    js: () => runModule(block.text),
  };
  const output = await runs[block.language]?.();
  if (answer !== undefined) expect(comparable(output ?? "")).toEqual(comparable(answer));
  else if (block.language === "graphql") expect(output).not.toContain('"errors"');
});
