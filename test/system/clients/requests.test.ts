import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
// @ts-expect-error It has no types: it is the path of the compiler for this machine.
import relayCompiler from "relay-compiler";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BESIDE_BROWSER, launchChromium, visibleText } from "../support/browser.ts";
import { ROOT, tidyUp } from "../support/gateway.ts";
import { createProject, type FrontEnd, startFrontEnd } from "./front-end.ts";
import { type RecordedRequest, startPage, startRecorder } from "./recorder.ts";

const FIELDS = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";
const READ = `query ReadKyc($id: ID!) { kyc(id: $id) { ${FIELDS} } }`;
/** The libraries that `point-read.js` has a function for. */
const LIBRARIES = ["Apollo Client", "urql", "urql, POST", "Relay", "graphql-request"];

/** Headers that the load generator sets itself. */
const OWN_HEADERS = ["host", "connection", "content-length", "authorization"];
/** Headers that depend on the machine's versions of Chromium and curl, and not on the client library. */
const FIXED_HEADERS: Record<string, string> = {
  "user-agent":
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  "sec-ch-ua": '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
};

let frontEnd: FrontEnd;
let origin: string;
let recorder: { url: string; requests: RecordedRequest[] };
let browser: Browser;

beforeAll(async () => {
  origin = await startPage(await bundleLibraries());
  frontEnd = await startFrontEnd(1, { ...BESIDE_BROWSER, CORS_ORIGINS: origin });
  recorder = await startRecorder(frontEnd.url);
  browser = await launchChromium();
});
afterAll(async () => {
  await browser?.close();
  await tidyUp();
});

/** The script of a front end that reads a record through each of the libraries. */
async function bundleLibraries(): Promise<string> {
  const project = await createProject({
    "point-read.js": await readFile(new URL("point-read.js", import.meta.url), "utf8"),
    "Point.js": `import { graphql } from "relay-runtime";\n\ngraphql\`${READ.replace("ReadKyc", "PointReadQuery")}\`;\n`,
    "schema.graphql": await readFile(join(ROOT, "schema.graphql"), "utf8"),
    "relay.config.json": JSON.stringify({
      ...{ src: ".", schema: "schema.graphql", language: "javascript", eagerEsModules: true },
      customScalarTypes: { DateTime: "string" },
    }),
  });
  await promisify(execFile)(String(relayCompiler), ["relay.config.json"], { cwd: project });
  const build = await rolldown({
    ...{ cwd: project, input: "point-read.js", platform: "browser" },
    transform: { define: { "process.env.NODE_ENV": '"production"', "globalThis.__DEV__": "false" } },
  });
  const { output } = await build.generate({ codeSplitting: false });
  await build.close();
  return output[0].code;
}

/** The one request for the record that `send` leads to, without what differs between runs and machines. */
async function recordRead(send: () => Promise<void>): Promise<RecordedRequest> {
  const id = String(frontEnd.ids[0]);
  recorder.requests.splice(0);
  await send();
  const reads = recorder.requests.filter(
    // A browser asks beforehand, by OPTIONS, whether its page may.
    ({ method, path, body }) => method !== "OPTIONS" && (path + body).includes(id),
  );
  expect(reads).toHaveLength(1);
  const { method, path, headers, body } = reads[0] as RecordedRequest;
  const kept = Object.entries(headers)
    .filter(([name]) => !OWN_HEADERS.includes(name))
    .map(([name, value]) => [name, toFixed(name, value)]);
  return {
    ...{ method, path: path.replaceAll(id, "@id") },
    headers: Object.fromEntries(kept.sort()),
    body: body.replaceAll(id, "@id"),
  };
}

function toFixed(name: string, value: string): string {
  if (name === "user-agent" && value.startsWith("curl/")) return "curl/8.5.0";
  return (
    FIXED_HEADERS[name] ??
    value.replaceAll(recorder.url, "http://bench").replaceAll(origin, "https://front-end.example")
  );
}

const curl = (...args: string[]) =>
  recordRead(async () => {
    const authorization = `Authorization: ${frontEnd.headers.authorization}`;
    const { stdout } = await promisify(execFile)("curl", [
      ...["--silent", "--header", authorization, ...args, `${recorder.url}/graphql`],
    ]);
    expect(JSON.parse(stdout).data.kyc.customerId).toBe("customer-0");
  });

async function withPage<T>(use: (page: Page) => Promise<T>): Promise<T> {
  const context = await browser.newContext({ locale: "en-US" });
  try {
    return await use(await context.newPage());
  } finally {
    await context.close();
  }
}

const inLibrary = (library: string) =>
  withPage((page) =>
    recordRead(async () => {
      await page.goto(origin);
      const args = [library, `${recorder.url}/graphql`, frontEnd.headers, frontEnd.ids[0]];
      const record = await page.evaluate(`readRecord(...${JSON.stringify(args)})`);
      expect(record).toMatchObject({ customerId: "customer-0" });
    }),
  );

/** In the gateway's own page, with the query in a tab that was kept. */
const inGraphiql = () =>
  withPage((page) =>
    recordRead(async () => {
      const tab = {
        ...{ id: "1", title: "ReadKyc", hash: null, operationName: "ReadKyc", response: null },
        ...{ query: READ, variables: JSON.stringify({ id: frontEnd.ids[0] }) },
      };
      const kept = JSON.stringify(JSON.stringify({ activeTabIndex: 0, tabs: [tab] }));
      await page.addInitScript(`sessionStorage.setItem("graphiql:tabState", ${kept})`);
      await page.goto(`${recorder.url}/graphql`);
      await page.getByRole("region", { name: "Headers" }).getByRole("code").click();
      await page.keyboard.insertText(JSON.stringify(frontEnd.headers));
      await page.getByRole("button", { name: "Execute query" }).click();
      const result = page.getByRole("region", { name: "Result Window" });
      await expect.poll(() => visibleText(result), { timeout: 30_000 }).toContain("customer-0");
    }),
  );

test("the benchmark sends a point read exactly as each client does", async () => {
  const requests: Record<string, RecordedRequest> = {};
  const body = JSON.stringify({ query: READ, variables: { id: frontEnd.ids[0] } });
  requests.curl = await curl("--header", "Content-Type: application/json", "--data", body);
  for (const library of LIBRARIES) requests[library] = await inLibrary(library);
  requests.GraphiQL = await inGraphiql();
  const variables = JSON.stringify({ id: frontEnd.ids[0] });
  requests["curl, GET"] = await curl(
    ...["--get", "--data-urlencode", `query=${READ}`, "--data-urlencode", `variables=${variables}`],
  );
  // Written anew by: npx vitest run --project system test/system/clients/requests.test.ts -u
  const text = `${JSON.stringify(requests, null, 2)}\n`;
  await expect(text).toMatchFileSnapshot(join(ROOT, "bench/client-requests.json"));
});
