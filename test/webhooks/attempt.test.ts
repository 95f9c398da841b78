import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createPolicy } from "../../src/webhooks/addresses.ts";
import { type AttemptOutcome, attempt } from "../../src/webhooks/attempt.ts";
import { DELIVERY_TIMING, delayAfter } from "../../src/webhooks/timing.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NO_HTTP = "gave no valid answer of HTTP";
const CLOSED = "closed the connection without an answer";

const open = new Set<Socket>();
let server: Server | undefined;
afterEach(() => server?.close());

/** What becomes of a request to a receiver that writes this, or does this with the connection. */
async function answered(answer: string | ((socket: Socket) => void)): Promise<AttemptOutcome> {
  server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {}).on("close", () => open.delete(socket));
    socket.once("data", () => (typeof answer === "string" ? socket.write(answer) : answer(socket)));
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return attempt({
    ...{ account: "acme", url: `http://127.0.0.1:${port}/`, headers: {}, body: "{}", timeoutMs: 4000 },
    ...{ policy: createPolicy(["127.0.0.0/8"]), signal: new AbortController().signal },
  });
}

/** Writes a text again and again until the connection is closed. */
const flood = (text: string, everyMs: number) => (socket: Socket) => {
  const timer = setInterval(() => socket.write(text), everyMs);
  socket.on("close", () => clearInterval(timer));
};

test.each<[string, string | ((socket: Socket) => void), number | null, string]>([
  ["switches protocols", "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", null, CLOSED],
  [
    "sends early hints without end",
    flood("HTTP/1.1 103 X\r\nLink: <x>\r\n\r\n".repeat(100), 1),
    null,
    NO_HTTP,
  ],
  ["drips `100 Continue`", flood("HTTP/1.1 100 Continue\r\n\r\n", 20), null, NO_HTTP],
  ["speaks HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", null, NO_HTTP],
  [
    "gives two lengths",
    "HTTP/1.1 200 X\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
    null,
    NO_HTTP,
  ],
  ["closes within the headers", (socket) => socket.end("HTTP/1.1 200 OK\r\nx: "), null, CLOSED],
  ["resets the connection", (socket) => socket.resetAndDestroy(), null, CLOSED],
  ["speaks HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhello", 200, "answered 200"],
  [
    "closes within the body",
    (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"),
    200,
    "answered 200",
  ],
  ["sends a faulty body", "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 200, "answered 200"],
  ["sends a body without end", flood("HTTP/1.1 200 OK\r\n\r\n".padEnd(65536), 1), 200, "answered 200"],
  ["lies about compression", "HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\n\r\n\u001f", 200, "answered 200"],
  ["redirects to nowhere", "HTTP/1.1 301 X\r\ncontent-length: 0\r\n\r\n", 301, "answered 301"],
  ["has not been changed", "HTTP/1.1 304 X\r\n\r\n", 304, "answered 304"],
  ["asks for a log-in", "HTTP/1.1 401 X\r\nwww-authenticate: Basic\r\n\r\n", 401, "answered 401"],
  ["invents a status", "HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n", 999, "answered 999"],
  ["colours its reason", "HTTP/1.1 500 \u001b[31mred\r\ncontent-length: 0\r\n\r\n", 500, "answered 500"],
])(
  "a receiver that %s leaves a status and our own words, and no connection",
  async (_what, answer, status, result) => {
    const from = performance.now();
    expect(await answered(answer)).toEqual({ status, result, retryAfterMs: null });
    expect(performance.now() - from).toBeLessThan(3500);
    await expect.poll(() => open.size, { timeout: 3000, interval: 10 }).toBe(0);
  },
);

test.each<[string, number]>([
  ["5", 5000],
  ["172800", DAY],
  ["99999999999", DAY],
  ["9".repeat(30), DAY],
  [new Date(Date.now() + 2 * HOUR).toUTCString(), 2 * HOUR],
  ["Fri, 31 Dec 9999 23:59:59 GMT", DAY],
  ["Fri, 31 Dec 1999 23:59:59 GMT", 0],
  ...["-5", "0", "", "5.5", "5, 10", "1e9", "0x10", "+5", "NaN", "soon"].map((value): [string, number] => [
    value,
    0,
  ]),
])("Retry-After: %s makes the wait no shorter, and a day at most", async (value, wanted) => {
  const { retryAfterMs } = await answered(
    `HTTP/1.1 429 X\r\nretry-after: ${value}\r\ncontent-length: 0\r\n\r\n`,
  );
  const delay = delayAfter({ ...DELIVERY_TIMING, schedule: [0, 1000], jitter: 0 }, 1, retryAfterMs) ?? 0;
  expect(delay).toBeLessThanOrEqual(Math.max(wanted, 1000));
  expect(delay).toBeGreaterThan(Math.max(wanted, 1000) - 10_000);
});
