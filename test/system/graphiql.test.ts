import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

let gateway: ChildProcess;
let dataDir: string;
let url: string;
let token: string;
let browser: Browser;
let page: Page;
/** What the page asked of other hosts, and what it or the browser complained about. */
let foreign: string[];
let complaints: string[];

beforeAll(async () => {
  browser = await launchChromium();
  dataDir = await mkdtemp(join(tmpdir(), "kyc-graphiql-"));
  gateway = spawn(process.execPath, ["dist/cli.js", "serve"], {
    env: { PATH: process.env.PATH, DATA_DIR: dataDir, PORT: "0", LOG_LEVEL: "error" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  url = await printedUrl(gateway);
  token = (await readFile(join(dataDir, "dev-token"), "utf8")).trim();
});

afterAll(async () => {
  await browser?.close();
  if (gateway?.exitCode === null && gateway.kill("SIGTERM")) await once(gateway, "exit");
  if (dataDir) await rm(dataDir, { recursive: true, force: true });
});

beforeEach(async () => {
  foreign = [];
  complaints = [];
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.route(
    (address) => /^(http|ws)/.test(address.protocol) && address.origin !== url,
    (route) => {
      foreign.push(route.request().url());
      return route.abort();
    },
  );
  await context.addInitScript(
    "addEventListener('securitypolicyviolation', (event) => console.error('CSP', event.violatedDirective, event.blockedURI))",
  );
  page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  const introspection = page.waitForResponse((response) => response.request().method() === "POST");
  await page.goto(`${url}/graphql`);
  await introspection;
});

afterEach(async () => {
  await page.context().close();
  expect(foreign).toEqual([]);
  expect(complaints).toEqual([]);
});

test("the schema and its descriptions can be read with no token", async () => {
  const { data } = await ask(`{ __type(name: "Kyc") { description } }`);
  const firstWords =
    /^[^`*_\n]{10,}/.exec(data.__type.description)?.[0] ?? expect.fail("Kyc has no description");
  await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
  const docs = page.locator(".graphiql-doc-explorer");
  await docs.getByText("Kyc", { exact: true }).click();
  await expect.poll(() => docs.innerText()).toContain(firstWords);
});

test("the first query says what it lacks, and answers once the token is in the Headers pane", async () => {
  await run();
  await expect.poll(shownAnswer).toContain("UNAUTHENTICATED");

  const input = `{ customerId: "cus_graphiql", documentType: PASSPORT, documentNumber: "X1", verificationStatus: PENDING }`;
  const created = await ask(`mutation { createKyc(input: ${input}) { kyc { id } } }`);
  await typeToken();
  await run();
  await expect.poll(shownAnswer).toContain(`"id": "${created.data.createKyc.kyc.id}"`);
  expect(await shownAnswer()).toContain(`"totalCount": `);
});

test("a query that was typed is answered, and is still there after a reload", async () => {
  await typeToken();
  await page.locator(".graphiql-query-editor .monaco-editor").click();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.insertText("query Count { kycs { total: totalCount } }");
  // GraphiQL reads what is typed a moment later, and names the tab when it has.
  await page.locator(".graphiql-tab", { hasText: "Count" }).waitFor();
  await run();
  await expect.poll(shownAnswer).toContain(`"total": `);

  await saved("query Count");
  await page.reload();
  const editor = page.locator(".graphiql-query-editor .monaco-editor");
  await expect.poll(() => visibleText(editor)).toContain("query Count");
  expect(await page.locator(".graphiql-tab").allInnerTexts()).toEqual(["Count"]);
});

test("the token is kept nowhere in the browser", async () => {
  await typeToken();
  await run();
  await expect.poll(shownAnswer).toContain(`"totalCount"`);
  await saved("NewestRecords");

  const kept = await page.evaluate(
    "indexedDB.databases().then((databases) => JSON.stringify([localStorage, sessionStorage, databases, document.cookie, location.href]))",
  );
  expect(kept).not.toContain(token);
  expect(await page.evaluate("localStorage.length")).toBe(0);

  await page.reload();
  const headers = page.getByRole("region", { name: "Headers" });
  await headers.getByRole("code").locator(".view-line").first().waitFor({ state: "attached" });
  expect(await visibleText(headers)).not.toContain("Authorization");
});

async function launchChromium(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) {
    throw new Error(
      `There is no Chromium at ${executablePath}. Install it (apt-get install chromium), or set CHROMIUM_PATH to where it is.`,
    );
  }
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
  });
}

/** The origin that the gateway prints when it is ready; fails with its output when it ends before that. */
function printedUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    const read = (chunk: Buffer) => {
      output += chunk;
      const origin = /(http:\/\/\S+)\/graphql/.exec(output)?.[1];
      if (origin) resolve(origin);
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.once("exit", (code) => reject(new Error(`The gateway ended with ${code}:\n${output}`)));
  });
}

async function ask(query: string) {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ query }),
  });
  return response.json();
}

async function typeToken(): Promise<void> {
  await page.getByRole("region", { name: "Headers" }).getByRole("code").click();
  await page.keyboard.insertText(JSON.stringify({ Authorization: `Bearer ${token}` }));
}

async function run(): Promise<void> {
  await page.getByRole("button", { name: "Execute query" }).click();
}

/** GraphiQL saves its tabs half a second after the last change. */
async function saved(words: string): Promise<void> {
  await expect.poll(() => page.evaluate("sessionStorage.getItem('graphiql:tabState')")).toContain(words);
}

function shownAnswer(): Promise<string> {
  return visibleText(page.getByRole("region", { name: "Result Window" }));
}

/** The editor shows each space as one that can't break. */
async function visibleText(editor: Locator): Promise<string> {
  return (await editor.innerText()).replaceAll("\u00a0", " ");
}
