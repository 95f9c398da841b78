// Streams of changes, as their subscribers open them.
import { connect } from "node:net";

/**
 * Asks for a subscription in a connection of its own. What it sends comes to the socket's `data` events, with the head of
 * the answer and the sizes of chunks.
 *
 * @param {string} url the gateway's
 * @param {string} token
 * @param {string} subscription
 * @returns {import("node:net").Socket}
 */
export function openStream(url, token, subscription) {
  const { hostname, port } = new URL(url);
  const body = JSON.stringify({ query: subscription });
  const head = [
    ...["POST /graphql HTTP/1.1", "Host: bench", `Authorization: Bearer ${token}`],
    ...["Content-Type: application/json", "Accept: text/event-stream", `Content-Length: ${body.length}`],
  ].join("\r\n");
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  socket.write(`${head}\r\n\r\n${body}`);
  return socket;
}
