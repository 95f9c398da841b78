import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../../support/app.ts";
import { cpuTime } from "../../support/cpu-time.ts";

const RECEIVE = 700;
const SEND = 800;
/** Until connections that are too slow are found, on a busy machine. Milliseconds. */
const FOUND = 5000;
let gateway: TestApp;
let port: number;
beforeAll(async () => {
  gateway = await createTestApp({
    RECEIVE_TIMEOUT: `${RECEIVE} ms`,
    KEEP_ALIVE_TIMEOUT: "600 ms",
    MAX_CONNECTIONS: "20",
    MAX_CONCURRENT_REQUESTS: "5",
  });
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
});
afterAll(() => gateway.close());

async function open(
  first = "",
): Promise<{ socket: Socket; received: () => string; closed: Promise<unknown> }> {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  socket.setEncoding("utf8").on("data", (chunk) => {
    received += chunk;
  });
  socket.on("error", () => {});
  const closed = new Promise((resolve) => {
    socket.once("close", resolve);
  });
  await once(socket, "connect");
  socket.write(first);
  return { socket, received: () => received, closed };
}

const POST =
  "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n";

describe.concurrent("a client", () => {
  test.each([
    ["that sends its headers a byte at a time", "GET /health HTTP/1.1\r\nX-A: ", "a"],
    ["that sends its body a byte at a time", POST, " "],
    ["that sends half of its headers and no more", "GET /health HTTP/1.1\r\nHost", ""],
    ["that sends half of its body and no more", `${POST}{"query"`, ""],
  ])("%s is told so with 408, and cut", async (_what, first, drip) => {
    const begun = performance.now();
    const { socket, received, closed } = await open(first);
    const dripping = setInterval(() => drip && socket.write(drip), 100);
    await closed;
    clearInterval(dripping);
    expect(performance.now() - begun).toBeLessThan(RECEIVE + FOUND);
    expect(received()).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(received()).toMatch(/"code":"request_timeout"/);
  });

  test("that says nothing at all is cut", async () => {
    const begun = performance.now();
    await (await open()).closed;
    expect(performance.now() - begun).toBeLessThan(RECEIVE + FOUND);
  });

  test("that idles between two requests is cut", async () => {
    const { received, closed } = await open("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    await closed;
    expect(received()).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("a client that takes no answer", () => {
  const REQUESTS = 300;
  const ask = (connection: string) =>
    `GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\n\r\n`;
  /** More than the network holds. */
  const FLOOD = ask("keep-alive").repeat(REQUESTS - 1) + ask("close");
  let patient: TestApp;
  beforeAll(async () => {
    patient = await createTestApp({ SEND_TIMEOUT: `${SEND} ms`, KEEP_ALIVE_TIMEOUT: "10 min" });
    await patient.app.listen({ port: 0, host: "127.0.0.1" });
  });
  afterAll(() => patient.close());

  const connections = () =>
    new Promise<number>((resolve) => patient.app.server.getConnections((_error, count) => resolve(count)));

  /** A connection that stays open on its side when the server has ended the other. */
  async function send(text: string): Promise<Socket> {
    const { port } = patient.app.server.address() as AddressInfo;
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => {});
    await once(socket, "connect");
    socket.write(text);
    return socket.pause();
  }

  test("is cut", async () => {
    const socket = await send(FLOOD);
    await wait(SEND / 2);
    expect(await connections()).toBe(1);
    await expect.poll(connections, { timeout: FOUND }).toBe(0);
    socket.destroy();
  });

  test("for less than it may gets all of it", async () => {
    const socket = await send(FLOOD);
    const chunks: Buffer[] = [];
    const begun = performance.now();
    while (!socket.readableEnded) {
      const chunk: Buffer | null = socket.read();
      if (chunk) chunks.push(chunk);
      await wait(SEND / 50);
    }
    expect(Buffer.concat(chunks).toString().split("HTTP/1.1 200 OK")).toHaveLength(REQUESTS + 1);
    expect(performance.now() - begun).toBeGreaterThan(2 * SEND);
    socket.destroy();
  });

  test("and keeps a connection open that was refused is cut", async () => {
    const socket = await send("nonsense\r\n\r\n");
    await once(socket.resume(), "end");
    expect(await connections()).toBe(1);
    await expect.poll(connections, { timeout: FOUND }).toBe(0);
    socket.destroy();
  });
});

test("slow uploads take no place from others", async () => {
  const uploads = await Promise.all(Array.from({ length: 8 }, () => open(`${POST}{"query"`)));
  await wait(100);
  const answer = await fetch(`http://127.0.0.1:${port}/graphql?query={__typename}`);
  expect(answer.status).toBe(200);
  await Promise.all(uploads.map(({ closed }) => closed));
});

test("connections beyond the limit are closed as they come, and the others go on", async () => {
  const held = await Promise.all(Array.from({ length: 20 }, () => open("GET /health HTTP/1.1\r\n")));
  const { closed, received } = await open("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  await closed;
  expect(received()).toBe("");
  held[0]?.socket.write("Host: x\r\n\r\n");
  await expect.poll(() => held[0]?.received()).toMatch(/^HTTP\/1\.1 200 /);
  await Promise.all(held.map((one) => one.closed));
});

describe("a body", () => {
  const send = (body: string, type: string, token: string) =>
    gateway.rest(token, "POST", "/v1/kyc", { form: body, headers: { "content-type": type } });
  const FORM = "application/x-www-form-urlencoded";

  test.each([
    ["of 100,000 pairs", "a=&".repeat(100_000), FORM, 413],
    [
      "of as many pairs as are taken",
      Array.from({ length: 14_000 }, (_, n) => `p${n}=`).join("&"),
      FORM,
      400,
    ],
    ["of one name again and again", "limit=1&".repeat(12_000), FORM, 400],
    ["of separators", "&".repeat(100_000), FORM, 400],
    ["of brackets", "[".repeat(100_000), "application/json", 400],
    ["of lists in lists", `${"[".repeat(50_000)}${"]".repeat(50_000)}`, "application/json", 400],
    ["of objects in objects", `${'{"a":'.repeat(16_000)}1${"}".repeat(16_000)}`, "application/json", 400],
    [
      "of thousands of names",
      JSON.stringify(Object.fromEntries(Array.from({ length: 9000 }, (_, n) => [`p${n}`, 1]))),
      "application/json",
      400,
    ],
  ])("%s is refused soon, in few words", async (_what, body, type, status) => {
    const token = await gateway.token("acme");
    const begun = cpuTime();
    const answer = await send(body, type, token);
    expect(answer.statusCode).toBe(status);
    expect(cpuTime() - begun).toBeLessThan(1500);
    expect(answer.body.length).toBeLessThan(20_000);
  });
});
