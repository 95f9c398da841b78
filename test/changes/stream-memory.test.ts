import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startSealer } from "../../src/ledger/seal.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { openStream } from "../support/event-stream.ts";
import { plainDigests, writeEvents } from "../support/ledger.ts";

const EVENTS = 2000;
/** Some 10 KB for each event, together more than the system buffers for a connection. */
const LARGE = `subscription ($after: String) { kycChanged(after: $after) { position
  ${Array.from({ length: 20 }, (_, n) => `${"a".repeat(500)}${n}: action`).join(" ")} } }`;

let gateway: TestApp;
let url: string;
let stopSealer: () => Promise<void>;
beforeAll(async () => {
  gateway = await createTestApp({
    ...{ SEND_TIMEOUT: "1 s", UPLOAD_MEMORY_LIMIT: "256 KiB", MAX_EVENT_LOOP_DELAY: "60 s" },
  });
  stopSealer = startSealer({
    ...{ db: gateway.db, openDigests: plainDigests, log: { warn: () => {}, error: () => {} } },
  });
  await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  url = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await stopSealer();
  gateway.app.server.closeAllConnections();
  await gateway.close();
});

const metric = async (name: string) => {
  const { body } = await gateway.app.inject("/metrics");
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(body)?.[1]);
};

// A busy machine takes long to give the events their positions.
test("a client that stops reading is disconnected, takes little memory until then, and continues without a gap", async () => {
  const token = await gateway.token("slow");
  const start = (await gateway.graphql(token, "{ changeCursor }")).data.changeCursor as string;
  const ids = Array.from({ length: EVENTS }, (_, n) => `r${n}`);
  await writeEvents(gateway.db, "slow", ids);
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  let text = "";
  let isOver = false;
  socket.setEncoding("utf8").on("data", (piece) => {
    text += piece;
    // It reads a little, and then nothing more.
    if (!isOver && text.includes("event: next")) socket.pause();
  });
  const body = JSON.stringify({ query: LARGE, variables: { after: start } });
  socket.write(
    `POST /graphql HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n` +
      `Authorization: Bearer ${token}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  const unsent: number[] = [];
  await expect
    .poll(
      async () => {
        unsent.push(await metric("http_unsent_bytes"));
        return metric('change_streams_ended_total{reason="slow"}');
      },
      { timeout: 40_000, interval: 100 },
    )
    .toBe(1);
  expect(Math.max(...unsent)).toBeLessThan(4_000_000);
  expect(await metric("change_subscribers")).toBe(0);
  expect(gateway.logged()).toMatch(/"account":"slow".*"reason":"slow".*stream ended/);

  // The part that the system has buffered arrives, and ends within an event.
  isOver = true;
  socket.resume();
  await once(socket, "close");
  const whole = text.slice(0, text.lastIndexOf("\n\n"));
  const seen = [...whole.matchAll(/"position":(\d+)/g)].map(([, position]) => Number(position));
  const cursor = [...whole.matchAll(/^id: (.+)$/gm)].at(-1)?.[1] as string;
  expect(seen.length).toBeLessThan(EVENTS);
  const rest = await openStream(url, token, LARGE, { headers: { "last-event-id": cursor } });
  for (const { data } of await rest.until(EVENTS - seen.length)) seen.push(data.kycChanged.position);
  rest.close();
  expect(seen).toEqual(ids.map((_, n) => n));
}, 60_000);

test("streams that hold large variables or documents of their own are cut, the largest first, before they fill the memory", async () => {
  const token = await gateway.token("large");
  const small = await openStream(url, token, "subscription { kycChanged { cursor } }");
  const query = (n: number) => `subscription ($pad: String) { kycChanged(filter: { action: CREATED }) { cursor
    kyc { a${n}: history(after: $pad) { nodes { id } } } } }`;
  const large = [];
  for (let n = 0; n < 6; n++) {
    large.push(await openStream(url, token, query(n), { variables: { pad: "x".repeat(30_000) } }));
    expect(large[n]?.status).toBe(200);
  }
  await Promise.any(large.map(({ ended }) => ended));
  await expect.poll(() => metric('change_streams_ended_total{reason="client"}')).toBeGreaterThanOrEqual(4);
  expect(await metric("change_subscribers")).toBeGreaterThanOrEqual(2);
  // Some 300 tokens each.
  const many = Array.from({ length: 95 }, (_, n) => `a${n}: cursor`).join(" ");
  for (let n = 0; n < 4; n++)
    large.push(await openStream(url, token, `subscription { kycChanged { b${n}: cursor ${many} } }`));
  await expect.poll(() => metric('change_streams_ended_total{reason="client"}')).toBeGreaterThanOrEqual(6);
  await gateway.rest(token, "POST", "/v1/kyc", {
    form: {
      ...{ customer_id: "c", verification_status: "pending", document_type: "visa" },
      document_number: "X1",
    },
  });
  expect(await small.until(1)).toHaveLength(1);
  small.close();
  for (const stream of large) stream.close();
});
