import { randomInt } from "node:crypto";
import { Agent, request as ask, type OutgoingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import fc, { type GeneratorValue } from "fast-check";
import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { schema } from "../src/graphql/schema.ts";
import { createTestApp, type TestApp } from "./support/app.ts";
import { codePoint } from "./support/code-points.ts";
import { DocumentWriter } from "./support/graphql-documents.ts";
import { createRecord } from "./support/records.ts";

/** `npm run fuzz` sends many, and others each time; `npm test` the same few. */
const { FUZZ_RUNS = "600", FUZZ_SEED = "1" } = process.env;
const SEED = FUZZ_SEED === "random" ? randomInt(2 ** 31) : Number(FUZZ_SEED);
const RUNS = Math.ceil(Number(FUZZ_RUNS) / 3);
/** After which a request counts as never answered. Milliseconds. */
const HANG = 15_000;
const TIME_LIMIT = 60_000 + RUNS * 100;

/** The number of a document of this account: it may come back as data, and nowhere else. */
const CANARY = "ZQX7731904";
/** Data of another account, which none of the tokens opens and no request holds. */
const FOREIGN = "FOREIGN55812";
const STACK = /\n\s+at |node_modules|[\\/](src|dist)[\\/]\w+|\.[jt]s:\d+:\d+/;

/** How often a document is sent: from the second time on it comes from the cache. */
const SENDINGS = 3;
/** One of so many requests goes over a socket. */
const OVER_SOCKET = 5;

let gateway: TestApp;
const agent = new Agent({ keepAlive: true });
let tokens: string[];
let ids: string[];
let sent = 0;
/** How many were right in part at least: those come further than the first check. */
let served = 0;

beforeAll(async () => {
  process.stdout.write(`fuzz: seed ${SEED}, ${RUNS} runs of each kind\n`);
  gateway = await createTestApp();
  await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  const full = await gateway.token("acme");
  const foreign = await gateway.token("other");
  tokens = [full, full, full, await gateway.token("acme", ["kyc:read"]), await gateway.token("acme", [])];
  const changes = { customerId: FOREIGN, documentNumber: FOREIGN };
  ids = [
    await createRecord(gateway, foreign, changes),
    ...(await Promise.all(
      [1, 2, 3].map(() => createRecord(gateway, full, { customerId: "mine", documentNumber: CANARY })),
    )),
  ];
});
afterAll(async () => {
  expect(sent).toBeGreaterThanOrEqual(3 * RUNS);
  expect(served).toBeGreaterThan(sent / 40);
  const foreign = await gateway.db.execute("select version from kycs where account_id = 'other'");
  expect(foreign).toEqual([{ version: 1 }]);
  for (const line of gateway.logged().split("\n")) {
    if (/unforeseen|ZQX7731904|FOREIGN55812|kycgw_[\w-]{20}/.test(line)) throw new Error(line);
  }
  agent.destroy();
  await gateway.close();
});

const HOSTILE = [
  ...[
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\u2028",
    "\u202e",
    "\ufeff",
    "💥".repeat(40),
    "x".repeat(3000),
  ],
  ...[
    "__proto__",
    "constructor",
    "toString",
    "' or 1=1 --",
    "%s%n{0}",
    "../../etc/passwd",
    "<script>",
    "\r\nA: b",
  ],
  ...[
    "-1",
    "0",
    "1e309",
    "NaN",
    "9223372036854775808",
    "18446744073709551616",
    "null",
    "undefined",
    "[object Object]",
  ],
  ...[
    "pending",
    "PENDING",
    "passport",
    "2026-01-01T00:00:00Z",
    "2026-13-41T99:00:00Z",
    CANARY,
    CANARY,
    ` ${CANARY}\0`,
  ],
];
const text = () =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...HOSTILE) },
    { weight: 4, arbitrary: fc.constantFrom(...ids) },
    fc.string({ unit: codePoint, maxLength: 40 }),
    fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)), maxLength: 20 }),
  );

type Draw = <T>(...items: readonly T[]) => T;
const drawer =
  (g: GeneratorValue): Draw =>
  (...items) =>
    items[g(fc.nat, { max: items.length - 1 })] as (typeof items)[number];

interface Answer {
  statusCode: number;
  headers: OutgoingHttpHeaders;
  body: string;
}

