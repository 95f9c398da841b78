import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";

/** A request that a receiver has got. */
export interface ReceivedEvent {
  headers: Record<string, string>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they need.
  body: any;
  at: number;
}

/** A receiver of webhooks on the loopback. */
export interface Receiver {
  url: string;
  port: number;
  received: ReceivedEvent[];
  /** Open connections. */
  connections: Set<Socket>;
  close(): Promise<void>;
}

type Answer = (event: ReceivedEvent, response: ServerResponse, request: IncomingMessage) => void;

/** Starts a receiver that answers like this (default: 204). */
export async function startReceiver(
  answer: Answer = (_event, response) => response.writeHead(204).end(),
  tls?: { cert: Buffer; key: Buffer },
): Promise<Receiver> {
  const received: ReceivedEvent[] = [];
  const connections = new Set<Socket>();
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    let text = "";
    request.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    request.on("end", () => {
      const headers = request.headers as Record<string, string>;
      const event = { headers, text, body: JSON.parse(text), at: performance.now() };
      received.push(event);
      answer(event, response, request);
    });
  };
  const server: Server = tls ? createTlsServer(tls, onRequest) : createServer(onRequest);
  server.on("connection", (socket) => {
    connections.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => connections.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    ...{ received, connections, port, url: `${tls ? "https" : "http"}://127.0.0.1:${port}/hook` },
    close: async () => {
      for (const socket of connections) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
