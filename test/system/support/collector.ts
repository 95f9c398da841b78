import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { later } from "./gateway.ts";

/** A span as OTLP's JSON has it, with its attributes as an object. */
export interface CollectedSpan {
  name: string;
  kind: number;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  traceState?: string;
  attributes: Record<string, unknown>;
  status: { code: number; message?: string };
  links: { traceId: string; spanId: string }[];
  /** Epoch nanoseconds. */
  start: bigint;
  end: bigint;
}

/** A collector of OTLP over HTTP on the loopback. */
export interface Collector {
  url: string;
  /** The requests that it received. */
  requests: { path: string; headers: IncomingMessage["headers"]; body: Buffer }[];
  /** Of the requests in JSON. */
  spans(): CollectedSpan[];
  /** The attributes of the sender, of the first request. */
  resource(): Record<string, unknown>;
  /** Waits until there is such a span. Fails after ten seconds without one. */
  seen(what: (span: CollectedSpan) => boolean): Promise<CollectedSpan>;
  close(): Promise<void>;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
const accept: Answer = (_request, response) =>
  response.writeHead(200, { "content-type": "application/json" }).end("{}");

/** Starts one that answers like this; `tidyUp` ends it. */
export async function startCollector(answer: Answer = accept): Promise<Collector> {
  const requests: Collector["requests"] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    requests.push({ path: request.url ?? "", headers: request.headers, body: Buffer.concat(chunks) });
    answer(request, response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const close = async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  later(close);
  const resources = () =>
    requests
      .filter(({ headers }) => headers["content-type"] === "application/json")
      .flatMap(({ body }) => JSON.parse(body.toString()).resourceSpans);
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    resource: () => toObject(resources()[0].resource.attributes),
    spans: () => resources().flatMap(({ scopeSpans }) => scopeSpans.flatMap(toSpans)),
    seen: async (what) => {
      for (const end = performance.now() + 10_000; performance.now() < end; await wait(20)) {
        const found = collector.spans().find(what);
        if (found) return found;
      }
      throw new Error(`no such span among ${collector.spans().map(({ name }) => name)}`);
    },
    close,
  };
  return collector;
}

// biome-ignore lint/suspicious/noExplicitAny: OTLP's JSON
function toSpans({ spans }: any): CollectedSpan[] {
  // biome-ignore lint/suspicious/noExplicitAny: OTLP's JSON
  return spans.map((span: any) => ({
    ...span,
    attributes: toObject(span.attributes),
    links: span.links ?? [],
    start: BigInt(span.startTimeUnixNano),
    end: BigInt(span.endTimeUnixNano),
  }));
}

function toObject(attributes: { key: string; value: Record<string, unknown> }[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
