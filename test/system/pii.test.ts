import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, CREATE_KYC, createClient, kycFields } from "./support/client.ts";
import { type Collector, startCollector } from "./support/collector.ts";
import { cuttableDatabase } from "./support/database-proxy.ts";
import {
  ENGINES,
  type Env,
  freshEnv,
  fullToken,
  type Gateway,
  runCli,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";
import { openConnection } from "./support/keep-alive.ts";
import { dump, openSql } from "./support/sql.ts";

/** Document numbers that nothing else looks like: one of letters and digits, one of digits alone. */
const WORD = "ZQX7731904";
const DIGITS = "77319046258";
/** Texts that must not be found. A part of a number is PII, too. */
const CANARY = /zqx7731|7731904/i;

/** All parts of an answer that could leak. */
interface Reply {
  status: number;
  headers: string;
  body: string;
}
type Send = (client: Client, url: string, id: string) => Promise<Reply>;
type Cases = Record<string, Send>;

const json = { "content-type": "application/json" };
const formType = { "content-type": "application/x-www-form-urlencoded" };

const through =
  (send: (client: Client, id: string) => ReturnType<Client["send"]>): Send =>
  async (client, _url, id) => {
    const { status, headers, text } = await send(client, id);
    return { status, headers: JSON.stringify([...headers]), body: text };
  };
const graphql = (query: string, variables?: Record<string, unknown>) =>
  through((client) => client.graphql(query, variables));
const graphqlBody = (body: string, headers: Record<string, string> = json) =>
  through((client) => client.send("POST", "/graphql", { headers, body }));
const get = (path: string, headers: Record<string, string> = {}) =>
  through((client, id) => client.send("GET", path.replace(":id", id), { headers }));
const rest = (method: string, path: string, body: string, headers: Record<string, string> = formType) =>
  through((client, id) => client.send(method, path.replace(":id", id), { headers, body }));
const query = (text: string, more = "") => get(`/graphql?query=${encodeURIComponent(text)}${more}`);
const wire = (lines: string[]): Send => {
  return async (_client, url) => {
    const connection = await openConnection(url);
    connection.write(lines.join("\r\n"));
    await connection.ended();
    const [head = "", ...rest] = connection.received().split("\r\n\r\n");
    return { status: Number(head.split(" ")[1]), headers: head, body: rest.join("\r\n\r\n") };
  };
};

const INPUT = "verificationStatus: PENDING, documentType: PASSPORT";
const literal = (value: string) =>
  graphql(
    `mutation { createKyc(input: { customerId: "c", ${INPUT}, documentNumber: ${value} }) { kyc { id } } }`,
  );
const variable = (documentNumber: unknown, more: Record<string, unknown> = {}) =>
  graphql("mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }", {
    input: {
      ...{ customerId: "c", verificationStatus: "PENDING", documentType: "PASSPORT", documentNumber },
      ...more,
    },
  });
const formOf = (fields: Record<string, string>) =>
  new URLSearchParams({ ...kycFields("c", "ok"), ...fields }).toString();
const LONG = WORD.repeat(20);

const BAD_GRAPHQL: Cases = {
  "a number as a variable": variable(Number(DIGITS)),
  "a list as a variable": variable([WORD, DIGITS]),
  "an object as a variable": variable({ number: WORD }),
  "an over-long variable": variable(LONG),
  "an unprintable variable": variable(`${WORD}\u0000`),
  "a variable in the place of an enum": variable("ok", { documentType: WORD }),
  "a variable in the place of another enum": variable("ok", { verificationStatus: WORD }),
  "a variable in an unknown field": variable("ok", { passportNumber: WORD }),
  "a text in the place of the input": graphql(
    "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }",
    { input: WORD },
  ),
  "a variable that no operation declares": graphql("{ kycs { totalCount } }", { documentNumber: WORD }),
  "a text as a number": graphql("query ($n: Int) { kycs(first: $n) { totalCount } }", { n: WORD }),
  "a number that is too large": graphql("query ($n: Int) { kycs(first: $n) { totalCount } }", {
    n: Number(DIGITS),
  }),
  "a text as a time": graphql(
    "query ($t: DateTime) { kycs(filter: { createdAt: { from: $t } }) { totalCount } }",
    {
      t: WORD,
    },
  ),
  "a literal as a time": graphql(`{ kycs(filter: { createdAt: { from: "${WORD}" } }) { totalCount } }`),
  "a cursor": graphql("query ($c: String) { kycs(after: $c) { totalCount } }", { c: WORD }),
  "a cursor and page sizes": graphql(`{ kycs(first: 1, last: 1, before: "${WORD}") { nodes { id } } }`),
  "an id of a mutation": graphql(`mutation { deleteKyc(input: { id: "${WORD}" }) { deletedId } }`),
  "an id of an update": graphql(
    `mutation { updateKyc(input: { id: "${WORD}", documentNumber: "${WORD}" }) { kyc { id } } }`,
  ),
  "an expected version": graphql(
    `mutation { deleteKyc(input: { id: "x", expectedVersion: ${DIGITS} }) { deletedId } }`,
  ),
  "an over-long literal": literal(`"${LONG}"`),
  "an over-long block literal": literal(`"""${LONG}"""`),
  "an unquoted literal": literal(WORD),
  "unquoted digits": literal(DIGITS),
  "unquoted digits with a fraction": literal(`${DIGITS}.5`),
  "unquoted digits and letters": literal(`${DIGITS}AB`),
  "unquoted words": literal(`AB ${WORD}`),
  "unquoted digits apart": literal(`AB ${DIGITS}`),
  "unquoted digits after a hyphen": literal(`AB-${DIGITS}`),
  "unquoted digits after a slash": literal(`AB/${DIGITS}`),
  "single quotes": literal(`'${WORD}'`),
  "a list literal": literal(`["${WORD}", ${DIGITS}]`),
  "an object literal": literal(`{ number: "${WORD}" }`),
  "an undeclared variable in its place": literal(`$number, unknown: "${WORD}"`),
  "a literal that never ends": literal(`"${WORD}`),
  "a block literal that never ends": literal(`"""${WORD}`),
  "a literal over two lines": literal(`"${WORD}\n${DIGITS}"`),
  "a bad escape": literal(`"\\${WORD}"`),
  "a bad Unicode escape": literal(`"\\u${WORD}"`),
  "a Unicode escape of digits": literal(`"\\u{${DIGITS}}"`),
  "a literal twice": literal(`"${WORD}", documentNumber: "${WORD}"`),
  "a literal in an unknown field": literal(`"ok", number: "${WORD}"`),
  "a literal in an unknown argument": graphql(`{ kycs(documentNumber: "${WORD}") { totalCount } }`),
  "a literal in the place of an enum": graphql(
    `{ kycs(filter: { documentType: "${WORD}" }) { totalCount } }`,
  ),
  "an unquoted literal in the place of an enum": graphql(
    `{ kycs(filter: { documentType: ${WORD} }) { totalCount } }`,
  ),
  "a literal in the place of a number": graphql(`{ kycs(first: "${WORD}") { totalCount } }`),
  "a literal in the place of an input": graphql(`mutation { createKyc(input: "${WORD}") { kyc { id } } }`),
  "a literal as a default": graphql(`query ($n: Int = "${WORD}") { kycs(first: $n) { totalCount } }`),
  "a literal in a directive": graphql(`{ kycs @skip(if: "${WORD}") { totalCount } }`),
  "a literal in an unknown directive": graphql(`{ kycs @mask(number: "${WORD}") { totalCount } }`),
  "a literal where a selection belongs": graphql(`{ kycs { "${WORD}" } }`),
  "a literal before the document": graphql(`"${WORD}" { kycs { totalCount } }`),
  "a comment in a broken document": graphql(`{ kycs { # ${WORD}\n`),
  "a document of a number": graphql(DIGITS),
  "a document of a text": graphql(`"${WORD}"`),
  "an operation's name": graphqlBody(
    JSON.stringify({ query: "query A { kycs { totalCount } }", operationName: WORD }),
  ),
  "a number for a document": graphqlBody(JSON.stringify({ query: Number(DIGITS) })),
  "a list for a document": graphqlBody(JSON.stringify({ query: [WORD] })),
  "a text for the variables": graphqlBody(
    JSON.stringify({ query: "{ kycs { totalCount } }", variables: WORD }),
  ),
  "a list for the variables": graphqlBody(
    JSON.stringify({ query: "{ kycs { totalCount } }", variables: [WORD] }),
  ),
  "a text for the extensions": graphqlBody(
    JSON.stringify({ query: "{ kycs { totalCount } }", extensions: WORD }),
  ),
  "a parameter beside the document": graphqlBody(
    JSON.stringify({ query: "{ kycs { totalCount } }", documentNumber: WORD }),
  ),
  "no document": graphqlBody(JSON.stringify({ documentNumber: WORD })),
  "a list of documents": graphqlBody(
    JSON.stringify([{ query: "{ a }", variables: { documentNumber: WORD } }]),
  ),
  "a body that is a text": graphqlBody(JSON.stringify(WORD)),
  "a body that is not JSON": graphqlBody(`{"query": ${WORD}}`),
  "a body that stops": graphqlBody(`{"query": "{ kyc(id: \\"${WORD}`),
  "a body that is a number": graphqlBody(DIGITS),
  "a body of another type": graphqlBody(WORD, { "content-type": "text/plain" }),
  "a form": graphqlBody(`query=${WORD}`, formType),
  "an over-large body": graphqlBody(JSON.stringify({ query: WORD.repeat(20_000) })),
  "a GET of a broken document": query(`{ kyc(id: "${WORD}`),
  "a GET of a wrong literal": query(`{ kycs(first: ${WORD}) { totalCount } }`),
  "a GET of a mutation": query(
    `mutation { createKyc(input: { customerId: "c", ${INPUT}, documentNumber: "${WORD}" }) { kyc { id } } }`,
  ),
  "a GET with wrong variables": query(
    "query ($n: Int) { kycs(first: $n) { totalCount } }",
    `&variables=${encodeURIComponent(JSON.stringify({ n: WORD }))}`,
  ),
  "a GET with variables that are not JSON": query("{ kycs { totalCount } }", `&variables=${WORD}`),
  "a GET with an operation's name": query("query A { kycs { totalCount } }", `&operationName=${WORD}`),
  "a GET without a document": get(`/graphql?documentNumber=${WORD}`),
  "a PUT": through((client) =>
    client.send("PUT", `/graphql?n=${WORD}`, { headers: json, body: `{"n":"${WORD}"}` }),
  ),
};

const BAD_REST: Cases = {
  "an over-long number": rest("POST", "/v1/kyc", formOf({ document_number: LONG })),
  "an unprintable number": rest("POST", "/v1/kyc", formOf({ document_number: `${WORD}\u0000` })),
  "a number in the place of a type": rest("POST", "/v1/kyc", formOf({ document_type: WORD })),
  "a number in the place of a status": rest("POST", "/v1/kyc", formOf({ verification_status: WORD })),
  "an over-long customer": rest("POST", "/v1/kyc", formOf({ customer_id: LONG })),
  "an unknown parameter": rest("POST", "/v1/kyc", formOf({ passport_number: WORD })),
  "a number twice": rest("POST", "/v1/kyc", `${formOf({})}&document_number=${WORD}&document_number=${WORD}`),
  "a bad percent-encoding": rest("POST", "/v1/kyc", `${formOf({})}&document_number=${WORD}%ZZ`),
  "a number with other fields missing": rest("POST", "/v1/kyc", `document_number=${WORD}`),
  "a JSON number": rest("POST", "/v1/kyc", `{"document_number": ${DIGITS}}`, json),
  "a JSON list": rest("POST", "/v1/kyc", `{"document_number": ["${WORD}"]}`, json),
  "a JSON text for a body": rest("POST", "/v1/kyc", `"${WORD}"`, json),
  "a body that is not JSON": rest("POST", "/v1/kyc", `{"document_number": ${WORD}}`, json),
  "a body that stops": rest("POST", "/v1/kyc", `{"document_number": "${WORD}`, json),
  "a body of another type": rest("POST", "/v1/kyc", WORD, { "content-type": "text/plain" }),
  "an over-large body": rest("POST", "/v1/kyc", `document_number=${WORD.repeat(20_000)}`),
  "a changed fixed field": rest("PUT", "/v1/kyc/:id", `customer_id=${WORD}`),
  "a changed time": rest("PUT", "/v1/kyc/:id", `created_at=${DIGITS}`),
  "a change of a record that is not there": rest(
    "PUT",
    "/v1/kyc/AAAAAAAAAAAAAAAA",
    `document_number=${WORD}`,
  ),
  "a change under a stale version": rest("PUT", "/v1/kyc/:id", `document_number=${WORD}`, {
    ...formType,
    "if-match": '"99"',
  }),
  "a body on DELETE": rest("DELETE", "/v1/kyc/AAAAAAAAAAAAAAAA", `document_number=${WORD}`),
  "a query on POST": rest("POST", `/v1/kyc?document_number=${WORD}`, formOf({})),
  "a limit": get(`/v1/kyc?limit=${DIGITS}`),
  "a filter of an unknown status": get(`/v1/kyc?verification_status=${WORD}`),
  "a number to look for that is too long": get(`/v1/kyc?document_number=${LONG}`),
  "a masked number to look for": get(`/v1/kyc?document_number=${WORD}%E2%80%A2`),
  "a masked number": rest("POST", "/v1/kyc", formOf({ document_number: `•${WORD}` })),
  "a masked number of another record": rest("PUT", "/v1/kyc/:id", `document_number=%E2%80%A2${WORD}`),
  "an over-long filter": get(`/v1/kyc?customer_id=${LONG}`),
  "a badly encoded filter": get(`/v1/kyc?customer_id=${WORD}%ZZ`),
  "a cursor": get(`/v1/kyc?starting_after=${WORD}`),
  "a cursor of the right shape": get(`/v1/kyc?starting_after=${WORD}AAAAAA`),
  "two cursors": get(`/v1/kyc?starting_after=${WORD}&ending_before=${WORD}`),
  "an id": get(`/v1/kyc/${WORD}`),
  "an id of the right shape": get(`/v1/kyc/${WORD}AAAAAA`),
  "an over-long id": get(`/v1/kyc/${WORD.repeat(200)}`),
  "a badly encoded id": get(`/v1/kyc/${WORD}%ZZ`),
  "an unknown route": get(`/v1/documents/${WORD}?document_number=${WORD}`),
  "a method that is not taken": through((client) =>
    client.send("PUT", `/v1/kyc?document_number=${WORD}`, {}),
  ),
  "a query of a record": get(`/v1/kyc/:id?document_number=${WORD}`),
  "a query of a probe": get(`/ready/${WORD}?document_number=${WORD}`),
};

const BAD_HEADERS: Cases = {
  "If-Match": rest("PUT", "/v1/kyc/:id", "document_number=ok", { ...formType, "if-match": WORD }),
  "a quoted If-Match": rest("PUT", "/v1/kyc/:id", "document_number=ok", {
    ...formType,
    "if-match": `"${DIGITS}"`,
  }),
  "If-None-Match": get("/v1/kyc/:id", { "if-none-match": WORD }),
  Authorization: get("/v1/kyc", { authorization: `Bearer ${WORD}` }),
  "Authorization of another kind": get("/v1/kyc", { authorization: `Basic ${WORD}` }),
  "Authorization of GraphQL": graphqlBody('{"query":"{ __typename }"}', {
    ...json,
    authorization: `Bearer ${WORD}`,
  }),
  "Content-Type": rest("POST", "/v1/kyc", formOf({}), { "content-type": `text/${WORD}` }),
  "a malformed Content-Type": rest("POST", "/v1/kyc", formOf({}), { "content-type": `${WORD};;=` }),
  "Content-Type of GraphQL": graphqlBody("{}", { "content-type": `text/${WORD}` }),
  Accept: graphqlBody('{"query":"{ __typename }"}', { ...json, accept: `text/${WORD}` }),
  Origin: get("/v1/kyc?limit=0", { origin: `https://${WORD}.example.com` }),
  "a preflight": through((client) =>
    client.send("OPTIONS", "/v1/kyc", {
      headers: {
        ...{ origin: `https://${WORD}.example.com`, "access-control-request-method": "POST" },
      },
    }),
  ),
  "Request-Id": get("/v1/kyc?limit=0", { "request-id": WORD, "x-request-id": WORD, traceparent: WORD }),
  tracestate: get("/v1/kyc?limit=0", { traceparent: `00-${WORD}-${WORD}-01`, tracestate: `a=${WORD}` }),
  baggage: get("/v1/kyc?limit=0", { baggage: `number=${WORD}` }),
  "Idempotency-Key": rest("POST", "/v1/kyc", "a=b", { ...formType, "idempotency-key": WORD }),
  "an unknown one": get("/v1/kyc?limit=0", { "document-number": WORD }),
};

const CLOSE = "Connection: close";
const BAD_WIRE: Cases = {
  "a request line": wire([`GET /v1/kyc?n=${WORD} ${WORD} HTTP/1.1`, "Host: x", "", ""]),
  "a method": wire([`${WORD} /v1/kyc HTTP/1.1`, "Host: x", "", ""]),
  "a header without a colon": wire(["GET /v1/kyc HTTP/1.1", "Host: x", WORD, "", ""]),
  "headers that are too large": wire(["GET /v1/kyc HTTP/1.1", `X-Number: ${WORD.repeat(3000)}`, "", ""]),
  "a length": wire(["POST /v1/kyc HTTP/1.1", "Host: x", `Content-Length: ${WORD}`, "", WORD]),
  "a chunk": wire(["POST /v1/kyc HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", "", WORD, ""]),
  "an expectation": wire(["POST /v1/kyc HTTP/1.1", "Host: x", CLOSE, `Expect: ${WORD}`, "", ""]),
  "a host": wire(["GET /v1/kyc?limit=0 HTTP/1.1", CLOSE, `Host: ${WORD}`, "", ""]),
  "an absolute address": wire([
    `GET http://${WORD}/graphql?query=${WORD} HTTP/1.1`,
    "Host: x",
    CLOSE,
    "",
    "",
  ]),
  "an address that is none": wire([`GET //${WORD}:${WORD}/%ZZ HTTP/1.1`, "Host: x", CLOSE, "", ""]),
  "no request at all": wire([`${WORD}`, "", ""]),
};

const GOOD: Cases = {
  "a record of REST": rest("POST", "/v1/kyc", formOf({ document_number: WORD })),
  "a record of JSON": rest("POST", "/v1/kyc", JSON.stringify(kycFields("c", WORD)), json),
  "a record of GraphQL": graphql(CREATE_KYC, { customerId: "c", documentNumber: WORD }),
  "a record of a literal": literal(`"${WORD}"`),
  "a change of REST": rest("PUT", "/v1/kyc/:id", `document_number=${WORD}`),
  "the list of REST": get(`/v1/kyc?customer_id=${WORD}`),
  "a search of REST": get(`/v1/kyc?document_number=${WORD}`),
  "a search of GraphQL": graphql(
    "query ($n: String) { kycs(filter: { documentNumber: $n }) { totalCount edges { cursor } } }",
    { n: WORD },
  ),
  "the trail of REST": get(`/v1/audit_events?customer_id=${WORD}&actor=${WORD}`),
  "the trail as CSV": get(`/v1/audit_events?limit=1&customer_id=${WORD}`, { accept: "text/csv" }),
  "the history of REST": get("/v1/kyc/:id/history?limit=1"),
  "the trail of GraphQL": graphql(
    "query ($n: String) { auditEvents(filter: { customerId: $n, actor: $n }) { edges { cursor } totalCount } }",
    { n: WORD },
  ),
  "the list of GraphQL": graphql("{ kycs { nodes { documentNumber } } }"),
  "a GET of GraphQL": query(`{ kyc(id: "${WORD}") { documentNumber } }`),
};

const EVERY_BAD = { GraphQL: BAD_GRAPHQL, REST: BAD_REST, headers: BAD_HEADERS, "bare HTTP": BAD_WIRE };

const isError = ({ status, body }: Reply) => status >= 400 || /"errors?":/.test(body);

/** Sends every case, and lists what leaks. */
async function findLeaks(
  cases: readonly Cases[],
  client: Client,
  url: string,
  id: string,
): Promise<string[]> {
  const leaks = await Promise.all(
    cases.flatMap(Object.entries<Send>).map(async ([what, send]) => {
      const reply = await send(client, url, id);
      const told = isError(reply) ? `${reply.headers} ${reply.body}` : reply.headers;
      return CANARY.test(told) ? [`${what}: ${told}`] : [];
    }),
  );
  return leaks.flat();
}

describe.each(ENGINES)("document numbers that a gateway on %s was sent", (engine) => {
  let env: Env;
  let gateway: Gateway;
  let client: Client;
  let id: string;
  let collector: Collector;

  beforeAll(async () => {
    env = await freshEnv(engine);
    collector = await startCollector();
    gateway = await startGateway({
      ...{ ...env, LOG_LEVEL: "trace", CORS_ORIGINS: "https://app.example.com" },
      ...{ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_MAX_QUEUE_SIZE: "100000" },
    });
    client = createClient(gateway.url, await fullToken(env));
    id = (await client.form("POST", "/v1/kyc", kycFields("c", "ok"))).json.id;
  });
  afterAll(tidyUp);

  test.each(Object.entries(EVERY_BAD))("wrongly over %s are in no error", async (_surface, cases) => {
    expect(await findLeaks([cases], client, gateway.url, id)).toEqual([]);
  });

  test("by a token that may do nothing are in no error", async () => {
    const args = ["token", "create", "--account=other", "--name=reader", "--scopes=audit:read"];
    const nobody = createClient(gateway.url, (await runCli(args, env)).stdout.trim());
    expect(await findLeaks([GOOD, BAD_REST, BAD_GRAPHQL], nobody, gateway.url, id)).toEqual([]);
  });

  test("without a token are in no error", async () => {
    expect(await findLeaks([GOOD], createClient(gateway.url, null), gateway.url, id)).toEqual([]);
  });

  test("rightly come back, but in no header and no cursor", async () => {
    expect(await findLeaks([GOOD], client, gateway.url, id)).toEqual([]);
    const { json } = await client.graphql(
      "{ kycs { nodes { documentNumber } edges { cursor } pageInfo { startCursor endCursor } } }",
    );
    const { nodes, edges, pageInfo } = json.data.kycs;
    expect(JSON.stringify(nodes)).toMatch(CANARY);
    for (const cursor of [
      ...edges.map((edge: { cursor: string }) => edge.cursor),
      ...Object.values(pageInfo),
    ]) {
      for (const encoding of ["utf8", "base64", "base64url", "hex"] as const) {
        expect(Buffer.from(cursor, encoding).toString("latin1")).not.toMatch(CANARY);
      }
    }
  });

  test("are in no event, however it is read", async () => {
    const asOf = `kycAsOf(id: "${id}", at: "2999-01-01T00:00:00Z") { isDeleted verificationStatus documentType version }`;
    const nodes =
      "nodes { id position actor subject kycIds changedFields documentTypeAfter versionAfter reason }";
    const texts = [
      (await client.graphql(`{ ${asOf} auditEvents(first: 100) { ${nodes} edges { cursor } } }`)).text,
      (await client.send("GET", "/v1/audit_events?limit=100")).text,
      (await client.send("GET", "/v1/audit_events?limit=100", { headers: { accept: "text/csv" } })).text,
      (await client.send("GET", `/v1/kyc/${id}/history?limit=100`)).text,
    ];
    for (const text of texts) {
      expect(text).toContain(id);
      expect(text).not.toMatch(CANARY);
    }
  });

  test("are in no row of any table", async () => {
    const sql = openSql(env);
    const text = await dump(sql);
    await sql.end({ timeout: 2 });
    expect(text).toContain(id);
    expect(text).not.toMatch(CANARY);
    expect(text).not.toContain(Buffer.from(WORD).toString("hex"));
  });

  test("are in no metric", async () => {
    const { status, text } = await client.send("GET", `/metrics?n=${WORD}`);
    expect(status).toBe(200);
    expect(text).toContain("http_request_duration_seconds");
    expect(text).not.toMatch(CANARY);
  });

  test("are nowhere in the output, to the end", async () => {
    expect(await gateway.stop()).toMatchObject({ code: 0 });
    const lines = gateway.output().split("\n");
    // The log was on, and had a line for each request.
    expect(lines.filter((line) => line.includes('"answered"')).length).toBeGreaterThan(100);
    expect(lines.filter((line) => CANARY.test(line))).toEqual([]);
  });

  test("are in no span, and neither are customers, addresses or the names of tokens", () => {
    const spans = collector.spans();
    expect(spans.filter(({ name }) => name === "POST /graphql").length).toBeGreaterThan(50);
    expect(spans.filter(({ name }) => name === "insert kycs").length).toBeGreaterThan(0);
    const bodies = collector.requests.map(({ body }) => body.toString()).join("\n");
    expect(bodies).not.toMatch(CANARY);
    // All that a span says comes from closed sets, or was made by the gateway: not even the path of a request.
    expect(bodies).not.toMatch(/127\.0\.0\.1|Bearer|app\.example\.com|jane@example\.com/);
  });
});

describe("document numbers in the embedded database", () => {
  afterAll(tidyUp);

  test("are in no file of its folder, whether the gateway was stopped or killed", async () => {
    const env = await freshEnv("the embedded database");
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      const gateway = await startGateway(env);
      const client = createClient(gateway.url, await fullToken(env));
      const { id } = (await client.form("POST", "/v1/kyc", kycFields("c", WORD))).json;
      await client.form("PUT", `/v1/kyc/${id}`, { document_number: `${WORD}-2` });
      await client.send("GET", `/v1/kyc?document_number=${WORD}`);
      await gateway.stop(signal);
      const files = await readFiles(String(env.DATA_DIR));
      // The search works: it finds values that are not secret, in the tables and in the write-ahead log.
      expect(
        files
          .filter(({ bytes }) => bytes.includes(id))
          .map(({ path }) => path)
          .join(),
      ).toContain("pg_wal");
      expect(files.filter(({ bytes }) => CANARY.test(bytes)).map(({ path }) => path)).toEqual([]);
    }
  });
});

