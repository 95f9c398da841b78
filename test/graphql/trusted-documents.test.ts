import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseConfig } from "../../src/config/config.ts";
import { readManifest } from "../../src/graphql/documents/manifest.ts";
import { createValidation } from "../../src/graphql/documents/validation.ts";
import { ConfigError } from "../../src/lib/settings.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

const LIST = "query KycList($first: Int) { kycs(first: $first) { nodes { id } } }";
const GET = "query OneKyc($id: ID!) { kyc(id: $id) { id customerId } }";
const MANIFEST = { [sha256(LIST)]: LIST, "short-id": GET };
const config = parseConfig({});
const validate = createValidation(config);
const readFrom = (path: string) => readManifest(path, validate, config.queryLimits.tokens);

let folder: string;
const gateways: Record<string, TestApp> = {};
const tokens: Record<string, string> = {};
const ids: Record<string, string> = {};
let files = 0;

async function write(manifest: unknown): Promise<string> {
  files += 1;
  const path = join(folder, `${files}.json`);
  await writeFile(path, typeof manifest === "string" ? manifest : JSON.stringify(manifest));
  return path;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kyc-manifest-"));
  const path = await write(MANIFEST);
  for (const mode of ["off", "allow", "only"]) {
    const gateway = await createTestApp({ PERSISTED_OPERATIONS: path, PERSISTED_OPERATIONS_MODE: mode });
    gateways[mode] = gateway;
    tokens[mode] = await gateway.token("acme");
    const created = await gateway.rest(String(tokens[mode]), "POST", "/v1/kyc", {
      form: {
        ...{ customer_id: "c", verification_status: "pending" },
        document_type: "visa",
        document_number: "1",
      },
    });
    ids[mode] = created.json().id;
  }
});
afterAll(async () => {
  for (const gateway of Object.values(gateways)) await gateway.close();
  await rm(folder, { recursive: true });
});

interface Answer {
  status: number;
  data: { kycs?: { nodes: { id: string }[] }; kyc?: { id: string } } | undefined;
  code: string | undefined;
  message: string | undefined;
  body: string;
}

function read(response: { statusCode: number; body: string; headers: Record<string, unknown> }): Answer {
  const { data, errors } = JSON.parse(response.body);
  const body = response.body.replaceAll(String(response.headers["request-id"]), "REQUEST");
  return {
    status: response.statusCode,
    data,
    code: errors?.[0].extensions.code,
    message: errors?.[0].message,
    body,
  };
}

/** Asks in two spellings of the same media type, and returns the answer that both had. */
async function ask(mode: string, params: unknown, accept = "application/json"): Promise<Answer> {
  const answers = [];
  for (const type of [accept, `${accept};q=1`]) {
    const response = await (gateways[mode] as TestApp).app.inject({
      ...{ method: "POST", url: "/graphql", payload: JSON.stringify(params) },
      headers: { "content-type": "application/json", accept: type, authorization: `Bearer ${tokens[mode]}` },
    });
    answers.push(read(response));
  }
  expect(answers[0]).toEqual(answers[1]);
  return answers[0] as Answer;
}

async function get(mode: string, params: Record<string, string>): Promise<Answer> {
  const response = await (gateways[mode] as TestApp).app.inject({
    ...{ method: "GET", url: "/graphql", query: params },
    headers: { authorization: `Bearer ${tokens[mode]}` },
  });
  return read(response);
}

const apollo = (sha256Hash: string) => ({ persistedQuery: { version: 1, sha256Hash } });

