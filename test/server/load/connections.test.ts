import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../../support/app.ts";
import { createRecord } from "../../support/records.ts";

const KIB = 1024;
const UPLOADS = 400 * KIB;
const UNSENT = 1024 * KIB;
let gateway: TestApp;
let port: number;
let token: string;
let sockets: Socket[] = [];

async function begin(uploadLimit: number): Promise<void> {
  gateway = await createTestApp({
    UPLOAD_MEMORY_LIMIT: String(uploadLimit),
    UNSENT_MEMORY_LIMIT: String(UNSENT),
    MAX_CONCURRENT_REQUESTS: "5",
  });
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
  token = await gateway.token("acme");
  // The first look-up of the token opens a connection to the database, and would keep its request's place meanwhile.
  await gateway.app.inject({ url: "/v1/kyc", headers: { authorization: `Bearer ${token}` } });
}

beforeAll(() => begin(UPLOADS));
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  // What a test has left must not count in the next one.
  await expect.poll(async () => [await uploadBytes(), await unsentBytes()]).toEqual([0, 0]);
});
afterAll(() => gateway.close());

interface Client {
  socket: Socket;
  received(): string;
  isClosed(): boolean;
}

async function open(first: string): Promise<Client> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  let received = "";
  let closed = false;
  socket.setEncoding("utf8").on("data", (chunk) => {
    received += chunk;
  });
  socket
    .on("error", () => {})
    .once("close", () => {
      closed = true;
    });
  await once(socket, "connect");
  socket.write(first);
  return { socket, received: () => received, isClosed: () => closed };
}

async function figure(name: string): Promise<number> {
  const { body } = await gateway.app.inject({ url: "/metrics" });
  return Number(new RegExp(`^${name.replaceAll(/[{}]/g, "\\$&")} (\\d+)$`, "m").exec(body)?.[1]);
}
const uploadBytes = () => figure("http_upload_bytes");
const unsentBytes = () => figure("http_unsent_bytes");
const cutsFor = (reason: "uploads" | "unsent") => figure(`http_connections_cut_total{reason="${reason}"}`);

const FORM = "Content-Type: application/x-www-form-urlencoded";
const start = (extra: string) =>
  `POST /v1/kyc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n${FORM}\r\n${extra}\r\n\r\n`;