/** As the app's own `inject`, through the parser and the sockets of HTTP. */
function sendOverSocket({ method = "GET", url, headers, payload }: InjectOptions): Promise<Answer> {
  const { port } = gateway.app.server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    const length = payload === undefined ? {} : { "content-length": Buffer.byteLength(payload as string) };
    const options = { agent, port, host: "127.0.0.1", method, path: String(url) };
    ask({ ...options, headers: { ...headers, ...length } }, (answer) => {
      const { statusCode = 0, headers } = answer;
      buffer(answer).then((body) => resolve({ statusCode, headers, body: body.toString() }), reject);
    })
      .on("error", reject)
      .end(payload);
  });
}

/** Sends a request, and fails if its answer is one that no request may get. */
async function probe(request: InjectOptions): Promise<Answer> {
  sent += 1;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("no answer")), HANG);
  });
  const answered = sent % OVER_SOCKET === 0 ? sendOverSocket(request) : gateway.app.inject(request);
  const { statusCode, body, headers } = await Promise.race([answered, late]);
  clearTimeout(timer);
  if (statusCode >= 500) throw new Error(`${statusCode} ${body} for ${JSON.stringify(request)}`);
  expect(body + JSON.stringify(headers)).not.toContain(FOREIGN);
  expect(body).not.toMatch(/"INTERNAL"|"api_error"/);
  expect(JSON.stringify(headers)).not.toContain(CANARY);
  if (statusCode < 300 && (!body.includes('"errors"') || body.includes('"data":{'))) served += 1;
  const told = statusCode >= 400 ? body : errorsOf(body);
  expect(told).not.toContain(CANARY);
  expect(told).not.toMatch(STACK);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  return { statusCode, headers, body };
}

/** Sends a document again and again: what changes nothing is answered with the same bytes each time. */
async function probeAgain(request: InjectOptions): Promise<void> {
  const answers = [];
  for (let sending = 0; sending < SENDINGS; sending++) {
    const { statusCode, headers, body } = await probe(request);
    const ids = String(headers["request-id"]);
    answers.push({ statusCode, type: headers["content-type"], body: body.replaceAll(ids, "REQUEST") });
  }
  if (/^\s*mutation/.test(JSON.parse(String(request.payload)).query)) return;
  for (const answer of answers) expect(answer).toEqual(answers[0]);
}

function errorsOf(body: string): string {
  if (!body.startsWith("{")) return "";
  return JSON.stringify(JSON.parse(body).errors ?? null);
}

const authorization = (draw: Draw): Record<string, string> =>
  draw<Record<string, string>>(
    ...tokens.map((token) => ({ authorization: `Bearer ${token}` })),
    ...[...tokens, ...tokens, ...tokens].map((token) => ({ authorization: `bearer ${token}` })),
    {},
    { authorization: `Bearer ${CANARY}` },
    { authorization: `Basic ${tokens[0]}` },
    { authorization: "Bearer " },
    { authorization: `Bearer ${"a".repeat(5000)}` },
  );

