import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let token: string;
let port: number;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("twice");
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
});
afterAll(() => gateway.close());

interface Request {
  method: string;
  path: string;
  type: string;
  body: string;
}

const FORM = "application/x-www-form-urlencoded";
const CREATE: Request = {
  ...{ method: "POST", path: "/v1/kyc", type: FORM },
  body: "customer_id=c&verification_status=pending&document_type=visa&document_number=1",
};
const MUTATION: Request = {
  ...{ method: "POST", path: "/graphql", type: "application/json" },
  body: JSON.stringify({
    query:
      'mutation { createKyc(input: { customerId: "c", verificationStatus: PENDING, documentType: VISA, documentNumber: "1" }) { kyc { id } } }',
  }),
};
const REQUESTS: Request[] = [
  CREATE,
  MUTATION,
  ...["/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v1/kyc", "/nowhere"].map((path) => ({
    ...{ method: "GET", path, type: FORM, body: "" },
  })),
  { method: "GET", path: "/graphql?query=%7B__typename%7D", type: "application/json", body: "" },
  { method: "PURGE", path: "/health", type: FORM, body: "" },
];

async function sendLines(lines: string[], body: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  socket.write(Buffer.from([...lines, "Connection: close", "", body].join("\r\n"), "latin1"));
  await once(socket, "close");
  return answer;
}

const headersOf = ({ type, body }: Request): Record<string, string> => ({
  Host: "localhost",
  Authorization: `Bearer ${token}`,
  "Content-Type": type,
  "Content-Length": String(Buffer.byteLength(body)),
  "Idempotency-Key": "one",
  "Kyc-Reason": "because",
});

const count = async () => (await gateway.db.execute("select count(*)::int as n from kycs"))[0]?.n;

test.each(["Host", "Authorization", "Content-Type", "Content-Length", "Idempotency-Key", "Kyc-Reason"])(
  "%s on two lines is refused everywhere, and nothing is done",
  async (name) => {
    const before = await count();
    for (const sent of REQUESTS) {
      const headers = headersOf(sent);
      const line = (as: string, value = headers[name]) => `${as}: ${value}`;
      const lines = Object.entries(headers).map(([own, value]) => `${own}: ${value}`);
      for (const second of [
        line(name),
        line(name.toLowerCase()),
        line(name.toUpperCase(), `${headers[name]}1`),
      ]) {
        const answer = await sendLines([`${sent.method} ${sent.path} HTTP/1.1`, ...lines, second], sent.body);
        expect([name, sent.path, answer.split("\r\n", 1)[0]]).toEqual([
          name,
          sent.path,
          "HTTP/1.1 400 Bad Request",
        ]);
        expect(answer.toLowerCase()).toContain("\r\ncache-control: no-store\r\n");
        const body = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
        // Node itself refuses two lengths, because the end of the body is then ambiguous.
        if (name === "Content-Length") continue;
        const { message } = sent.path.startsWith("/graphql") ? body.errors[0] : body.error;
        expect(message).toBe(`The header ${name} is sent more than once.`);
      }
    }
    expect(await count()).toBe(before);
  },
);

test("each of them on one line is served", async () => {
  for (const sent of [CREATE, MUTATION]) {
    const headers = { ...headersOf(sent), "Idempotency-Key": sent.path };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    const answer = await sendLines([`${sent.method} ${sent.path} HTTP/1.1`, ...lines], sent.body);
    expect(answer).toMatch(/^HTTP\/1\.1 20[01] /);
  }
});

test.each([
  [195, 400],
  [2500, 431],
])("a second Host behind %i other headers gets %i", async (count, status) => {
  const others = Array.from({ length: count }, () => "a:");
  const answer = await sendLines(["GET /health HTTP/1.1", "Host: x", ...others, "Host: y"], "");
  expect(answer.startsWith(`HTTP/1.1 ${status} `)).toBe(true);
});

test.each(
  [
    "",
    " ",
    "a b",
    "a,b",
    "user@host",
    "host/",
    "host?x",
    "host#x",
    "h\u00f6st",
    "[::1",
    "::1",
    "[x]",
    "[::1]x",
  ].concat([
    "host:port",
    "host:65536",
    "host:1:2",
    "host:-1",
    '"host"',
    "<script>",
    "a\\b",
    "[1:2]",
    "%zz",
    ":80",
  ]),
)("the Host %j is malformed, and refused everywhere", async (host) => {
  for (const sent of REQUESTS) {
    const lines = Object.entries({ ...headersOf(sent), Host: host }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    const answer = await sendLines([`${sent.method} ${sent.path} HTTP/1.1`, ...lines], sent.body);
    expect([sent.path, answer.split("\r\n", 1)[0]]).toEqual([sent.path, "HTTP/1.1 400 Bad Request"]);
  }
});

test.each(
  [
    "localhost",
    "localhost:",
    "a.example:8080",
    "127.0.0.1:1",
    "[::1]",
    "[::1]:4000",
    "my_service-1",
    "A.Example.",
  ].concat(["xn--hst-sna.example", "a:65535", "[::ffff:127.0.0.1]:80"]),
)("the Host %j is served", async (host) => {
  expect(await sendLines(["GET /health HTTP/1.1", `Host: ${host}`], "")).toMatch(/^HTTP\/1\.1 200 /);
});
