import { readFile } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, CREATE_KYC, createClient, kycFields } from "./support/client.ts";
import { type CollectedSpan, type Collector, startCollector } from "./support/collector.ts";
import {
  CLI,
  type Env,
  freshEnv,
  fullToken,
  type Gateway,
  listening,
  start,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";

const SERVER = 2;
const CLIENT = 3;
const FAST = { OTEL_BSP_SCHEDULE_DELAY: "50" };
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

afterAll(tidyUp);

/** The line of the log about a request. */
const lineOf = (gateway: Gateway, requestId: string | null) =>
  gateway
    .stdout()
    .split("\n")
    .filter((line) => line.includes(`"${requestId}"`) && line.includes('"answered"'))
    .map((line) => JSON.parse(line))[0];

describe("a gateway with a collector", () => {
  let collector: Collector;
  let gateway: Gateway;
  let client: Client;
  let env: Env;

  beforeAll(async () => {
    env = await freshEnv("a real database");
    collector = await startCollector();
    gateway = await startGateway({
      ...{ ...env, ...FAST, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, RATE_LIMIT: "100000" },
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
      OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=kyc",
    });
    client = createClient(gateway.url, await fullToken(env));
  });

  /** Sends a request, and returns its span, the spans of its statements and its line of the log. */
  async function trace(send: Promise<{ headers: Headers }>) {
    const requestId = (await send).headers.get("request-id");
    const span = await collector.seen(({ attributes }) => attributes["kyc.request_id"] === requestId);
    const statements = collector.spans().filter(({ parentSpanId }) => parentSpanId === span.spanId);
    await expect.poll(() => lineOf(gateway, requestId), { timeout: 5000 }).toBeDefined();
    return { span, statements, line: lineOf(gateway, requestId) };
  }

  test("exports a span for each request and one for each of its statements", async () => {
    const { span, statements, line } = await trace(
      client.graphql(CREATE_KYC, { customerId: "customer-of-a-trace", documentNumber: "12345" }),
    );
    expect(span).toMatchObject({ name: "POST /graphql", kind: SERVER, traceId: line.traceId });
    expect(span.attributes).toEqual({
      ...{ "http.request.method": "POST", "http.route": "/graphql", "http.response.status_code": 200 },
      ...{ "url.scheme": "http", "graphql.operation.name": "createKyc", "kyc.request_id": line.requestId },
    });
    expect(span.parentSpanId ?? "").toBe("");
    expect(statements.map(({ name }) => name)).toContain("insert kycs");
    for (const statement of statements) {
      expect(statement).toMatchObject({ kind: CLIENT, traceId: span.traceId });
      expect(statement.attributes["db.system.name"]).toBe("postgresql");
      expect(statement.start).toBeGreaterThanOrEqual(span.start);
      expect(statement.end).toBeGreaterThanOrEqual(statement.start);
      // The clocks of a span are read one after the other.
      expect(statement.end).toBeLessThanOrEqual(span.end + 1_000_000n);
    }
    const insert = statements.find(({ name }) => name === "insert kycs") as CollectedSpan;
    expect(insert.attributes).toMatchObject({
      ...{ "db.operation.name": "insert", "db.collection.name": "kycs", "db.query.summary": "insert kycs" },
      "db.query.text": expect.stringMatching(/^(with|insert)[\s\S]*\$\d/),
    });
  });

  test("says in spans and in the log which error a request has", async () => {
    const missing = await trace(client.send("GET", "/v1/kyc/0000000000000000"));
    expect(missing.span.name).toBe("GET /v1/kyc/:id");
    expect(missing.span.attributes).toMatchObject({
      "http.response.status_code": 404,
      "error.type": "NOT_FOUND",
    });
    expect(missing.line).toMatchObject({ outcome: "NOT_FOUND", level: "info" });
    const invalid = await trace(client.graphql("{ kycs(first: 1000) { totalCount } }"));
    expect(invalid.span.attributes).toMatchObject({ "error.type": "BAD_USER_INPUT" });
    const nowhere = await trace(client.send("GET", "/customers/jane@example.com"));
    expect(nowhere.span).toMatchObject({ name: "GET" });
    expect(nowhere.span.attributes).not.toHaveProperty("http.route");
  });

  test("continues the trace that a request names, and ignores what is none", async () => {
    const send = (headers: Record<string, string>) =>
      trace(client.send("GET", "/v1/kyc?limit=1", { headers }));
    const continued = await send({ traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: "vendor=a,other=b" });
    expect(continued.span).toMatchObject({
      ...{ traceId: TRACE, parentSpanId: PARENT, traceState: "vendor=a,other=b" },
    });
    expect(continued.line.traceId).toBe(TRACE);
    expect(continued.statements.length).toBeGreaterThan(0);
    for (const traceparent of [
      ...[
        "",
        "00",
        `00-${TRACE}-${PARENT}`,
        `ff-${TRACE}-${PARENT}-01`,
        `00-${TRACE.toUpperCase()}-${PARENT}-01`,
      ],
      ...[
        `00-${"0".repeat(32)}-${PARENT}-01`,
        `00-${TRACE}-${"0".repeat(16)}-01`,
        `00-${TRACE}-${PARENT}-01-x`,
      ],
      ...[`00-${TRACE}-${PARENT}-01, 00-${TRACE}-${PARENT}-01`, "-".repeat(8000)],
    ]) {
      const { span, line } = await send({ traceparent, tracestate: `a=${"b".repeat(5000)}` });
      expect(span.traceId).not.toBe(TRACE);
      expect(span.parentSpanId ?? "").toBe("");
      expect(span.traceState ?? "").toBe("");
      expect(line.traceId).toBe(span.traceId);
    }
  });

  test("exports nothing of a trace that is not sampled, and still logs its id", async () => {
    const other = TRACE.replaceAll("0", "1");
    const answer = await client.send("GET", "/v1/kyc?limit=1", {
      headers: { traceparent: `00-${other}-${PARENT}-00` },
    });
    await expect
      .poll(() => lineOf(gateway, answer.headers.get("request-id"))?.traceId, { timeout: 5000 })
      .toBe(other);
    await wait(300);
    expect(collector.spans().filter(({ traceId }) => traceId === other)).toEqual([]);
  });

  test("links the span of a statement that served several requests to all of them", async () => {
    const { json } = await client.form("POST", "/v1/kyc", kycFields("c", "777"));
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => client.send("GET", `/v1/kyc/${json.id}`)),
    );
    const ids = new Set(answers.map(({ headers }) => headers.get("request-id")));
    const isOne = ({ attributes }: CollectedSpan) => ids.has(String(attributes["kyc.request_id"]));
    await expect.poll(() => collector.spans().filter(isOne).length, { timeout: 5000 }).toBe(40);
    const requests = collector.spans().filter(isOne);
    const served = requests.map(({ spanId, traceId }) =>
      collector
        .spans()
        .filter(({ name }) => name === "select kycs")
        .some(
          (statement) =>
            (statement.traceId === traceId && statement.parentSpanId === spanId) ||
            statement.links.some((link) => link.spanId === spanId && link.traceId === traceId),
        ),
    );
    expect(served).not.toContain(false);
    expect(collector.spans().some(({ name, links }) => name === "select kycs" && links.length > 0)).toBe(
      true,
    );
  });

  test("describes itself, and sends the headers that the collector wants", async () => {
    expect(collector.requests[0]).toMatchObject({ path: "/v1/traces", headers: { "x-tenant": "kyc" } });
    expect(collector.resource()).toMatchObject({
      ...{ "service.name": "kyc-gateway", "deployment.environment.name": "test" },
      "service.version": expect.stringMatching(/^\d+\.\d+\.\d+/),
      "service.instance.id": expect.any(String),
    });
  });

  test("traces no statement that served no request, such as those that give events positions", async () => {
    const { span } = await trace(client.form("POST", "/v1/kyc", kycFields("c", "888")));
    await wait(3000);
    const spans = collector.spans();
    expect(spans.some(({ spanId }) => spanId === span.spanId)).toBe(true);
    const requests = new Map(spans.filter(({ kind }) => kind === SERVER).map((one) => [one.spanId, one]));
    const alone = spans
      .filter(({ kind }) => kind === CLIENT)
      .filter(({ parentSpanId = "", end }) => {
        const request = requests.get(parentSpanId);
        // The clocks of a span are read one after the other.
        return request === undefined || end > request.end + 1_000_000n;
      });
    expect(alone.map(({ attributes }) => attributes["db.query.text"])).toEqual([]);
  });

  test("exports what is left when it stops", async () => {
    const { headers } = await client.send("GET", "/v1/kyc?limit=2");
    expect(await gateway.stop()).toMatchObject({ code: 0 });
    const id = headers.get("request-id");
    expect(collector.spans().some(({ attributes }) => attributes["kyc.request_id"] === id)).toBe(true);
  });
});

