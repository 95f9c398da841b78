import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Reading } from "../../../src/server/load/reading.ts";
import { createTestApp, type TestApp } from "../../support/app.ts";

const CHUNKS = 6000;
/** The smallest that are read in any number. */
const SMALL = `${`10\r\n${" ".repeat(16)}\r\n`.repeat(CHUNKS)}0\r\n\r\n`;
/** Node reads 64 KiB at once, which are 2,979 of these chunks. Beyond the limit of a turn it finishes what it has read. */
const MOST_OF_A_TURN = 18_000;

let gateway: TestApp;
let port: number;
let pieces = 0;
let bytes = 0;
beforeAll(async () => {
  gateway = await createTestApp({ LOG_LEVEL: "error", MAX_CONCURRENT_REQUESTS: "100000" });
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
  gateway.app.server.on("request", (request: IncomingMessage) => {
    request.on("data", (piece: Buffer) => {
      pieces += 1;
      bytes += piece.length;
    });
  });
});
afterAll(() => gateway.close());

async function open(): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** The most that one turn of the event loop added to the count, until the promise is settled. */
async function mostOfATurn(count: () => number, settled: Promise<unknown>): Promise<number> {
  let most = 0;
  let last = count();
  let isOver = false;
  const watch = () => {
    most = Math.max(most, count() - last);
    last = count();
    if (!isOver) setImmediate(watch);
  };
  setImmediate(watch);
  await settled;
  isOver = true;
  return most;
}

test.each([
  ["is read", "/graphql", 400],
  ["is refused before it has come", "/v1/kyc", 401],
  ["is for an address that is not there", "/nowhere", 404],
])(
  "a turn reads a part of many small chunks if the body %s",
  async (_what, path, status) => {
    const before = bytes;
    const sockets = await Promise.all(Array.from({ length: 12 }, open));
    const prober = await open();
    const answers = sockets.map((socket) => once(socket, "data"));
    const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked`;
    for (const socket of sockets) socket.write(`${head}\r\n\r\n${SMALL}`);
    prober.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    const all = () => bytes - before === sockets.length * CHUNKS * 16;
    const read = expect.poll(all, { timeout: 20_000 }).toBe(true);
    expect(await mostOfATurn(() => pieces, Promise.all([read, ...answers]))).toBeLessThan(MOST_OF_A_TURN);
    for (const answer of answers) expect(String(await answer)).toMatch(`HTTP/1.1 ${status} `);
    expect(String(await once(prober, "data"))).toMatch(/^HTTP\/1\.1 200 /);
    for (const socket of [...sockets, prober]) socket.destroy();
  },
  30_000,
);

test("a turn begins a part of the requests that come at once, whatever they ask for", async () => {
  const addresses = ["/health", "/metrics", "/nowhere", "/v1/kyc", "/openapi.json"];
  const sockets = await Promise.all(Array.from({ length: 300 }, open));
  let answered = 0;
  gateway.app.server.prependListener("request", (_request, response) => {
    response.once("finish", () => {
      answered += 1;
    });
  });
  const answers = sockets.map((socket) => text(socket));
  for (const [index, socket] of sockets.entries()) {
    const address = addresses[index % addresses.length];
    socket.write(`GET ${address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  }
  const most = await mostOfATurn(() => answered, Promise.all(answers));
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(sockets.length);
  for (const answer of answers) expect(await answer).toMatch(/^HTTP\/1\.1 (200|401|404) /);
}, 30_000);

test("a socket that was paused for another reason stays paused when the turn is over", async () => {
  const [sender, slowReader] = [new Socket(), new Socket()];
  slowReader.pause();
  const reading = new Reading([sender, slowReader]);
  for (let n = 0; n < 10_000; n++) reading.onPiece(sender);
  await Promise.resolve();
  expect([sender.isPaused(), slowReader.isPaused()]).toEqual([true, true]);
  await new Promise((resolve) => setImmediate(resolve));
  expect([sender.isPaused(), slowReader.isPaused()]).toEqual([false, true]);
});
