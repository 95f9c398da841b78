import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let port: number;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
});
afterAll(() => gateway.close());

const QUERY = JSON.stringify({ query: "{ __typename }" });
const FORM = "customer_id=twice&verification_status=pending&document_type=visa&document_number=1";
const GRAPHQL = [
  "POST /graphql HTTP/1.1",
  "Content-Type: application/json",
  `Content-Length: ${QUERY.length}`,
];
const REQUESTS: [string, string[], string][] = [
  ["GraphQL", GRAPHQL, QUERY],
  ["a record", ["GET /v1/kyc/0000000000000000 HTTP/1.1"], ""],
  ["a page", ["GET /v1/kyc HTTP/1.1"], ""],
  [
    "a new record",
    [
      "POST /v1/kyc HTTP/1.1",
      "Content-Type: application/x-www-form-urlencoded",
      `Content-Length: ${FORM.length}`,
    ],
    FORM,
  ],
];

const send = (lines: string[], body: string) => {
  const socket = connect(port, "127.0.0.1");
  // The server takes the end of a connection as a client that went away.
  socket.write(`${[...lines, "Connection: close", "", ""].join("\r\n")}${body}`);
  return text(socket);
};

const CASES = REQUESTS.flatMap(([name, [line = "", ...headers], body]) =>
  [
    "Host: x",
    "Authorization: Bearer TOKEN",
    "Content-Type: application/json",
    "Idempotency-Key: a",
    "Kyc-Reason: a",
  ].map((header) => [name, header, [line, ...headers], body] as const),
);

test.each(CASES)(
  "%s with two lines of %s is refused before anything is done",
  async (_name, header, lines, body) => {
    const [title = ""] = header.split(":");
    const others = ["Host: gateway", `Authorization: Bearer ${token}`, ...lines.slice(1)].filter(
      (line) => !line.startsWith(title),
    );
    const repeated = [header, header.toUpperCase()].map((each) => each.replace(/TOKEN/i, token));
    const answer = await send([lines[0] as string, ...others, ...repeated], body);
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer).toContain(`The header ${title} is sent more than once.`);
    const [row] = await gateway.db.execute<{ count: string }>("select count(*) from kycs");
    expect(Number(row?.count)).toBe(0);
  },
);

test.each(REQUESTS)("%s with each header once is served", async (_name, lines, body) => {
  const answer = await send([...lines, "Host: gateway", `Authorization: Bearer ${token}`], body);
  expect(answer).toMatch(/^HTTP\/1.1 (20[01]|404) /);
});