describe("a collector that", () => {
  const FAULTS: Record<string, Parameters<typeof startCollector>[0]> = {
    "never answers": () => {},
    "answers rubbish": (_request, response) => response.writeHead(200).end(Buffer.alloc(5_000_000, 0xff)),
    "answers with an error": (_request, response) => response.writeHead(500).end("no"),
    "wants to be asked again much later": (_request, response) =>
      response.writeHead(503, { "retry-after": "86400" }).end(),
    "cuts connections": (request) => request.socket.destroy(),
    "answers a byte at a time": (_request, response) => {
      const timer = setInterval(() => response.write("x"), 100);
      response.on("close", () => clearInterval(timer));
    },
  };

  test.each([...Object.entries(FAULTS), ["is not there", undefined] as const])(
    "%s harms no request, and the gateway stops in time",
    async (what, answer) => {
      const env = await freshEnv("a real database");
      const collector = await startCollector(answer);
      if (what === "is not there") await collector.close();
      const gateway = await startGateway({
        ...{ ...env, ...FAST, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_MAX_QUEUE_SIZE: "600" },
      });
      const client = createClient(gateway.url, await fullToken(env));
      for (let round = 0; round < 30; round++) {
        const answers = await Promise.all(
          Array.from({ length: 40 }, () => client.graphql("{ kycs { totalCount } }")),
        );
        expect(answers.filter(({ json }) => json.data?.kycs.totalCount !== 0)).toEqual([]);
      }
      const { text } = await client.send("GET", "/metrics");
      const [, ended = "0"] = /trace_spans_total\{state="ended"\} (\d+)/.exec(text) ?? [];
      expect(Number(ended)).toBeGreaterThanOrEqual(1200);
      const { code, ms } = await gateway.stop();
      expect(code).toBe(0);
      expect(ms).toBeLessThan(8000);
      expect(gateway.stderr()).toBe("");
    },
  );
});