/** Sends whatever a test draws, and so often, from the same seed. */
const fuzz = (
  name: string,
  request: (g: GeneratorValue, draw: Draw) => InjectOptions,
  send: (request: InjectOptions) => Promise<unknown> = probe,
) =>
  test(
    `${name} gets no 500, no stack trace, no other account's data, and no document number in an error`,
    () =>
      fc.assert(
        fc.asyncProperty(fc.gen(), async (g) => {
          await send(request(g, drawer(g)));
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: true },
      ),
    TIME_LIMIT,
  );

fuzz(
  "whatever document over the schema",
  (g, draw) => {
    const payload = JSON.stringify(new DocumentWriter(schema, text(), g).write());
    const accept = draw("*/*", "*/*;q=1", "application/json", "application/graphql-response+json");
    return {
      method: "POST",
      url: "/graphql",
      headers: { "content-type": "application/json", accept, ...authorization(draw) },
      payload,
    };
  },
  probeAgain,
);

const PARAMETERS = ["customer_id", "verification_status", "document_type", "document_number", "limit"].concat(
  ["starting_after", "ending_before", "id", "created_at", "__proto__", "constructor", "a[b][]", "query", ""],
);

const wellFormed = (value: string) => Buffer.from(value).toString();
const encode = (value: string) => encodeURIComponent(wellFormed(value));

function writeForm(g: GeneratorValue, draw: Draw): string {
  const pairs = Array.from({ length: g(fc.nat, { max: 6 }) }, () => {
    const value = g(text);
    return `${encode(draw(...PARAMETERS))}${draw("=", "=", "=", "")}${draw(encode(value), encode(value), "%", "%ED%A0%80", "%00")}`;
  });
  return draw("", "", "", "&".repeat(500)) + pairs.join(draw("&", "&", "&&", ";"));
}

function writeJson(g: GeneratorValue, draw: Draw): string {
  const fields = Object.fromEntries(
    Array.from({ length: g(fc.nat, { max: 6 }) }, () => [
      draw(...PARAMETERS),
      draw<unknown>(g(text), g(text), g(text), g(fc.jsonValue), null, 2 ** 53, [[]], { $ne: 1 }),
    ]),
  );
  const whole = JSON.stringify(fields);
  return draw(
    ...[whole, whole, whole, whole, `{"__proto__": ${whole}, "document_number": "${CANARY}"}`],
    ...[
      `[${whole}]`,
      whole.slice(0, -1),
      `${"[".repeat(5000)}${"]".repeat(5000)}`,
      `${'{"a":'.repeat(3000)}1${"}".repeat(3000)}`,
    ],
    ...[
      `{"limit": 123456789012345678901234567890, "document_number": "${CANARY}"`,
      "",
      "null",
      "5",
      `"${CANARY}"`,
    ],
  );
}

fuzz("whatever request to the routes of REST", (g, draw) => {
  const id = draw(...ids, ...ids, g(text));
  const paths = [
    "/v1/kyc",
    "/v1/kyc",
    `/v1/kyc/${encode(id)}`,
    `/v1/kyc/${encode(id)}`,
    `/v1/kyc/${encode(id)}/`,
  ];
  const path = draw(
    ...paths,
    `/v1/kyc/${encode(id)}/more`,
    "/v1/kyc/%00",
    "/v1/kyc/%ZZ",
    "/v1",
    "/ready",
    "/metrics",
  );
  const method = draw(
    "GET",
    "GET",
    "POST",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE" as "GET",
  );
  const type = draw(
    "application/x-www-form-urlencoded",
    "application/json",
    "application/json;charset=utf-16",
  );
  const bodies = [writeForm(g, draw), writeJson(g, draw)];
  const hasBody = !["GET", "HEAD"].includes(method) || draw(true, false, false);
  return {
    method: method as "GET",
    url: `${path}${draw("", "", "?")}${draw("", `?${writeForm(g, draw)}`)}`,
    headers: {
      ...authorization(draw),
      ...draw<Record<string, string>>({}, { "if-match": draw('"1"', "*", CANARY, '"x', 'W/"2", "3"', "") }),
      ...draw<Record<string, string>>({}, { "if-none-match": draw('"1"', "*", CANARY, "\u00ff") }),
      ...draw<Record<string, string>>(
        {},
        {},
        { "idempotency-key": draw(CANARY, "", "x".repeat(1000), "key") },
      ),
      ...draw<Record<string, string>>(
        {},
        {},
        { accept: draw("text/html", CANARY), origin: "https://evil.example" },
      ),
      ...(hasBody && { "content-type": draw(type, type, type, CANARY, "text/plain", ";;=") }),
    },
    ...(hasBody && {
      payload: draw<string | Buffer>(...bodies, ...bodies, ...bodies, Buffer.from([0xff, 0xfe, 0])),
    }),
  };
});

fuzz("whatever body, method or address of GraphQL", (g, draw) => {
  const { query, variables } = new DocumentWriter(schema, text(), g).write();
  const fields: Record<string, unknown> = {
    query: draw<unknown>(query, query, query, query, null, 5, [query], { query }, "", undefined),
    variables: draw<unknown>(
      variables,
      variables,
      null,
      [],
      "x",
      CANARY,
      { input: g(fc.jsonValue) },
      undefined,
    ),
    operationName: draw<unknown>(undefined, undefined, null, "Named", CANARY, 5, "__proto__"),
    extensions: draw<unknown>(undefined, {}, [], { persistedQuery: { version: 1, sha256Hash: CANARY } }),
  };
  const body = JSON.stringify(fields);
  const method = draw("POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS");
  const search = new URLSearchParams({
    query,
    variables: JSON.stringify(variables),
    operationName: wellFormed(g(text)),
  });
  return {
    method,
    url: draw(
      "/graphql",
      "/graphql",
      `/graphql?${search}`,
      `/graphql?query=${encode(g(text))}`,
      "/graphql/",
      "/graphql?",
    ),
    headers: {
      ...authorization(draw),
      accept: draw("*/*", "application/json", "text/html", CANARY, "text/event-stream", "multipart/mixed"),
      ...(method !== "GET" && {
        "content-type": draw("application/json", "application/json", "text/plain", CANARY),
      }),
    },
    ...(method !== "GET" && {
      payload: draw(
        ...[
          body,
          body,
          body,
          `[${body}]`,
          body.slice(0, -2),
          `${body}}`,
          "",
          "null",
          writeForm(g, draw),
          writeJson(g, draw),
        ],
      ),
    }),
  };
});
