import type { InjectOptions } from "fastify";

/** A kind of request that makes the gateway do much for its size. */
export interface Expanding {
  name: string;
  /** One of about so many bytes. */
  build: (bytes: number) => InjectOptions;
}

const JSON_TYPE = { "content-type": "application/json" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };

/** As many of these as fit into the bytes, but not more than `most`. */
function fill(bytes: number, piece: (index: number) => string, most = Number.POSITIVE_INFINITY): string {
  const pieces: string[] = [];
  for (let left = bytes, index = 0; left > 0 && index < most; index++) {
    const one = piece(index);
    pieces.push(one);
    left -= one.length + 1;
  }
  return pieces.join(" ");
}

const post = (query: string, variables?: string): InjectOptions => ({
  method: "POST",
  url: "/graphql",
  headers: JSON_TYPE,
  payload: `{"query":${JSON.stringify(query)}${variables === undefined ? "" : `,"variables":${variables}`}}`,
});

const document = (name: string, write: (bytes: number) => string): Expanding => ({
  name,
  build: (bytes) => post(write(bytes)),
});

const CREATE = "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }";
const variables = (name: string, query: string, write: (bytes: number) => string): Expanding => ({
  name,
  build: (bytes) => post(query, write(bytes)),
});

const input = (field: string, value: (bytes: number) => string): Expanding =>
  variables(`a ${field} of the whole size`, CREATE, (bytes) => {
    const fields = {
      ...{ customerId: "c", verificationStatus: "PENDING", documentType: "VISA", documentNumber: "n" },
      [field]: value(bytes),
    };
    return `{"input":${JSON.stringify(fields)}}`;
  });

const rest = (name: string, write: (bytes: number) => Partial<InjectOptions>): Expanding => ({
  name,
  build: (bytes) => ({ method: "POST", url: "/v1/kyc", ...write(bytes) }),
});

/** Node takes 16 KiB of headers and address together. */
const HEADER_BYTES = 14_000;
const header = (name: string, value: (bytes: number) => string): Expanding => ({
  name: `a header ${name} of the whole size`,
  build: (bytes) => ({
    ...post("{ __typename }"),
    headers: { ...JSON_TYPE, [name]: value(Math.min(bytes, HEADER_BYTES)) },
  }),
});

/** A request of about so many bytes that asks for nothing unusual. */
export const plain: Expanding = variables(
  "a plain request",
  "query ($id: ID!) { kyc(id: $id) { id } }",
  (bytes) => JSON.stringify({ id: "x".repeat(bytes) }),
);