describe("a gateway", () => {
  const RECORD = fileURLToPath(new URL("support/record-loads.mjs", import.meta.url));

  /** The files that a gateway loads in its life. */
  async function loadedBy(settings: Env): Promise<string[]> {
    const env = { ...(await freshEnv("a real database")), ...settings, PORT: "0" };
    const gateway = await listening(start(process.execPath, ["--import", RECORD, CLI, "serve"], { env }));
    const client = createClient(gateway.url, await fullToken(env));
    await client.graphql("{ kycs { totalCount } }");
    await client.send("GET", "/v1/kyc", { headers: { traceparent: `00-${TRACE}-${PARENT}-01` } });
    await gateway.stop();
    const files = [...gateway.stderr().matchAll(/^loaded (?:file:\/\/)?(\/.*)$/gm)].map(
      ([, file = ""]) => file,
    );
    expect(files.some((file) => file.endsWith("dist/cli.js"))).toBe(true);
    return files;
  }

  /** The files with code of OpenTelemetry. */
  async function tracingIn(files: string[]): Promise<string[]> {
    const texts = await Promise.all(files.map(async (file) => [file, await readFile(file, "utf8")] as const));
    return texts
      .filter(
        ([file, text]) => file.includes("@opentelemetry") || text.includes("node_modules/@opentelemetry"),
      )
      .map(([file]) => file);
  }

  test.each([
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: "" },
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9", OTEL_SDK_DISABLED: "true" },
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9", OTEL_TRACES_EXPORTER: "none" },
  ])("with %o loads no code of OpenTelemetry's", async (settings) => {
    expect(await tracingIn(await loadedBy(settings as Env))).toEqual([]);
  });

  test("with a collector loads it, from one file", async () => {
    const { url } = await startCollector();
    const files = await tracingIn(await loadedBy({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url}/v1/traces` }));
    expect(files).toEqual([expect.stringMatching(/\/dist\/opentelemetry-[^/]+\.js$/)]);
  });

  test("refuses an endpoint that is none, and does not show it", async () => {
    const run = start(process.execPath, [CLI, "serve"], {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: "user:secret" },
    });
    expect(await run.exited).toMatchObject({ code: 2 });
    expect(run.stderr()).toContain("OTEL_EXPORTER_OTLP_ENDPOINT must be a URL");
    expect(run.output()).not.toContain("secret");
  });

  test("samples as the environment says, and speaks protobuf if it should", async () => {
    const collector = await startCollector();
    const env = await freshEnv("a real database");
    const gateway = await startGateway({
      ...{ ...env, ...FAST, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_SERVICE_NAME: "kyc-of-a-test" },
      ...{ OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf", OTEL_TRACES_SAMPLER: "parentbased_always_off" },
    });
    const client = createClient(gateway.url, await fullToken(env));
    for (let n = 0; n < 5; n++) await client.send("GET", "/v1/kyc");
    await client.send("GET", "/v1/kyc?limit=3", { headers: { traceparent: `00-${TRACE}-${PARENT}-01` } });
    await gateway.stop();
    const bodies = collector.requests.map(({ body }) => body.toString("latin1")).join("");
    expect(collector.requests[0]?.headers["content-type"]).toBe("application/x-protobuf");
    expect(bodies.match(/GET \/v1\/kyc/g)).toHaveLength(1);
    expect(bodies).toContain("kyc-of-a-test");
  });
});
