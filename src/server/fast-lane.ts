import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import type { Surface } from "../audit/event.ts";
import { recordReads } from "../audit/record-reads.ts";
import type { Config } from "../config.ts";
import { type OperationContext, withholdAnswer } from "../context.ts";
import type { FastPath } from "../graphql/fast-path.ts";
import type { Observed } from "../graphql/observed.ts";
import { findPlainRead } from "../rest/kyc.ts";
import { type Admission, notInTime, type UnderWay } from "./admission.ts";
import type { RecordAnswered } from "./answered.ts";
import { commonHeaders, OF_NO_ORIGIN } from "./headers.ts";
import { cutSlowReader, findHeaderFault, newRequestId } from "./refusals.ts";

/** What Fastify is told of a request that comes to it from the fast lane. */
interface HandedOver {
  id: string;
  /** When the request came. Milliseconds, of `performance.now()`. */
  came: number;
  /** Where it has been read already. */
  body: Buffer | undefined;
  /** Where the request is known to be one of a good token or of none. */
  context: OperationContext | undefined;
  /** What is to be answered; where it is undefined nothing has been done yet. */
  failure: unknown;
}

declare module "node:http" {
  interface IncomingMessage {
    /** Set where the fast lane did not answer the request. */
    handedOver?: HandedOver;
  }
}

interface LaneParts {
  config: Pick<Config, "bodyLimit" | "corsOrigins" | "sendTimeout">;
  admission: Admission;
  graphql: FastPath;
  /** Fails where the token is not good. */
  enter(headers: IncomingHttpHeaders, surface: Surface, requestId: string): Promise<OperationContext>;
  isDeaf(): boolean;
  record: RecordAnswered;
}

/** What is answered to a plain request. */
interface LaneAnswer {
  status: number;
  headers: Record<string, string>;
  mediaType: string;
  body: string;
  observed: Observed | null;
}

/** A request that can be answered without Fastify, unless it turns out to be less plain than it looks. */
interface PlainRequest {
  surface: Surface;
  route: string;
  /** Null where the rest is Fastify's after all: nothing has been done then. */
  answer(context: OperationContext, body: Buffer | undefined): Promise<LaneAnswer | null>;
}

/**
 * Lets the requests that come most pass by Fastify, whose routing, hooks and objects take as long as a record takes to
 * be read: GraphQL over POST, and plain reads over REST. What they go through is the same, and so are their answers,
 * to the byte. Everything else goes to Fastify as it came, and so does each failure, to be rendered and logged there.
 */
export function openFastLane(app: FastifyInstance, parts: LaneParts): void {
  const [viaFastify] = app.server.listeners("request") as [(...exchange: Exchange) => void];
  app.server.removeAllListeners("request");
  app.server.on("request", (raw, response) => {
    const plain = parts.isDeaf() || app.isUnderPressure() ? null : findPlain(raw, parts);
    if (plain) new Passage(parts, plain, viaFastify, raw, response).begin();
    else viaFastify(raw, response);
  });
}

type Exchange = [raw: IncomingMessage, response: ServerResponse];

function findPlain(raw: IncomingMessage, parts: LaneParts): PlainRequest | null {
  const { method, url = "", headers } = raw;
  // What CORS answers to a page of another origin is its plugin's to say.
  if (headers.origin !== undefined && parts.config.corsOrigins.length > 0) return null;
  if (headers["transfer-encoding"] !== undefined || headers["content-encoding"] !== undefined) return null;
  if (findHeaderFault(raw)) return null;
  if (method === "POST" && url === "/graphql") {
    const length = Number(headers["content-length"]);
    return length > 0 && length <= parts.config.bodyLimit ? plainGraphql(headers, parts.graphql) : null;
  }
  if (method !== "GET" || !url.startsWith("/v1/kyc") || headers["content-length"] !== undefined) return null;
  const read = findPlainRead(url, headers);
  return read ? plainRest(read, url) : null;
}

function plainGraphql(headers: IncomingHttpHeaders, fastPath: FastPath): PlainRequest {
  return {
    surface: "graphql",
    route: "/graphql",
    answer: async (operationContext, body) => {
      const answer = await fastPath({ headers, body, operationContext });
      return answer && { ...answer, observed: answer };
    },
  };
}