describe.each(["allow", "only"])("mode %s", (mode) => {
  const variables = { first: 5 };
  const found = () => ({ status: 200, data: { kycs: { nodes: [{ id: ids[mode] }] } } });

  test.each([
    ["Apollo's extension", { extensions: apollo(sha256(LIST)), variables }],
    ["documentId", { documentId: sha256(LIST), variables }],
    ["documentId with its algorithm", { documentId: `sha256:${sha256(LIST)}`, variables }],
    ["Relay's doc_id", { doc_id: sha256(LIST), variables }],
    ["Relay's id beside an empty text", { id: sha256(LIST), query: null, variables }],
    ["the operation's name as well", { id: sha256(LIST), operationName: "KycList", variables }],
  ])("a document is run by its id: %s", async (_name, params) => {
    expect(await ask(mode, params)).toMatchObject(found());
    // From the cache by now.
    expect(await ask(mode, params)).toMatchObject(found());
  });

  test("an id need not be a hash", async () => {
    const answer = await ask(mode, { documentId: "short-id", variables: { id: ids[mode] } });
    expect(answer.data).toEqual({ kyc: { id: ids[mode], customerId: "c" } });
  });

  test("a document is run by its id in an address", async () => {
    const given = { variables: JSON.stringify(variables) };
    expect(await get(mode, { ...given, documentId: sha256(LIST) })).toMatchObject(found());
    const extensions = JSON.stringify(apollo(sha256(LIST)));
    expect(await get(mode, { ...given, extensions })).toMatchObject(found());
  });

  test.each([
    ["Apollo's extension", { extensions: apollo("0".repeat(64)) }],
    ["documentId", { documentId: "unknown" }],
    ["a name that every object has", { documentId: "__proto__" }],
  ])("an id that nobody knows is not found, in the protocol's words: %s", async (_name, params) => {
    expect(await ask(mode, params)).toMatchObject({
      status: 200,
      message: "PersistedQueryNotFound",
      code: "PERSISTED_QUERY_NOT_FOUND",
    });
    expect((await ask(mode, params, "application/graphql-response+json")).status).toBe(400);
  });

  test("variables, names and other parameters are checked as ever", async () => {
    expect((await ask(mode, { id: "short-id" })).code).toBe("BAD_USER_INPUT");
    expect((await ask(mode, { id: "short-id", colour: 1 })).code).toBe("BAD_USER_INPUT");
    const other = { id: "short-id", operationName: "Other", variables: { id: "x" } };
    expect((await ask(mode, other)).code).toBe("BAD_USER_INPUT");
  });

  test.each([
    ["nothing", {}],
    ["an id that is no text", { documentId: 5 }],
    ["a strange extension", { extensions: { persistedQuery: null } }],
    ["a hash that is no text", { extensions: { persistedQuery: { version: 1, sha256Hash: ["x"] } } }],
    ["extensions that are no object", { extensions: "x" }],
  ])("what names no document is refused: %s", async (_name, params) => {
    const { code, data } = await ask(mode, params);
    expect(data).toBeUndefined();
    expect(code).toBe(mode === "only" ? "PERSISTED_QUERY_ID_REQUIRED" : "BAD_USER_INPUT");
  });
});

describe("mode allow", () => {
  test("texts are run as ever", async () => {
    expect((await ask("allow", { query: GET, variables: { id: ids.allow } })).data?.kyc?.id).toBe(ids.allow);
  });

  test("a text is registered under its hash, and then run by it", async () => {
    const text = `{ kycs(first: 3) { nodes { id } } } # ${Math.random()}`;
    const extensions = apollo(sha256(text));
    expect((await ask("allow", { extensions })).code).toBe("PERSISTED_QUERY_NOT_FOUND");
    expect((await ask("allow", { query: text, extensions })).data?.kycs?.nodes).toHaveLength(1);
    expect((await ask("allow", { extensions })).data?.kycs?.nodes).toHaveLength(1);
    // Each replica, and each gateway, learns for itself.
    expect((await ask("only", { extensions })).code).toBe("PERSISTED_QUERY_NOT_FOUND");
  });

  test("a text under another hash is refused, and not registered", async () => {
    const extensions = apollo(sha256("another"));
    const refused = await ask("allow", { query: LIST, extensions });
    expect(refused).toMatchObject({ code: "BAD_USER_INPUT", data: undefined });
    expect((await ask("allow", { extensions })).code).toBe("PERSISTED_QUERY_NOT_FOUND");
  });

  test("registered texts are forgotten before they fill the memory", async () => {
    const text = (n: number) => `{ kycs { totalCount } } # ${n} ${"x".repeat(90_000)}`;
    const register = (n: number) => ask("allow", { query: text(n), extensions: apollo(sha256(text(n))) });
    for (let n = 0; n < 14; n++) await register(n);
    expect((await ask("allow", { extensions: apollo(sha256(text(13))) })).code).toBeUndefined();
    expect((await ask("allow", { extensions: apollo(sha256(text(0))) })).code).toBe(
      "PERSISTED_QUERY_NOT_FOUND",
    );
  });
});

describe("mode only", () => {
  test.each([
    ["a text", { query: "{ __typename }" }],
    ["the text of a trusted document", { query: LIST }],
    ["a text beside the id of a trusted document", { query: "{ __typename }", documentId: "short-id" }],
    ["a text with its hash", { query: "{ __typename }", extensions: apollo(sha256("{ __typename }")) }],
    ["something that is no text", { query: 5 }],
  ])("%s is refused, and the refusal says why", async (_name, params) => {
    expect(await ask("only", params)).toMatchObject({
      code: "PERSISTED_QUERY_ID_REQUIRED",
      message: "Only trusted documents are run here: send the id of one, and no text.",
      data: undefined,
    });
  });

  test("a text in an address is refused", async () => {
    expect((await get("only", { query: "{ __typename }" })).code).toBe("PERSISTED_QUERY_ID_REQUIRED");
  });

  test("there is no GraphiQL, whose every text would be refused", async () => {
    const page = (mode: string) =>
      (gateways[mode] as TestApp).app.inject({ url: "/graphql", headers: { accept: "text/html,*/*;q=0.8" } });
    expect((await page("only")).body).not.toContain("GraphiQL");
    expect((await page("only")).body).toContain("Only trusted documents");
  });
});

