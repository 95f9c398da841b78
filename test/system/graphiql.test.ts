import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  BESIDE_BROWSER,
  keptInBrowser,
  launchChromium,
  OTHER_NAME,
  openPage,
  visibleText,
  type WatchedPage,
} from "./support/browser.ts";
import {
  type Env,
  freshEnv,
  type Gateway,
  readDevToken,
  runCli,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";

let gateway: Gateway;
let url: string;
let token: string;
let env: Env;
let browser: Browser;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  browser = await launchChromium();
  env = await freshEnv("the embedded database");
  gateway = await startGateway({ ...env, ...BESIDE_BROWSER });
  url = gateway.url;
  token = await readDevToken(env);
});

afterAll(async () => {
  await browser?.close();
  await tidyUp();
});

/** Opens GraphiQL, and resolves once it has read the schema. */
async function open(origin: string, fragment = ""): Promise<void> {
  watched = await openPage(browser, origin);
  page = watched.page;
  const introspection = page.waitForResponse(
    (response) => response.request().method() === "POST" && response.url().endsWith("/graphql"),
  );
  await page.goto(`${origin}/graphql${fragment}`);
  await introspection;
}

afterEach(async () => {
  await watched.close();
  expect(watched.faults).toEqual([]);
});

describe("without a link of this gateway, under another name than this machine's own", () => {
  afterEach(() => {
    // Over plain HTTP a browser leaves the header out of account, and says so of each answer.
    const others = watched.faults.filter((fault) => !/Cross-Origin-Opener-Policy.*untrustworthy/.test(fault));
    watched.faults.splice(0, Infinity, ...others);
  });
  beforeEach(() => open(url.replace("127.0.0.1", OTHER_NAME)));

  test("there is no token, the first query says so, and answers once a token is typed", async () => {
    expect(await visibleText(headersPane())).not.toContain("kycgw_");
    expect(await page.content()).not.toContain("kycgw_");
    await run();
    await expect.poll(shownAnswer).toContain("UNAUTHENTICATED");

    const input = `{ customerId: "cus_graphiql", documentType: PASSPORT, documentNumber: "X1", verificationStatus: PENDING }`;
    const created = await ask(`mutation { createKyc(input: ${input}) { kyc { id } } }`);
    await headersPane().getByRole("code").click();
    await page.keyboard.insertText(JSON.stringify({ Authorization: `Bearer ${token}` }));
    await run();
    await expect.poll(shownAnswer).toContain(`"id": "${created.data.createKyc.kyc.id}"`);
    expect(await shownAnswer()).toContain(`"totalCount": `);

    await saved("Newest");
    expect(await keptInBrowser(page)).not.toContain(token);
    await page.reload();
    await headersPane().getByRole("code").locator(".view-line").first().waitFor({ state: "attached" });
    expect(await visibleText(headersPane())).not.toContain("Authorization");
  });
});