const startOf = (length: number) => start(`Content-Length: ${length}`);
const startChunked = () => start("Transfer-Encoding: chunked");
const GET = (path: string, last = false) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n${last ? "Connection: close\r\n" : ""}\r\n`;

describe("uploads", () => {
  test("in chunks of one byte take about as much as their contents", async () => {
    const length = 4900;
    const { socket } = await open(startChunked() + "1\r\na\r\n".repeat(length));
    await expect.poll(uploadBytes, { timeout: 10_000 }).toBeGreaterThanOrEqual(length);
    expect(await uploadBytes()).toBeLessThan(3 * length);
    socket.destroy();
    await expect.poll(uploadBytes).toBe(0);
  });

  test("in chunks of any size are read as they were sent", async () => {
    const body = `customer_id=${"é".repeat(60)}&verification_status=pending&document_type=visa&document_number=1`;
    for (const size of [1, 2, 7, 100, 10_000]) {
      const bytes = Buffer.from(encodeURI(body));
      const { socket, received } = await open(startChunked());
      for (let at = 0; at < bytes.length; at += size) {
        const part = bytes.subarray(at, at + size);
        socket.write(`${part.length.toString(16)}\r\n${part.toString()}\r\n`);
      }
      socket.write("0\r\n\r\n");
      await expect.poll(received).toMatch(/^HTTP\/1\.1 201 /);
      expect(received()).toContain("é".repeat(60));
    }
    await expect.poll(uploadBytes).toBe(0);
  });

  test.each([
    ["one byte", "1\r\na\r\n"],
    ["ten bytes", `a\r\n${"a".repeat(10)}\r\n`],
    ["one byte with a long extension", `1;${"x".repeat(90)}\r\na\r\n`],
  ])("in thousands of chunks of %s get 400, and are cut off if they go on", async (_size, chunk) => {
    const refused = await open(startChunked() + chunk.repeat(5100));
    await expect
      .poll(refused.received)
      .toMatch(/^HTTP\/1\.1 400 [\s\S]*request_malformed[\s\S]*chunks of a few bytes/);
    for (let n = 0; n < 3 && !refused.isClosed(); n++) refused.socket.write(chunk.repeat(5000));
    await expect.poll(refused.isClosed).toBe(true);
    await expect.poll(uploadBytes).toBe(0);
  });

  test("in thousands of chunks of sixteen bytes are read", async () => {
    const { socket, received } = await open(startChunked());
    socket.write(`10\r\n${"a".repeat(16)}\r\n`.repeat(6000));
    socket.write("0\r\n\r\n");
    await expect.poll(received).toMatch(/^HTTP\/1\.1 400 [\s\S]*parameter_/);
  });

  test("beyond the limit of one body get 413", async () => {
    const chunked = await open(`${startChunked()}5000\r\n${"a".repeat(0x5000)}\r\n`.concat(""));
    for (let n = 0; n < 5; n++) chunked.socket.write(`5000\r\n${"a".repeat(0x5000)}\r\n`);
    await expect.poll(chunked.received).toMatch(/^HTTP\/1\.1 413 [\s\S]*body_too_large/);
    const announced = await open(startOf(200 * KIB));
    await expect.poll(announced.received).toMatch(/^HTTP\/1\.1 413 [\s\S]*body_too_large/);
  });

  test("beyond the limit of all bodies refuse the largest with 503, and let the others go on", async () => {
    const shed = () => figure('http_requests_shed_total{reason="uploads"}');
    const shedBefore = await shed();
    const small = await Promise.all(
      [20, 25].map((size) => open(startOf(size * KIB) + "a".repeat(size * KIB - 1))),
    );
    const large = await open(startOf(95 * KIB) + "a".repeat(95 * KIB - 1));
    // It is the largest only once all of it has arrived.
    await expect.poll(uploadBytes, { timeout: 10_000 }).toBeGreaterThan(139 * KIB);
    const others = await Promise.all(
      [90, 90, 90, 90].map((size) => open(startOf(size * KIB) + "a".repeat(size * KIB - 1))),
    );
    await expect
      .poll(large.received, { timeout: 10_000 })
      .toMatch(/^HTTP\/1\.1 503 [\s\S]*retry-after: 1\r\n[\s\S]*"unavailable"/i);
    expect(large.received().toLowerCase()).toContain("\r\nconnection: close\r\n");
    expect(await uploadBytes()).toBeLessThanOrEqual(UPLOADS);
    expect(await shed()).toBeGreaterThan(shedBefore);
    for (const { socket, received } of small) {
      socket.write("a");
      await expect.poll(received).toMatch(/^HTTP\/1\.1 400 /);
    }
    for (const { socket } of others) socket.destroy();
    await expect.poll(uploadBytes).toBe(0);
  });
});

test("headers that are not finished count, and beyond the limit the longest are cut", async () => {
  const head = (bytes: number) => `GET /health HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(bytes)}`;
  const cutsBefore = await cutsFor("uploads");
  const short = await open(head(100));
  await Promise.all(Array.from({ length: 40 }, () => open(head(15 * KIB))));
  await expect.poll(() => cutsFor("uploads"), { timeout: 5000 }).toBeGreaterThan(cutsBefore);
  expect(await uploadBytes()).toBeLessThanOrEqual(UPLOADS);
  expect(await uploadBytes()).toBeGreaterThan(UPLOADS / 2);
  short.socket.write("\r\n\r\n");
  await expect.poll(short.received).toMatch(/^HTTP\/1\.1 200 /);
});

describe("requests that are sent without waiting for answers", () => {
  test("are answered in order, one at a time, and take one place of those that may be in progress", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) ids.push(await createRecord(gateway, token));
    const requests = ids.map((id, n) => GET(`/v1/kyc/${id}`, n === ids.length - 1));
    const { received, isClosed } = await open(requests.join(""));
    await expect.poll(isClosed).toBe(true);
    expect([...received().matchAll(/"id":"(\w+)"/g)].map(([, id]) => id)).toEqual(ids);
    expect(received().match(/HTTP\/1\.1 200 /g)).toHaveLength(ids.length);
  });

  test("with bodies between them are read as they were sent", async () => {
    const body = (n: number) =>
      `customer_id=c${n}&verification_status=pending&document_type=visa&document_number=${n}`;
    const post = (n: number) => `${startOf(body(n).length)}${body(n)}`;
    const { received } = await open(post(1) + GET("/health") + post(2) + GET("/v1/kyc?limit=1", true));
    await expect
      .poll(() => received().match(/HTTP\/1\.1 (\d+)/g))
      .toEqual([201, 200, 201, 200].map((status) => `HTTP/1.1 ${status}`));
    expect([...received().matchAll(/"customer_id":"(\w+)"/g)].map(([, id]) => id)).toEqual([
      "c1",
      "c2",
      "c2",
    ]);
  });

  test("are cut when too many of them wait", async () => {
    const cutsBefore = await cutsFor("uploads");
    const held = await open(`${startOf(10)}a`);
    const other = await open(GET("/health"));
    const { isClosed } = await open(startOf(10) + "a".repeat(10) + GET("/nowhere").repeat(400));
    await expect.poll(isClosed).toBe(true);
    expect(await cutsFor("uploads")).toBe(cutsBefore + 1);
    await expect.poll(other.received).toMatch(/^HTTP\/1\.1 200 /);
    expect(held.isClosed()).toBe(false);
  });
});

describe("a request of many headers", () => {
  const lines = (count: number) => "a:\r\n".repeat(count);

  test("is refused beyond 200, also if a second Host is among those that Node leaves out", async () => {
    const ask = async (text: string) => {
      const { received } = await open(text);
      await expect.poll(received).toMatch(/^HTTP\/1\.1 \d+ [\s\S]*\r\n\r\n/);
      return received();
    };
    expect(await ask(`GET /health HTTP/1.1\r\nHost: x\r\n${lines(199)}\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
    for (const count of [200, 201, 230, 1000, 3000]) {
      const text = `GET /health HTTP/1.1\r\nHost: x\r\n${lines(count)}Host: y\r\n\r\n`;
      expect(await ask(text)).toMatch(/^HTTP\/1\.1 431 [\s\S]*"headers_too_large"/);
    }
  });

  test("counts with what Node makes of them, and until its body has come, also if it was answered", async () => {
    const head = `POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n${lines(100)}\r\n`;
    const { socket, received } = await open(head);
    await expect.poll(received).toMatch(/^HTTP\/1\.1 404 /);
    // Also after the next count of headers that are arriving, every half second.
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(await uploadBytes()).toBeGreaterThan(10 * KIB);
    socket.write("ab");
    await expect.poll(uploadBytes).toBe(0);
    socket.write(GET("/health"));
    await expect.poll(received).toMatch(/HTTP\/1\.1 200 /);
  });

  test("is cut beyond the limit of all bodies while its own does not come, though it was answered", async () => {
    const head = `POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n${lines(190)}\r\n`;
    const cutsBefore = await cutsFor("uploads");
    await Promise.all(Array.from({ length: 30 }, () => open(head)));
    await expect.poll(() => cutsFor("uploads")).toBeGreaterThan(cutsBefore);
    // The limit is enforced at the end of a turn, and the figures can be read before.
    await expect.poll(uploadBytes).toBeLessThanOrEqual(UPLOADS);
  });
});