/** The kinds that are known: for each step that expands its input, one or more. */
export const EXPANDING: Expanding[] = [
  document("as many tokens as fit", (bytes) => `{ ${fill(bytes, () => "a", 9900)} }`),
  document("nesting to the limit", (bytes) => fill(bytes, () => "{a", 199)),
  document("brackets in a value", (bytes) => `{ kyc(id: ${"[".repeat(Math.min(bytes, 190))}`),
  document("unknown fields", (bytes) => `{ ${fill(bytes, (n) => `f${n}`)} }`),
  document("one field again and again", (bytes) => `{ ${fill(bytes, () => "__typename")} }`),
  document("aliases to the limit", (bytes) => `{ ${fill(bytes, (n) => `a${n}: __typename`, 100)} }`),
  // Each of its characters becomes eighteen in the comparison with the id.
  document(
    "a reason of ligatures that have the customer's id in their words",
    (bytes) =>
      `mutation { eraseCustomer(input: { customerId: "\u0644", reason: "${"\ufdfa".repeat(Math.min(bytes, 500))}" }) { erasure { id } } }`,
  ),
  document("fields with long names", (bytes) => `{ ${"a".repeat(bytes)} }`),
  document(
    "fragments that spread one another",
    (bytes) =>
      `{ ...f0 } ${fill(bytes, (n) => `fragment f${n} on Query { ...f${n + 1} ...f${n + 1} }`, 150)}`,
  ),
  document(
    "spreads of many fragments",
    (bytes) =>
      `{ ${fill(bytes / 2, (n) => `...f${n}`, 220)} } ${fill(bytes / 2, (n) => `fragment f${n} on Query { __typename }`, 220)}`,
  ),
  document("unused fragments", (bytes) => `{ a } ${fill(bytes, (n) => `fragment f${n} on Kyc { id }`)}`),
  document(
    "inline fragments around one field",
    (bytes) => `{ ${fill(bytes, () => "... on Query { kycs { totalCount } }", 100)} }`,
  ),
  document("unused variables", (bytes) => `query (${fill(bytes, (n) => `$v${n}: Int`)}) { __typename }`),
  document("variables of one name", (bytes) => `query (${fill(bytes, () => "$v: Int")}) { __typename }`),
  document("unknown arguments", (bytes) => `{ kycs(${fill(bytes, (n) => `a${n}: 1`)}) { totalCount } }`),
  document(
    "unknown input fields",
    (bytes) => `{ kycs(filter: { ${fill(bytes, (n) => `a${n}: 1`)} }) { totalCount } }`,
  ),
  document("a long list literal", (bytes) => `{ nodes(ids: [${fill(bytes, () => "1.5")}]) { id } }`),
  document("directives", (bytes) => `{ __typename ${fill(bytes, () => "@skip(if: false)")} }`),
  document("operations", (bytes) => fill(bytes, (n) => `query q${n} { __typename }`)),
  document("lines with errors", (bytes) => `{ ${"\n".repeat(bytes / 2)} ${fill(500, (n) => `f${n}`)} }`),
  document("commas and spaces", (bytes) => `{ ${", ".repeat(bytes / 2)} __typename }`),
  document("a long string", (bytes) => `{ kyc(id: "${"\\u0041".repeat(bytes / 6)}") { id } }`),
  document("a block string of many lines", (bytes) => `{ kyc(id: """${" \n".repeat(bytes / 2)}""") { id } }`),
  document(
    "a type's introspection again and again",
    (bytes) => `{ ${fill(bytes, (n) => `a${n}: __type(name: "Kyc") { fields { name } }`, 99)} }`,
  ),
  document(
    "pages to the limit of the cost",
    () => `{ kycs(first: 100) { nodes { ${fill(900, (n) => `a${n}: documentNumber`, 90)} } } }`,
  ),
  variables(
    "a list of objects for ids",
    "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }",
    (bytes) => `{"ids":[${"{},".repeat(bytes / 3)}{}]}`,
  ),
  variables(
    "lists inside lists",
    "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }",
    (bytes) => `{"ids":${"[".repeat(bytes / 2)}${"]".repeat(bytes / 2)}}`,
  ),
  variables("unknown names in an input", CREATE, (bytes) => {
    const letters = (n: number) => String(n).replace(/\d/g, (digit) => "abcdefghij"[Number(digit)] as string);
    const pieces = fill(bytes, (n) => `"${letters(n)}":1,`).replaceAll(" ", "");
    return `{"input":{${pieces.slice(0, -1)}}}`;
  }),
  input("customerId", (bytes) => "x".repeat(bytes)),
  input("documentNumber", (bytes) => `${" ".repeat(bytes)}x`),
  input("reason", (bytes) => "é\u0301".repeat(bytes / 4)),
  input("verificationStatus", (bytes) => "PENDING_".repeat(bytes / 8)),
  rest("names in a form", (bytes) => ({
    headers: FORM_TYPE,
    payload: fill(bytes, (n) => `p${n}=1`).replaceAll(" ", "&"),
  })),
  rest("percent-encoded bytes in a form", (bytes) => ({
    headers: FORM_TYPE,
    payload: `document_type=${"%C3%A9".repeat(bytes / 6)}`,
  })),
  rest("separators in a word", (bytes) => ({
    headers: FORM_TYPE,
    payload: `document_type=${"- _".repeat(bytes / 3)}x&verification_status=${"_- ".repeat(10)}`,
  })),
  rest("a number of spaces", (bytes) => ({
    headers: FORM_TYPE,
    payload: `document_number=${"+".repeat(bytes)}x${"+".repeat(10)}`,
  })),
  rest("names in JSON", (bytes) => ({
    headers: JSON_TYPE,
    payload: `{${fill(bytes, (n) => `"p${n}":1`).replaceAll(" ", ",")}}`,
  })),
  rest("lists inside lists in JSON", (bytes) => ({
    headers: JSON_TYPE,
    payload: `{"customer_id":${"[".repeat(bytes / 2)}${"]".repeat(bytes / 2)}}`,
  })),
  rest("names in an address", (bytes) => ({
    method: "GET",
    url: `/v1/kyc?${fill(Math.min(bytes, HEADER_BYTES), (n) => `p${n}=1`).replaceAll(" ", "&")}`,
  })),
  rest("entity tags", (bytes) => ({
    method: "PATCH",
    url: "/v1/kyc/0000000000000000",
    headers: { ...FORM_TYPE, "if-match": fill(Math.min(bytes, HEADER_BYTES), (n) => `W/"${n}-gzip",`) },
    payload: "document_type=visa",
  })),
  header("accept", (bytes) => fill(bytes, (n) => `a/b${n};q=0.${n % 10},`)),
  header("authorization", (bytes) => `Bearer ${"a".repeat(bytes)}`),
  header("idempotency-key", (bytes) => "é".repeat(bytes / 2)),
  header("x-forwarded-for", (bytes) => fill(bytes, (n) => `10.0.${n % 255}.1,`)),
  header("content-type", (bytes) => `application/json${"; a=b".repeat(bytes / 5)}`),
];
