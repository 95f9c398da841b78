// Whether the servers answer the same: what is not equal is not worth timing.
import { isDeepStrictEqual } from "node:util";
import { HOLE, STATUSES, TYPES } from "./workloads.mjs";

const SAMPLES = 20;

/** What two servers can't have in common of a record that each of them wrote. */
const OWN = new Set(["id", "createdAt", "updatedAt", "version"]);

/**
 * Asks every server the same, several times for each part of the workload, and fails where a status or an answer
 * differs from the bare reference's. Of what a request wrote only the server's own values may differ.
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
  throw new Error(`${culprit?.name} answers otherwise to ${JSON.stringify(request)}\n${list}`);
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

/** @typedef {{ path?: string, body?: string }} Filled */

/** @param {import("./workloads.mjs").Part} part @param {import("./session.mjs").Session} session @returns {Filled} */
function fill({ path, body }, { samples }) {
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
  return path === undefined ? { body: filled(String(body)) } : { path: filled(path) };
}

/** @param {import("./servers.mjs").Server} server @param {Filled} request @param {string} token */
async function ask({ url }, { path, body }, token) {
  const authorization = `Bearer ${token}`;
  const response =
    path === undefined
      ? await fetch(`${url}/graphql`, {
          method: "POST",
          headers: { authorization, "content-type": "application/json" },
          body: String(body),
        })
      : await fetch(`${url}${path}`, { headers: { authorization } });
  // What the gateway tells besides the data, the others do not.
  const { extensions: _, ...answer } = await response.json();
  return { status: response.status, body: answer };
}
