import { readFileSync } from "node:fs";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import spectral from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createOpenapi } from "../../src/rest/openapi/openapi.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { expectDescribed } from "../support/openapi.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("described");
});
afterAll(() => gateway.close());

// biome-ignore lint/suspicious/noExplicitAny: the document's shape is its own standard's
type Document = any;

/** The findings of the strictest rules about a document, without network access. */
async function lint(document: Document): Promise<string[]> {
  const config = await createConfig({
    extends: ["recommended-strict"],
    rules: {
      "no-invalid-parameter-examples": "error",
      "no-invalid-schema-examples": "error",
      "operation-description": "error",
      "operation-singular-tag": "error",
      "parameter-description": "error",
      // Paths have underscores, as fields do.
      "paths-kebab-case": "off",
      "response-contains-header": { severity: "error", names: { "2XX": ["Request-Id"] } },
      "tag-description": "error",
    },
  });
  const source = JSON.stringify(document);
  const problems = await lintFromString({ source, absoluteRef: "openapi.json", config });
  return problems.map(({ ruleId, message }) => `${ruleId}: ${message}`);
}

test("the document is served without a token, and is nothing that a browser guesses about", async () => {
  const answer = await gateway.app.inject("/openapi.json");
  expect(answer.statusCode).toBe(200);
  expect(answer.headers["content-type"]).toBe("application/json; charset=utf-8");
  expect(answer.headers["x-content-type-options"]).toBe("nosniff");
  expect(answer.json()).toEqual(JSON.parse(JSON.stringify(createOpenapi())));
});

/** The findings of `spectral:oas` about a document. */
async function lintAsSpectral(document: Document): Promise<string[]> {
  const linter = new spectral.Spectral();
  linter.setRuleset(rulesets.oas as spectral.RulesetDefinition);
  const problems = await linter.run(JSON.stringify(document));
  return problems.map(({ code, message, path }) => `${code}: ${path.join("/")}: ${message}`);
}

test("the document lints clean, by two linters", async () => {
  expect(await lint(createOpenapi())).toEqual([]);
  expect(await lintAsSpectral(createOpenapi())).toEqual([]);
});

test.each<[string, (document: Document) => void, string]>([
  ["an example that is no record", ({ components }) => components.schemas.Kyc.examples[0].id++, "no-invalid"],
  ["a reference to nothing", ({ components }) => delete components.schemas.Kyc, "no-unresolved-refs"],
  ["a call that nobody can tell", ({ paths }) => delete paths["/v1/kyc"].get.operationId, "operationId"],
])("the linter finds %s", async (_, spoil, rule) => {
  const document = structuredClone(createOpenapi());
  spoil(document);
  expect((await lint(document)).join()).toContain(rule);
});

test("the other linter finds a description that nobody can be asked about", async () => {
  const { openapi, info } = createOpenapi();
  const spoiled = { openapi, info: { ...info, contact: undefined }, paths: {} };
  expect((await lintAsSpectral(spoiled)).join()).toContain("info-contact");
});

test("words and bodies that recur have one name each, under which generated clients find them", () => {
  const { schemas, responses } = createOpenapi().components as Document;
  for (const [schema, field, name] of [
    ["Kyc", "verification_status", "VerificationStatus"],
    ["Kyc", "document_type", "DocumentType"],
    ["KycCreation", "verification_status", "VerificationStatusInput"],
    ["KycCreation", "document_type", "DocumentTypeInput"],
    ["KycChanges", "verification_status", "VerificationStatusInput"],
    ["KycChanges", "document_type", "DocumentTypeInput"],
    ["KycSearch", "verification_status", "VerificationStatusInput"],
  ] as const) {
    expect(schemas[schema].properties[field].$ref).toBe(`#/components/schemas/${name}`);
  }
  expect(schemas.VerificationStatus.enum).toEqual(["pending", "in_review", "verified", "failed", "expired"]);
  for (const response of Object.values<Document>(responses)) {
    expect(response.content["application/json"].schema.$ref).toMatch(/^#\/components\/schemas\/\w+Error$/);
  }
  // A name that every language has already.
  expect(schemas.Error).toBeUndefined();
});

test("the document names the release that serves it", () => {
  expect(createOpenapi().info.version).toBe(JSON.parse(readFileSync("package.json", "utf8")).version);
});

test("a method is answered if the document has it, and only then", async () => {
  for (const [path, item] of Object.entries(createOpenapi().paths)) {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"] as const) {
      const { statusCode } = await gateway.rest(token, method as "GET", path.replace("{id}", "x"));
      expect([method, path, statusCode !== 405]).toEqual([method, path, method.toLowerCase() in item]);
    }
  }
});

test("the example of each body is taken as it stands, form-encoded and as JSON", async () => {
  const { KycCreation, KycChanges } = createOpenapi().components.schemas as Document;
  const [creation] = KycCreation.examples;
  const [changes] = KycChanges.examples;
  for (const kind of ["form", "json"] as const) {
    const created = await gateway.rest(token, "POST", "/v1/kyc", { [kind]: creation });
    expect(created.statusCode).toBe(201);
    const changed = await gateway.rest(token, "PUT", String(created.headers.location), { [kind]: changes });
    expect(changed.json()).toMatchObject(changes);
  }
});

describe("an answer that differs from the document fails the test that it is for", () => {
  const headers = { "request-id": "req_1", "content-type": "application/json", "cache-control": "no-store" };
  const good = { status: 200, headers, body: '{"has_more":false,"data":[]}' };

  test("and one that does not is taken", () => {
    expectDescribed("GET", "/v1/kyc?limit=1", good);
    expectDescribed("HEAD", "/v1/kyc", { ...good, body: "" });
  });

  test.each<[string, typeof good | object, string]>([
    ["another status", { status: 418 }, "not described"],
    ["a field that lacks", { body: '{"data":[]}' }, "has_more"],
    ["a field too many", { body: '{"has_more":false,"data":[],"url":"/"}' }, "additional"],
    ["a field of another type", { body: '{"has_more":"no","data":[]}' }, "boolean"],
    ["a header that lacks", { headers: { "content-type": "application/json" } }, "Request-Id lacks"],
    ["a header of another form", { headers: { ...headers, "cache-control": "public" } }, "Cache-Control"],
    ["a header that nobody knows", { headers: { ...headers, "x-new": "1" } }, "x-new is not described"],
    ["another type", { headers: { ...headers, "content-type": "text/html" } }, "not JSON"],
    ["an error that has it not", { status: 401, body: '{"error":{}}' }, "WWW-Authenticate lacks"],
  ])("by %s", (_, difference, words) => {
    expect(() => expectDescribed("GET", "/v1/kyc", { ...good, ...difference })).toThrow(words);
  });

  test("by a code that the status has not", () => {
    const body = '{"error":{"type":"api_error","code":"internal","message":"x"}}';
    expect(() => expectDescribed("GET", "/v1/kyc/x", { ...good, status: 404, body })).toThrow(
      "allowed values",
    );
  });

  test("by a body although it has none", () => {
    const tagged = { ...good, status: 304, headers: { ...headers, etag: '"1"' } };
    expectDescribed("GET", "/v1/kyc/x", { ...tagged, body: "" });
    expect(() => expectDescribed("GET", "/v1/kyc/x", tagged)).toThrow("it has a body");
  });
});
