import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import inject from "light-my-request";
import { expect, test } from "vitest";
import type { Metrics } from "../../../src/metrics.ts";
import type { Admission } from "../../../src/server/load/admission.ts";
import { shedEarly } from "../../../src/server/load/shed-early.ts";

const CAPACITY = 3;

/** A full server that answers only requests with a slot. A request takes a slot once its body has arrived. */
function fullServer() {
  let taken = CAPACITY;
  const letIn: string[] = [];
  const without: string[] = [];
  const admission = {
    excess: () => (taken >= CAPACITY ? "requests" : undefined),
    room: () => CAPACITY - taken,
  } as Admission;
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const name = String(request.headers["x-name"]);
    letIn.push(name);
    request.resume().on("end", () => {
      if (taken >= CAPACITY) without.push(name);
      else taken += 1;
      response.end();
    });
  });
  const metrics = { countShed: () => {} } as unknown as Metrics;
  const parts = { config: { corsOrigins: [] }, admission, metrics, isClosed: () => false };
  shedEarly({ server } as unknown as FastifyInstance, { ...parts, record: () => {}, addressOf: () => "" });
  const send = (name: string) =>
    inject(
      (request, response) => {
        server.emit("request", request, response);
      },
      { method: "POST", url: "/graphql", headers: { "x-name": name }, payload: "{}" },
    );
  return {
    send,
    letIn,
    without,
    empty() {
      taken = 0;
    },
  };
}

test("of those that wait, as many are let in as there is room for, the first ones, and the others are refused", async () => {
  const { send, letIn, without, empty } = fullServer();
  const names = Array.from({ length: 20 }, (_, n) => `${n}`);
  const answers = names.map(send);
  // They have come, and none was turned to yet.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  empty();
  const statuses = (await Promise.all(answers)).map(({ statusCode }) => statusCode);
  expect(letIn).toEqual(names.slice(0, CAPACITY));
  expect(without).toEqual([]);
  expect(statuses).toEqual([200, 200, 200, ...names.slice(CAPACITY).map(() => 503)]);
});