describe("mode off", () => {
  test("a hash alone is not supported, in the protocol's words; with its text it is run", async () => {
    const extensions = apollo(sha256(LIST));
    expect(await ask("off", { extensions })).toMatchObject({
      message: "PersistedQueryNotSupported",
      code: "PERSISTED_QUERY_NOT_SUPPORTED",
    });
    expect((await ask("off", { query: LIST, extensions })).data?.kycs?.nodes).toHaveLength(1);
  });

  test("ids are parameters that nobody knows", async () => {
    expect((await ask("off", { documentId: "short-id" })).code).toBe("BAD_USER_INPUT");
  });
});

describe("metrics", () => {
  test("operations are known by the names of trusted documents, and others by the schema's fields", async () => {
    const gateway = gateways.allow as TestApp;
    await ask("allow", { documentId: "short-id", variables: { id: "x" } });
    await ask("allow", { query: "query Secret123 { kycs(first: 101) { nodes { id } } }" });
    await ask("allow", { query: "query Secret123 { a: kyc(id: 1) { id } b: kyc(id: 2) { id } }" });
    await ask("allow", { query: "query Secret123 {" });
    const { body } = await gateway.app.inject("/metrics");
    const series = (operation: string, outcome: string) =>
      `graphql_operation_duration_seconds_count{operation="${operation}",outcome="${outcome}"}`;
    expect(body).toContain(series("OneKyc", "OK"));
    expect(body).toContain(series("kycs", "BAD_USER_INPUT"));
    expect(body).toContain(series("several", "OK"));
    expect(body).toContain(series("none", "GRAPHQL_PARSE_FAILED"));
    expect(body).not.toContain("Secret");
  });
});

describe("a manifest", () => {
  const faultsOf = async (manifest: unknown): Promise<readonly string[]> => {
    const error = await readFrom(await write(manifest)).catch((error) => error);
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).faults;
  };
  const apolloManifest = (...operations: object[]) => ({
    ...{ format: "apollo-persisted-query-manifest", version: 1 },
    operations,
  });

  test("is read as Apollo's tool writes it, and as Relay's and graphql-codegen's do", async () => {
    const written = apolloManifest({ id: "a", name: "KycList", type: "query", body: LIST });
    expect([...(await readFrom(await write(written)))]).toEqual([["a", LIST]]);
    expect([...(await readFrom(await write({ a: LIST, b: GET })))]).toEqual([
      ["a", LIST],
      ["b", GET],
    ]);
    expect((await readFrom(await write({}))).size).toBe(0);
  });

  test("with faults is refused with all of them, each by its document's id", async () => {
    const faults = await faultsOf({
      good: LIST,
      broken: "query {",
      outdated: "{ kycs { nodes { color name } } }",
      costly: `{ ${Array.from({ length: 20 }, (_, n) => `a${n}: kycs(first: 100) { nodes { id version createdAt updatedAt customerId documentType } }`)} }`,
      fragment: "fragment f on Kyc { id }",
    });
    const ids = faults.map((fault) => /^PERSISTED_OPERATIONS (\w+): /.exec(fault)?.[1]);
    expect(ids).toEqual(["broken", "outdated", "outdated", "costly", "fragment"]);
  });

  test("that names two documents alike is refused", async () => {
    expect(await faultsOf(apolloManifest({ id: "a", body: LIST }, { id: "a", body: GET }))).toHaveLength(1);
  });

  test.each([
    ["no JSON", "query { x }"],
    ["a list", []],
    ["a format to come", { format: "apollo-persisted-query-manifest", version: 2, operations: [] }],
    ["texts that are none", { a: 5 }],
  ])("that is %s is refused", async (_name, manifest) => {
    expect(await faultsOf(manifest)).toHaveLength(1);
  });

  test("that can't be read is refused", async () => {
    const error = await readFrom(join(folder, "nowhere.json")).catch((error) => error);
    expect((error as ConfigError).faults).toEqual([
      "PERSISTED_OPERATIONS names a file that can't be read (ENOENT)",
    ]);
  });

  test("with faults keeps the gateway from starting", async () => {
    const path = await write({ a: "{ nothing }" });
    await expect(createTestApp({ PERSISTED_OPERATIONS: path })).rejects.toBeInstanceOf(ConfigError);
  });
});