async function readFiles(folder: string): Promise<{ path: string; bytes: string }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(paths.map(async (path) => ({ path, bytes: await readFile(path, "latin1") })));
}

describe("document numbers that a gateway was sent while its database was gone", () => {
  afterAll(tidyUp);

  test("are in no error, no metric and no line of the output", async () => {
    const { env, cut, restore } = await cuttableDatabase();
    const gateway = await startGateway({ ...env, LOG_LEVEL: "trace" });
    const client = createClient(gateway.url, await fullToken(env));
    const { id } = (await client.form("POST", "/v1/kyc", kycFields("c", "ok"))).json;
    await cut();
    // The look-up of the token is remembered for a moment: statements on records fail first, then those on tokens.
    for (let time = 0; time < 2; time++) {
      expect(await findLeaks([BAD_REST, GOOD], client, gateway.url, id)).toEqual([]);
      expect((await client.form("POST", "/v1/kyc", kycFields("c", WORD))).status).toBe(503);
      await wait(1000);
    }
    await restore();
    await expect
      .poll(async () => (await client.form("POST", "/v1/kyc", kycFields("c", WORD))).status, {
        timeout: 10_000,
      })
      .toBe(201);
    expect((await client.send("GET", "/metrics")).text).not.toMatch(CANARY);
    expect(await gateway.stop()).toMatchObject({ code: 0 });
    expect(gateway.output()).toContain('"unavailable"');
    expect(
      gateway
        .output()
        .split("\n")
        .filter((line) => CANARY.test(line)),
    ).toEqual([]);
  });
});
