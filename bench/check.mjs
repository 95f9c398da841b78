// Checks that the servers answer the same before they are timed.
import { isDeepStrictEqual } from "node:util";
import { DEFAULT_HEADERS, HOLE, STATUSES, TYPES } from "./workloads.mjs";

const SAMPLES = 20;

/** The values that each server generates itself for a record that it writes. */
const OWN = new Set(["id", "createdAt", "updatedAt", "version"]);

/**
 * Sends every server the same requests, several for each part of the workload. Fails if a server answers with an error
 * or without a record, or if an answer differs from that of `bare`, or of the first server if `bare` is not among them.
 * In answers to a write, the values that a server generates itself may differ.
 *
 * @param {import("./servers.mjs").Server[]} servers
 * @param {import("./workloads.mjs").Workload} workload
 * @param {import("./session.mjs").Session} session
 */
export async function checkAnswers(servers, workload, session) {
  const ordered = [...servers].sort((a, b) => Number(b.name === "bare") - Number(a.name === "bare"));
  for (const part of workload.parts) {
    for (let sample = 0; sample < SAMPLES; sample++) {
      const request = fill(part, session);
      const answers = [];
      for (const server of ordered) answers.push(await ask(server, request, session.token));
      compare(ordered, answers, request, part.writes !== undefined);
    }
  }
}

/**
 * @param {import("./servers.mjs").Server[]} servers
 * @param {{ status: number, body: any }[]} answers
 * @param {Filled} request
 * @param {boolean} written
 */
function compare(servers, answers, request, written) {
  const [expected, ...others] = answers.map(({ status, body }) => ({
    status,
    body: written ? withoutOwn(body) : body,
  }));
  const failed = answers.findIndex(({ status, body }) => status !== 200 || body.errors || isEmpty(body));
  const differing = others.findIndex((answer) => !isDeepStrictEqual(answer, expected)) + 1;
  const culprit = servers[failed >= 0 ? failed : differing];
  if (failed < 0 && differing === 0) return;
  const list = servers.map(({ name }, index) => `${name}: ${JSON.stringify(answers[index])}`).join("\n");
  throw new Error(`${culprit?.name} answers differently to ${JSON.stringify(request)}\n${list}`);
}

/** An answer without a record shows nothing. @param {any} body */
function isEmpty(body) {
  const text = JSON.stringify(body);
  return !text.includes('"customerId":') && !text.includes('"customer_id":');
}

/** @param {any} value @returns {any} */
function withoutOwn(value) {
  if (Array.isArray(value)) return value.map(withoutOwn);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, OWN.has(name) ? typeof inner : withoutOwn(inner)]),
  );
}

/** @typedef {{ path: string, headers: Record<string, string>, body: string | undefined }} Filled */

/** @param {import("./workloads.mjs").Part} part @param {import("./session.mjs").Session} session @returns {Filled} */
function fill({ path = "/graphql", headers = DEFAULT_HEADERS, body }, { samples }) {
  const pick = (/** @type {string[]} */ list) => String(list[Math.floor(Math.random() * list.length)]);
  const fillings = {
    ...{ status: () => pick(STATUSES), type: () => pick(TYPES) },
    ...{
      id: () => pick(samples.id),
      customer: () => pick(samples.customer),
      cursor: () => pick(samples.cursor),
    },
    number: () => String(100_000_000 + Math.floor(Math.random() * 900_000_000)),
  };
  const filled = (/** @type {string} */ text) =>
    text.replaceAll(new RegExp(HOLE, "g"), (_, hole) =>
      fillings[/** @type {keyof typeof fillings} */ (hole)](),
    );
  return { path: filled(path), headers, body: body === undefined ? undefined : filled(body) };
}

/** @param {import("./servers.mjs").Server} server @param {Filled} request @param {string} token */
async function ask({ url }, { path, headers, body }, token) {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { ...headers, authorization: `Bearer ${token}` },
    body,
  });
  // Only the gateway adds them.
  const { extensions: _, ...answer } = await response.json();
  return { status: response.status, body: answer };
}
