import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

const ask = (accept: string | undefined, body: object, method: "POST" | "GET" = "POST") =>
  gateway.app.inject({
    method,
    url: method === "GET" ? `/graphql?${new URLSearchParams(body as Record<string, string>)}` : "/graphql",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      ...(accept !== undefined && { accept }),
    },
    ...(method === "POST" && { payload: JSON.stringify(body) }),
  });

const J = "application/json; charset=utf-8";
const R = "application/graphql-response+json; charset=utf-8";

test.each([
  [undefined, J],
  ["", J],
  ["*/*", J],
  ["application/*", J],
  ["application/*, application/json;q=0", R],
  ["application/json;q=0.2, application/graphql-response+json;q=0.1", J],
  ["application/json;q=0, */*;q=0.1", R],
  ["text/html, application/xhtml+xml, */*;q=0.8", J],
  ['application/graphql-response+json;charset="utf-8"', R],
  ["application/json;charset=UTF-8", J],
  ["image/png, text/event-stream;q=0.3", "text/event-stream; charset=utf-8"],
  ["multipart/mixed;incrementalSpec=v0.2,application/graphql-response+json,application/json;q=0.9", R],
])("who accepts %s gets %s", async (accept, type) => {
  for (const method of ["POST", "GET"] as const) {
    const answer = await ask(accept, { query: "{ __typename }" }, method);
    expect([answer.statusCode, answer.headers["content-type"]]).toEqual([200, type]);
  }
});

test.each([
  "application/xml",
  "image/*",
  "application/json;q=0",
  "*/*;q=0",
  "application/json; charset=iso-8859-1",
  "application/json; charset=utf-16, text/html",
  ";",
])("a mutation whose answer must be %s is refused before it is run", async (accept) => {
  const id = await createRecord(gateway, token);
  const query = `mutation { deleteKyc(input: { id: "${id}" }) { deletedId } }`;
  const answer = await ask(accept, { query });
  expect(answer.statusCode).toBe(406);
  expect(answer.json().errors).toMatchObject([
    { message: expect.stringContaining("application/json"), extensions: { code: "BAD_USER_INPUT" } },
  ]);
  expect((await gateway.graphql(token, `{ kyc(id: "${id}") { id } }`)).data.kyc).toEqual({ id });
  expect(await gateway.app.inject("/metrics").then(({ body }) => body)).toMatch(
    /graphql_\w+count\{operation="none",outcome="BAD_USER_INPUT"\}/,
  );
});

test("an operation that can't be determined is an answer as JSON, and 400 as GraphQL's own type", async () => {
  const query = "query A { __typename } query B { __typename }";
  for (const body of [{ query }, { query, operationName: "C" }, { query, operationName: "" }]) {
    expect((await ask("application/json", body)).statusCode).toBe(200);
    expect((await ask("application/graphql-response+json", body)).statusCode).toBe(400);
  }
  for (const accept of ["application/json", "application/graphql-response+json"])
    expect((await ask(accept, { variables: {} })).statusCode).toBe(400);
});

test("a POST without a body, with or without a type, is told what lacks", async () => {
  for (const headers of [{}, { "content-type": "application/json" }, { "content-type": "text/plain" }]) {
    const answer = await gateway.app.inject({ method: "POST", url: "/graphql", headers });
    expect([answer.statusCode, answer.headers["content-type"]]).toEqual([400, J]);
    expect(answer.json().errors).toMatchObject([{ extensions: { code: "BAD_USER_INPUT" } }]);
  }
});

test("parameters that GraphQL over HTTP does not have are refused without their names", async () => {
  const answer = await ask(undefined, { query: "{ __typename }", P1234567: 1 });
  expect(answer.statusCode).toBe(400);
  expect(answer.body).not.toContain("P1234567");
});