describe("answers that are not taken", () => {
  beforeAll(async () => {
    await gateway.close();
    // Requests that wait are not what these tests are about.
    await begin(100 * KIB * KIB);
  });

  // Large, and little work: what takes time here is to be the network.
  const LARGE = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
  /** Their answers have 10 MB, which is more than the network holds. */
  const REQUESTS = 120;

  const unread = async () => {
    const client = await open(LARGE.repeat(REQUESTS));
    client.socket.pause();
    return client;
  };

  test("count until they are, and then no more", async () => {
    const client = await unread();
    await expect.poll(unsentBytes, { timeout: 10_000 }).toBeGreaterThan(40 * KIB);
    client.socket.resume();
    const answered = () => client.received().match(/HTTP\/1\.1 200 /g)?.length;
    await expect.poll(answered, { timeout: 20_000 }).toBe(REQUESTS);
    await expect.poll(unsentBytes).toBe(0);
  });

  test("are cut beyond the limit of all of them", async () => {
    await Promise.all(Array.from({ length: 18 }, unread));
    await expect.poll(() => cutsFor("unsent"), { timeout: 20_000 }).toBeGreaterThan(0);
    // The limit is enforced at the end of a turn, and the figures can be read before.
    await expect.poll(unsentBytes).toBeLessThanOrEqual(UNSENT);
    expect(await unsentBytes()).toBeGreaterThan(UNSENT / 2);
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
  });
});
