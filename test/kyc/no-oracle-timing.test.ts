import { Agent, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { goodInput } from "../support/records.ts";

const GUESS = "ABC1234567";
/** It has the mask of the guess. */
const OTHER = "XYZ9994567";
/** So many pairs that chance alone moves the share by more than `TOLERANCE` less than once in a million runs. */
const PAIRS = 150;
const TOLERANCE = 0.2;
/** For a busy machine. The result does not depend on how long it takes. */
const PATIENCE_MS = 120_000;

let gateway: TestApp;
let full: string;
let writer: string;
/** One connection: what a connection costs is no part of a time. */
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
beforeAll(async () => {
  gateway = await createTestApp();
  await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  full = await gateway.token("acme");
  writer = await gateway.token("acme", ["kyc:read", "kyc:write"]);
});
afterAll(async () => {
  agent.destroy();
  await gateway.close();
});

type Send = (id: string, token: string) => Promise<number>;

/** Sends a request, and returns the milliseconds until its answer is complete. */
function timed(path: string, method: string, token: string, body: string): Promise<number> {
  const { port } = gateway.app.server.address() as AddressInfo;
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    request({ agent, port, host: "127.0.0.1", path, method, headers }, (answer) => {
      answer.resume().on("end", () => {
        const time = performance.now() - begun;
        if (answer.statusCode === 200) resolve(time);
        else reject(new Error(`status ${answer.statusCode}`));
      });
    })
      .on("error", reject)
      .end(body);
  });
}

const CREATE =
  "mutation ($input: [CreateKycInput!]!) { createKycs(input: $input) { results { kyc { id } } } }";
const UPDATE = "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id version } } }";
const overGraphql: Send = (id, token) => {
  const variables = { input: { id, documentNumber: GUESS } };
  return timed("/graphql", "POST", token, JSON.stringify({ query: UPDATE, variables }));
};
const overRest: Send = (id, token) =>
  timed(`/v1/kyc/${id}`, "PATCH", token, JSON.stringify({ document_number: GUESS }));

/**
 * In which share of pairs the right guess takes longer than the wrong one. Both are sent one right after the other, in
 * turn the one or the other first, so that whatever else the machine does falls on both alike.
 */
async function shareOfSlowerRightGuesses(send: Send, token: string): Promise<number> {
  const makeAll = async (documentNumber: string) => {
    const ids: string[] = [];
    while (ids.length < PAIRS) {
      const input = Array.from({ length: 50 }, () => ({ ...goodInput, documentNumber }));
      const { data } = await gateway.graphql(full, CREATE, { input });
      ids.push(...data.createKycs.results.map((one: { kyc: { id: string } }) => one.kyc.id));
    }
    return ids;
  };
  const right = await makeAll(GUESS);
  const wrong = await makeAll(OTHER);
  let slower = 0;
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const [r, w] = [right[pair] as string, wrong[pair] as string];
    const rightFirst = pair % 2 === 0;
    const first = await send(rightFirst ? r : w, token);
    const second = await send(rightFirst ? w : r, token);
    if (rightFirst ? first > second : second > first) slower += 1;
  }
  return slower / PAIRS;
}

test.each([
  ["GraphQL", overGraphql],
  ["REST", overRest],
])(
  "without kyc:pii, a right guess of a number over %s takes as long as a wrong one",
  async (_name, send) => {
    expect(Math.abs((await shareOfSlowerRightGuesses(send, writer)) - 0.5)).toBeLessThan(TOLERANCE);
  },
  PATIENCE_MS,
);

test(
  "with kyc:pii the times differ, because an equal number is not written: so times of this size are seen",
  async () => {
    expect(Math.abs((await shareOfSlowerRightGuesses(overRest, full)) - 0.5)).toBeGreaterThan(TOLERANCE);
  },
  PATIENCE_MS,
);
