// Reference (a): what someone writes by hand who wants nothing but these requests to be fast. It knows the bench's
// documents by their operation name, and parses, checks and authenticates nothing else.
import { createServer } from "node:http";
import { announce, fromGraphql, openRecords, toConnection, toGraphql } from "./records.mjs";

const records = openRecords();

/** @type {Record<string, (variables: any) => Promise<unknown>>} */
const OPERATIONS = {
  ReadKyc: async ({ id }) => {
    const row = await records.find(id);
    return { kyc: row ? toGraphql(row) : null };
  },
  ListKycs: async (variables) => ({ kycs: toConnection(await records.list(variables)) }),
  CreateKyc: async ({ input }) => ({
    createKyc: { kyc: toGraphql(await records.insert(fromGraphql(input))) },
  }),
  UpdateKyc: async ({ input }) => {
    const row = await records.update(fromGraphql(input));
    return { updateKyc: row ? { kyc: toGraphql(row) } : null };
  },
};

/** @param {import("./records.mjs").Row} row */
function toRest(row) {
  return {
    id: row.id,
    customer_id: row.customer_id,
    verification_status: row.verification_status,
    document_type: row.document_type,
    document_number: row.document_number,
    created_at: Math.floor(row.created_at / 1000),
    updated_at: Math.floor(row.updated_at / 1000),
  };
}

/** @param {import("node:http").ServerResponse} response @param {unknown} body */
function send(response, body, status = 200) {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
function serveGraphql(request, response) {
  /** @type {Buffer[]} */
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    const text = chunks.length === 1 ? String(chunks[0]) : Buffer.concat(chunks).toString();
    const { operationName, variables } = JSON.parse(text);
    try {
      send(response, { data: await OPERATIONS[operationName]?.(variables) });
    } catch (error) {
      send(response, { errors: [{ message: String(error) }] }, 500);
    }
  });
}

/** @param {string} url @param {import("node:http").ServerResponse} response */
async function serveRest(url, response) {
  try {
    if (url.startsWith("/v1/kyc/")) {
      const row = await records.find(url.slice("/v1/kyc/".length));
      send(response, row ? toRest(row) : { error: { code: "resource_missing" } }, row ? 200 : 404);
      return;
    }
    const first = Number(new URLSearchParams(url.slice(url.indexOf("?"))).get("limit"));
    const { rows, more } = await records.list({ first });
    send(response, { has_more: more, data: rows.map(toRest) });
  } catch (error) {
    send(response, { error: { message: String(error) } }, 500);
  }
}

const server = createServer((request, response) => {
  const url = String(request.url);
  if (url === "/graphql") serveGraphql(request, response);
  else void serveRest(url, response);
});
await announce(server.listen(Number(process.env.PORT), "127.0.0.1"));
