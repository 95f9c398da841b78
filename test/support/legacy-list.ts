import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface LegacyRecord {
  id: string;
  [name: string]: unknown;
}

/** Answers a request in another way than with its page, or not at all; true if it has. */
export type Fault = (response: ServerResponse, page: string, request: IncomingMessage) => boolean;

/** A server on the loopback with a list of records in the shape of the seed's API. */
export interface LegacyServer {
  url: string;
  /** The records, newest first. Tests change it as they like. */
  records: LegacyRecord[];
  /** What was asked for, in order. */
  asked: { limit: number; after: string | null; authorization: string | undefined }[];
  close(): Promise<void>;
}

export interface LegacyBehaviour {
  /** Each request gets the next one; after the last, all get their pages. */
  faults?: Fault[];
  onRequest?: (server: LegacyServer, request: number) => void;
  /** How it takes the id of a record that it does not have. Default: as the start of the list. */
  unknownCursor?: "start" | "400";
  /** Whether it knows `starting_after`. */
  hasCursors?: boolean;
  largestLimit?: number;
  /** What it says instead of the truth. */
  hasMore?: boolean;
}

const json = { "content-type": "application/json" };
export const answer =
  (status: number, body = "", headers: Record<string, string> = json): Fault =>
  (response) => {
    response.writeHead(status, headers).end(body);
    return true;
  };

/** What servers and networks do instead of sending a page. */
export const FAULTS: Record<string, Fault> = {
  "429 with seconds": answer(429, "{}", { ...json, "retry-after": "0" }),
  "429 with a date": (response) => {
    const date = new Date(Date.now() + 500).toUTCString();
    return answer(429, "{}", { "retry-after": date })(response, "", response.req);
  },
  "500": answer(500, "{}"),
  "502 in HTML": answer(502, "<h1>Bad Gateway</h1>", { "content-type": "text/html" }),
  "503": answer(503),
  "a page of HTML with 200": answer(200, "<html>", { "content-type": "text/html" }),
  "invalid JSON": answer(200, '{"has_more":'),
  "another shape": answer(200, "[]"),
  "a reset": (response) => {
    response.socket?.resetAndDestroy();
    return true;
  },
  "a body that is cut": (response, page) => {
    response.writeHead(200, { ...json, "content-length": String(page.length) });
    response.write(page.slice(0, page.length / 2), () => response.socket?.destroy());
    return true;
  },
  "a chunked body that is cut": (response, page) => {
    response.writeHead(200, json).write(page.slice(0, page.length / 2), () => response.socket?.destroy());
    return true;
  },
  "text that is not UTF-8": (response) => {
    response.writeHead(200, json).end(Buffer.from([0x7b, 0xff, 0x7d]));
    return true;
  },
  "no answer": () => true,
  "single bytes": (response, page) => {
    response.writeHead(200, json);
    let at = 0;
    const timer = setInterval(() => response.write(page[at++] ?? " "), 20);
    response.on("close", () => clearInterval(timer));
    return true;
  },
};

export async function startLegacyServer(
  records: LegacyRecord[],
  behaviour: LegacyBehaviour = {},
): Promise<LegacyServer> {
  const {
    faults = [],
    onRequest,
    unknownCursor = "start",
    hasCursors = true,
    largestLimit = 100,
  } = behaviour;
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? "", "http://localhost");
    const limit = Math.min(Number(searchParams.get("limit") ?? 10), largestLimit);
    const after = hasCursors ? searchParams.get("starting_after") : null;
    legacy.asked.push({ limit, after, authorization: request.headers.authorization });
    onRequest?.(legacy, legacy.asked.length);
    const at = legacy.records.findIndex((one) => after !== null && one?.id === after);
    if (after !== null && at < 0 && unknownCursor === "400") {
      answer(400, "{}")(response, "", request);
      return;
    }
    const data = legacy.records.slice(at + 1, at + 1 + limit);
    const hasMore = behaviour.hasMore ?? at + 1 + limit < legacy.records.length;
    const page = JSON.stringify({ has_more: hasMore, data });
    const fault = faults.shift();
    if (!fault?.(response, page, request)) response.writeHead(200, json).end(page);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const legacy: LegacyServer = {
    ...{ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/kyc`, records, asked: [] },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return legacy;
}