function plainRest(read: NonNullable<ReturnType<typeof findPlainRead>>, url: string): PlainRequest {
  return {
    surface: "rest",
    route: url.startsWith("/v1/kyc/") ? "/v1/kyc/:id" : "/v1/kyc",
    answer: async (context) => {
      if (!context.viewer) return null;
      const { status, headers, body } = await read(context);
      return { status, headers, body: JSON.stringify(body), mediaType: "application/json", observed: null };
    },
  };
}

/** One request on the fast lane. */
class Passage implements UnderWay {
  place = -1;
  begun = 0;
  readonly raw: ServerResponse;
  readonly #parts: LaneParts;
  readonly #plain: PlainRequest;
  readonly #viaFastify: (...exchange: Exchange) => void;
  readonly #request: IncomingMessage;
  readonly #id = newRequestId();
  readonly #came = performance.now();
  #body: Buffer | undefined;
  #context: OperationContext | undefined;
  /** Whether it has left the lane: nothing is answered here any more. */
  #left = false;

  constructor(
    parts: LaneParts,
    plain: PlainRequest,
    viaFastify: (...exchange: Exchange) => void,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    this.#parts = parts;
    this.#plain = plain;
    this.#viaFastify = viaFastify;
    this.#request = request;
    this.raw = response;
  }

  begin(): void {
    if (this.#plain.surface === "rest") {
      void this.#run();
      return;
    }
    const chunks: Buffer[] = [];
    this.#request.on("data", (chunk: Buffer) => chunks.push(chunk));
    this.#request.on("end", () => {
      this.#body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
      void this.#run();
    });
  }

  // An upload can take its time: a place is taken, and the token looked up, when the work begins.
  async #run(): Promise<void> {
    const { admission, enter } = this.#parts;
    if (!admission.enter(this)) return this.#handOver(undefined);
    this.raw.once("close", () => admission.leave(this));
    try {
      this.#context = await enter(this.#request.headers, this.#plain.surface, this.#id);
      const answer = await this.#plain.answer(this.#context, this.#body);
      if (!answer) return this.#handOver(undefined);
      if (this.#context.numbersShown?.size) await recordReads(this.#context);
      if (!this.#left) this.#send(answer, this.#context);
    } catch (failure) {
      this.#handOver(failure);
    }
  }

  refuseLate(): void {
    this.#handOver(notInTime());
  }

  #handOver(failure: unknown): void {
    if (this.#left) return;
    this.#left = true;
    this.#parts.admission.leave(this);
    if (this.#context) withholdAnswer(this.#context);
    this.#request.handedOver = {
      ...{ id: this.#id, came: this.#came, body: this.#body, failure },
      context: failure === undefined ? undefined : this.#context,
    };
    this.#viaFastify(this.#request, this.raw);
  }

  #send({ status, headers, mediaType, body, observed }: LaneAnswer, context: OperationContext): void {
    const { config, isDeaf, record } = this.#parts;
    const head = commonHeaders(this.#request.headers, this.#id);
    if (config.corsOrigins.length > 0) head.push(...OF_NO_ORIGIN);
    head.push("cache-control", "no-store");
    for (const name in headers) head.push(name, headers[name] as string);
    head.push("content-type", `${mediaType}; charset=utf-8`);
    if (context.idempotency?.replayed) head.push("idempotent-replayed", "true");
    if (isDeaf()) head.push("connection", "close");
    head.push("content-length", String(Buffer.byteLength(body)));
    this.raw.once("finish", () =>
      record({
        requestId: this.#id,
        method: this.#request.method as string,
        route: this.#plain.route,
        status,
        elapsed: performance.now() - this.#came,
        viewer: context.viewer,
        observed,
      }),
    );
    this.raw.writeHead(status, head);
    this.raw.end(body);
    // What the client has not taken at once it may never take.
    if (this.raw.socket?.writableLength) cutSlowReader(this.raw, config.sendTimeout);
  }
}