describe("by a link of this gateway", () => {
  beforeEach(async () => open(url, (await newLink("/graphql")).hash));

  test("the schema and its descriptions can be read", async () => {
    const { data } = await ask(`{ __type(name: "Kyc") { description } }`);
    const firstWords =
      /^[^`*_\n]{10,}/.exec(data.__type.description)?.[0] ?? expect.fail("Kyc has no description");
    await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
    const docs = page.locator(".graphiql-doc-explorer");
    await docs.getByText("Kyc", { exact: true }).click();
    await expect.poll(() => docs.innerText()).toContain(firstWords);
  });

  test("the first click is answered, as the token stands in the Headers pane", async () => {
    expect(await visibleText(headersPane())).toContain(`Bearer ${token}`);
    await run();
    await expect.poll(shownAnswer).toContain(`"totalCount": `);
  });

  test("a record is created, paged to, changed and deleted by the examples, each in its tab", async () => {
    expect(await page.locator(".graphiql-tab").allInnerTexts()).toEqual([
      "Newest",
      "Page",
      "Filter",
      "Create",
      "Update",
      "Delete",
      "Changes",
    ]);
    await openTab("Create");
    await run();
    await expect.poll(shownAnswer).toContain(`"version": 1`);
    const [, id = ""] = /"id": "(\w{16})"/.exec(await shownAnswer()) ?? [];

    await openTab("Page");
    await run();
    await expect.poll(shownAnswer).toContain(id);
    // The editor breaks long lines.
    const [, after] = /"endCursor":\s*"(\w+)"/.exec(await shownAnswer()) ?? [];
    await typeVariables({ after });
    await run();
    await expect.poll(shownAnswer).toContain(`"edges": []`);

    await openTab("Update");
    await typeVariables({ input: { id, verificationStatus: "VERIFIED", expectedVersion: 1 } });
    await run();
    await expect.poll(shownAnswer).toContain(`"version": 2`);

    await openTab("Filter");
    await run();
    await expect.poll(shownAnswer).toContain(id);

    await openTab("Delete");
    await typeVariables({ input: { id } });
    await run();
    await expect.poll(shownAnswer).toContain(`"deletedId": "${id}"`);
  });

  test("the last tab shows changes as they happen, until it is stopped", async () => {
    await openTab("Changes");
    await run();
    await page.getByRole("button", { name: "Stop query" }).waitFor();
    const input = `{ customerId: "cus_live", documentType: VISA, documentNumber: "L1", verificationStatus: PENDING }`;
    const { id } = (await ask(`mutation { createKyc(input: ${input}) { kyc { id } } }`)).data.createKyc.kyc;
    await expect.poll(shownAnswer).toContain(id);
    await ask(`mutation { deleteKyc(input: { id: "${id}" }) { deletedId } }`);
    await expect.poll(shownAnswer).toContain("DELETED");
    await page.getByRole("button", { name: "Stop query" }).click();
    await page.getByRole("button", { name: "Execute query" }).waitFor();
  });

  test("a query that was typed is answered, and is still there after a reload, with all tabs", async () => {
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
    expect(await page.locator(".graphiql-tab").allInnerTexts()).toEqual([
      "Count",
      "Page",
      "Filter",
      "Create",
      "Update",
      "Delete",
      "Changes",
    ]);
    expect(await visibleText(headersPane())).toContain(token);
  });

  test("the token is kept for this tab alone, and the key nowhere", async () => {
    await run();
    await expect.poll(shownAnswer).toContain(`"totalCount"`);
    await openTab("Create");
    await saved("Newest");
    expect(await page.evaluate("sessionStorage.getItem('kyc-gateway:development-token')")).toBe(token);
    expect(await page.evaluate("sessionStorage.getItem('graphiql:tabState')")).not.toContain(token);
    expect(await page.evaluate("localStorage.length")).toBe(0);
    expect(await keptInBrowser(page)).not.toContain("key=");
    expect(page.url()).toBe(`${url}/graphql`);
  });

  test("a token that no longer works is forgotten, and the page opens without one", async () => {
    await page.evaluate(`sessionStorage.setItem("kyc-gateway:development-token", "kycgw_${"A".repeat(43)}")`);
    await page.reload();
    const editor = page.locator(".graphiql-query-editor .monaco-editor");
    await expect.poll(() => visibleText(editor)).toContain("query Newest");
    expect(await keptInBrowser(page)).not.toContain("kycgw_");
    // Chromium names each refused request.
    watched.faults.splice(0, Infinity, ...watched.faults.filter((fault) => !fault.includes("401")));
  });
});

test("a link opened a second time says so, and how to get a new one", async () => {
  const { hash } = await newLink("/graphql");
  await open(url, hash);
  await watched.close();
  await open(url, hash);
  const notice = page.getByRole("dialog");
  await expect.poll(() => notice.innerText()).toContain("npx kyc-gateway link");
  await notice.getByRole("button").click();
  await run();
  await expect.poll(shownAnswer).toContain("UNAUTHENTICATED");
  // A new link that is pasted into the same tab loads the page again.
  const next = await newLink("/graphql");
  await page.evaluate(`location.hash = "${next.hash}"`);
  await expect.poll(() => visibleText(headersPane()), { timeout: 30_000 }).toContain(`Bearer ${token}`);
  watched.faults.splice(0, Infinity, ...watched.faults.filter((fault) => !fault.includes("403")));
});

/** The link that the CLI prints for this page. */
async function newLink(path: string): Promise<URL> {
  const { stdout } = await runCli(["link", "--url", url], env);
  return new URL(stdout.split("\n").find((link) => link.includes(`${path}#`)) ?? "");
}

const headersPane = () => page.getByRole("region", { name: "Headers" });

/**
 * One click opens a tab. Resolves when GraphiQL has parsed its document, 100 ms after it shows it: until then it runs the
 * operation that the previous tab named. It stores the text in the same turn.
 */
async function openTab(name: string): Promise<void> {
  const button = page.getByRole("button", { name, exact: true });
  await button.click();
  const tab = page.locator(".graphiql-tab", { has: button });
  await expect.poll(() => tab.getAttribute("aria-selected"), { timeout: 30_000 }).toBe("true");
  await expect
    .poll(() => page.evaluate("sessionStorage.getItem('graphiql:query')"), { timeout: 30_000 })
    .toMatch(new RegExp(`^(query|mutation|subscription) ${name}\\b`, "m"));
}

async function typeVariables(variables: object): Promise<void> {
  await page.getByRole("button", { name: "Variables" }).click();
  await page.getByRole("region", { name: "Variables" }).getByRole("code").click();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(JSON.stringify(variables));
}

async function ask(query: string) {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ query }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the document
  return response.json() as Promise<any>;
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
