// How the servers on bare node:http answer: they know the bench's documents by their operation name, and parse, check
// and execute nothing else.
import { fromGraphql, toConnection, toGraphql, toRest } from "./shapes.mjs";

/** @typedef {{ status: number, body: unknown, route: string, operation?: string }} Answer */

/**
 * @param {import("./records.mjs").Records} records
 * @returns {(call: import("./records.mjs").Call, request: import("node:http").IncomingMessage) => Promise<Answer>}
 */
export function createAnswers(records) {
  /** @type {Record<string, (call: import("./records.mjs").Call, variables: any) => Promise<unknown>>} */
  const operations = {
    ReadKyc: async (call, { id }) => {
      const row = await records.find(call, id);
      return { kyc: row ? toGraphql(row) : null };
    },
    ListKycs: async (call, variables) => ({ kycs: toConnection(await records.list(call, variables)) }),
    CreateKyc: async (call, { input }) => ({
      createKyc: { kyc: toGraphql(await records.insert(call, fromGraphql(input))) },
    }),
    UpdateKyc: async (call, { input }) => {
      const row = await records.update(call, fromGraphql(input));
      return { updateKyc: row ? { kyc: toGraphql(row) } : null };
    },
  };
  return async (call, request) => {
    const url = String(request.url);
    const route = url === "/graphql" ? url : url.startsWith("/v1/kyc/") ? "/v1/kyc/:id" : "/v1/kyc";
    try {
      if (route === "/graphql") {
        const { operationName: operation, variables } = JSON.parse(await readBody(request));
        return {
          status: 200,
          body: { data: await operations[operation]?.(call, variables) },
          route,
          operation,
        };
      }
      if (route === "/v1/kyc/:id") {
        const row = await records.find(call, url.slice("/v1/kyc/".length));
        const body = row ? toRest(row) : { error: { code: "resource_missing" } };
        return { status: row ? 200 : 404, body, route };
      }
      const first = Number(new URLSearchParams(url.slice(url.indexOf("?"))).get("limit"));
      const { rows, more } = await records.list(call, { first });
      return { status: 200, body: { has_more: more, data: rows.map(toRest) }, route };
    } catch (error) {
      return { status: 500, body: { errors: [{ message: String(error) }] }, route };
    }
  };
}

/** @param {import("node:http").IncomingMessage} request @returns {Promise<string>} */
function readBody(request) {
  return new Promise((resolve, reject) => {
    /** @type {Buffer[]} */
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () =>
      resolve(chunks.length === 1 ? String(chunks[0]) : Buffer.concat(chunks).toString()),
    );
    request.on("error", reject);
  });
}

/**
 * @param {import("node:http").ServerResponse} response
 * @param {{ status: number, body: unknown }} answer
 * @param {readonly string[]} headers names and values in turns
 */
export function send(response, { status, body }, headers = []) {
  const text = JSON.stringify(body);
  response.writeHead(status, [
    ...headers,
    ...["content-type", "application/json; charset=utf-8"],
    ...["content-length", String(Buffer.byteLength(text))],
  ]);
  response.end(text);
}
