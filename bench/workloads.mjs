// The workloads: each is a list of requests with holes, which the load fills at random.

/**
 * @typedef {object} Part
 * @property {string} name
 * @property {number} share of the requests, in percent
 * @property {string} [body] of a POST; without it the request is a GET
 * @property {string} [path] `/graphql` if it is absent
 * @property {Record<string, string>} [headers] besides host and token; `DEFAULT_HEADERS` if they are absent
 * @property {"create" | "update"} [writes]
 */
/**
 * @typedef {object} Workload
 * @property {string} name
 * @property {string} title
 * @property {Part[]} parts
 * @property {import("./servers.mjs").ServerName[]} servers those that can answer it
 * @property {Partial<Record<import("./servers.mjs").ServerName, number>>} goals the least that the gateway's rate divided by that of
 *   this reference should be; for `audited`, its own rate divided by the gateway's
 */

/** The kind of value for a hole `@name`. @typedef {"id" | "customer" | "cursor" | "status" | "type" | "number"} Hole */
export const HOLE = /@(id|customer|cursor|status|type|number)/;

/** Of a request that names none. */
export const DEFAULT_HEADERS = { "content-type": "application/json" };

export const STATUSES = ["PENDING", "IN_REVIEW", "VERIFIED", "FAILED", "EXPIRED"];
export const TYPES = ["PASSPORT", "DRIVERS_LICENSE", "ID_CARD", "RESIDENCE_PERMIT", "VISA", "OTHER"];

const FIELDS = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";

/** As Apollo Client and urql send it. @param {string} operationName @param {string} query @param {object} variables */
const body = (operationName, query, variables) => JSON.stringify({ operationName, variables, query });

const LIST = `query ListKycs($first: Int!, $after: String, $filter: KycFilter) {
  kycs(first: $first, after: $after, filter: $filter) {
    edges { cursor node { ${FIELDS} } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`;

const READ = {
  name: "read",
  body: body("ReadKyc", `query ReadKyc($id: ID!) { kyc(id: $id) { ${FIELDS} } }`, { id: "@id" }),
};
const PAGE = { name: "page", body: body("ListKycs", LIST, { first: 10 }) };
const CREATE = /** @type {const} */ ({
  name: "create",
  writes: "create",
  body: body(
    "CreateKyc",
    `mutation CreateKyc($input: CreateKycInput!) { createKyc(input: $input) { kyc { ${FIELDS} } } }`,
    {
      input: {
        customerId: "@customer",
        verificationStatus: "@status",
        documentType: "@type",
        documentNumber: "@number",
      },
    },
  ),
});
const UPDATE = /** @type {const} */ ({
  name: "update",
  writes: "update",
  body: body(
    "UpdateKyc",
    `mutation UpdateKyc($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { ${FIELDS} } } }`,
    { input: { id: "@id", verificationStatus: "@status", documentNumber: "@number" } },
  ),
});

/** @type {Workload["servers"]} */
const ALL = ["gateway", "bare-duties", "mercurius-duties", "bare", "mercurius"];
/** @type {Workload["servers"]} */
const REST = ["gateway", "bare-duties", "bare"];
/** @param {number} mercurius @param {number} bare */
const goals = (mercurius, bare) => ({ "mercurius-duties": mercurius, "bare-duties": bare });

/** @type {Workload[]} */
export const WORKLOADS = [
  {
    name: "W1",
    title: "point read, GraphQL",
    parts: [{ ...READ, share: 100 }],
    servers: [...ALL, "audited"],
    goals: { ...goals(1.2, 1.1), audited: 0.6 },
  },
  {
    name: "W2",
    title: "page of ten, GraphQL",
    parts: [{ ...PAGE, share: 100 }],
    servers: ALL,
    goals: goals(2.5, 2.5),
  },
  {
    name: "W3",
    title: "page of a customer, GraphQL",
    parts: [
      {
        name: "page of a customer",
        share: 100,
        body: body("ListKycs", LIST, { first: 10, filter: { customerId: "@customer" } }),
      },
    ],
    servers: ALL,
    goals: goals(1.1, 0.95),
  },
  {
    name: "W4",
    title: "create, GraphQL",
    parts: [{ ...CREATE, share: 100 }],
    servers: ALL,
    goals: goals(1.2, 1.1),
  },
  {
    name: "W5",
    title: "point read, REST",
    parts: [{ name: "REST read", share: 100, path: "/v1/kyc/@id" }],
    servers: REST,
    goals: { "bare-duties": 1.05 },
  },
  {
    name: "W6",
    title: "page 5,000 by cursor, GraphQL",
    parts: [{ name: "deep page", share: 100, body: body("ListKycs", LIST, { first: 10, after: "@cursor" }) }],
    servers: ALL,
    goals: goals(1.3, 1.1),
  },
  {
    name: "W7",
    title: "page of ten, REST",
    parts: [{ name: "REST page", share: 100, path: "/v1/kyc?limit=10" }],
    servers: REST,
    goals: { "bare-duties": 3 },
  },
  {
    name: "W8",
    title: "mix: 70 % W1, 20 % W2, 5 % W4, 5 % update",
    parts: [
      { ...READ, share: 70 },
      { ...PAGE, share: 20 },
      { ...CREATE, share: 5 },
      { ...UPDATE, share: 5 },
    ],
    servers: ALL,
    goals: goals(1.2, 1.1),
  },
];

/** @param {string} name */
export function workload(name) {
  const found = WORKLOADS.find((one) => one.name === name);
  if (!found)
    throw new Error(`there is no workload ${name}: they are ${WORKLOADS.map((w) => w.name).join(", ")}`);
  return found;
}

/** How many of a workload's requests write so, in percent. @param {Workload} workload @param {Part["writes"]} writes */
export function shareOf(workload, writes) {
  return workload.parts.reduce((sum, part) => sum + (part.writes === writes ? part.share : 0), 0);
}
