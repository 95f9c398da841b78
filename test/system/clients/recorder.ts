import { once } from "node:events";
import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { later } from "../support/gateway.ts";

/** A request as it arrived, with header names in lower case. */
export interface RecordedRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

/** Starts a server on the loopback that passes everything on to a gateway, and keeps each request. `tidyUp` ends it. */
export async function startRecorder(gateway: string): Promise<{ url: string; requests: RecordedRequest[] }> {
  const requests: RecordedRequest[] = [];
  const server = createServer(async (request, response) => {
    const { method = "", url: path = "" } = request;
    const body = await buffer(request);
    const headers = request.headers as Record<string, string>;
    requests.push({ method, path, headers, body: String(body) });
    const forwarded = send(`${gateway}${path}`, { method, headers });
    forwarded.once("error", () => response.destroy());
    forwarded.once("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    forwarded.end(body);
  });
  return { url: await listen(server), requests };
}

/** Starts a server on the loopback that has one page, which runs this module. `tidyUp` ends it. */
export async function startPage(script: string): Promise<string> {
  const page =
    '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/script.js"></script>';
  const server = createServer(({ url }, response) => {
    const isScript = url === "/script.js";
    response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
    response.end(isScript ? script : page);
  });
  return listen(server);
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  later(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
