import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  BESIDE_BROWSER,
  keptInBrowser,
  launchChromium,
  OTHER_NAME,
  openPage,
  type WatchedPage,
} from "./support/browser.ts";
import { freshEnv, type Gateway, readDevToken, startGateway, tidyUp } from "./support/gateway.ts";

let gateway: Gateway;
let token: string;
let browser: Browser;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  browser = await launchChromium();
  const env = await freshEnv("the embedded database");
  gateway = await startGateway({ ...env, ...BESIDE_BROWSER });
  token = await readDevToken(env);
});

afterAll(async () => {
  await browser?.close();
  await tidyUp();
});

beforeEach(async () => {
  watched = await openPage(browser, gateway.url);
  page = watched.page;
});

afterEach(async () => {
  await watched.close();
  expect(watched.faults).toEqual([]);
});

const call = (method: string, path: string) =>
  page.locator(`.opblock-${method}`).filter({ has: page.locator(`[data-path="${path}"]`) });

/** Opens a call of the reference, sends it unchanged, and returns the status of the answer. */
async function tryIt(method: string, path: string, fill?: () => Promise<unknown>): Promise<string> {
  const block = call(method, path);
  if (!(await block.locator(".execute").isVisible())) {
    await block.locator(".opblock-summary-control").click();
  }
  await fill?.();
  // An earlier answer stays on the page until the new one is drawn, and would be read as if it were the new one.
  const clear = block.getByRole("button", { name: "Clear" });
  if (await clear.isVisible()) await clear.click();
  await block.getByRole("button", { name: "Execute" }).click();
  return block.locator(".live-responses-table .response-col_status").last().innerText();
}

async function authorize(): Promise<void> {
  await page.getByRole("button", { name: "Authorize" }).click();
  await page.locator(".auth-container input").fill(token);
  await page.locator(".auth-btn-wrapper .authorize").click();
  await page.locator(".btn-done").click();
}

test("the page at / says what this is, and leads to the explorers", async () => {
  await page.goto(gateway.url);
  expect(await page.getByRole("heading", { level: 1 }).innerText()).toBe("KYC gateway");
  await page.locator('.cards a[href="/docs"]').click();
  await page.locator(".opblock").first().waitFor();
  await page.goBack();
  await page.locator('.cards a[href="/graphql"]').click();
  await page.locator(".graphiql-query-editor .view-line").first().waitFor();
});

test("the reference at /docs shows every call, its parameters and its errors", async () => {
  await page.goto(`${gateway.url}/docs`);
  await expect.poll(() => page.locator(".opblock").count()).toBe(12);
  await call("get", "/v1/kyc").locator(".opblock-summary-control").click();
  for (const words of ["limit", "starting_after", "kyc:read", "401", "503"])
    await expect.poll(() => call("get", "/v1/kyc").innerText()).toContain(words);
});

test("a call is answered at once on the page that a printed link opens, as the token is filled in", async () => {
  const [link = ""] = /http:\S+\/docs#key=\S+/.exec(gateway.stdout()) ?? [];
  await page.goto(link);
  expect(await tryIt("get", "/v1/kyc")).toContain("200");
  // The example of the document, sent unchanged as a form.
  expect(await tryIt("post", "/v1/kyc")).toContain("201");
  const created = await call("post", "/v1/kyc").locator(".live-responses-table").innerText();
  const [, id = ""] = /"id": "(\w{16})"/.exec(created) ?? [];
  const typeId = (method: string) => () =>
    call(method, "/v1/kyc/{id}").getByPlaceholder("id", { exact: true }).fill(id);
  expect(await tryIt("get", "/v1/kyc/{id}", typeId("get"))).toContain("200");
  expect(await tryIt("put", "/v1/kyc/{id}", typeId("put"))).toContain("200");
  expect(await tryIt("delete", "/v1/kyc/{id}", typeId("delete"))).toContain("200");

  expect(await page.evaluate("localStorage.length")).toBe(0);
  expect(await keptInBrowser(page)).not.toContain("key=");
  // The tab keeps the token: it is filled in again after a reload.
  await page.reload();
  expect(await tryIt("get", "/v1/kyc")).toContain("200");
});

test("under another name than this machine's own there is no token until one is typed", async () => {
  const origin = gateway.url.replace("127.0.0.1", OTHER_NAME);
  const elsewhere = await openPage(browser, origin);
  page = elsewhere.page;
  await page.goto(`${origin}/docs`);
  expect(await page.content()).not.toContain("kycgw_");
  expect(await tryIt("get", "/v1/kyc")).toContain("401");
  await authorize();
  expect(await tryIt("get", "/v1/kyc")).toContain("200");
  expect(await keptInBrowser(page)).not.toContain(token);
  await elsewhere.close();
  // Chromium names a refused request, as it names each answer of 400 and above; and over plain HTTP it leaves one of
  // the headers out of account.
  const others = elsewhere.faults.filter((fault) => !/Cross-Origin-Opener-Policy.*untrustworthy/.test(fault));
  expect(others).toEqual([expect.stringContaining("401")]);
});
