import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord, goodInput } from "../support/records.ts";

let gateway: TestApp;
let full: string;
let writer: string;
let id: string;
beforeAll(async () => {
  gateway = await createTestApp();
  full = await gateway.token("acme");
  writer = await gateway.token("acme", ["kyc:write"]);
});
beforeEach(async () => {
  id = await createRecord(gateway, full, { customerId: "secret-customer" });
});
afterAll(() => gateway.close());

const WIRE = {
  customer_id: "c",
  verification_status: "pending",
  document_type: "visa",
  document_number: "N-1",
};

const stored = async () =>
  gateway.db.execute("select * from kycs where account_id = 'acme' order by account_id, id");

describe("over REST, a token that may write and not read", () => {
  test.each(["PUT", "PATCH", "POST"] as const)(
    "gets the id and version of what it changes by %s, and the tag",
    async (method) => {
      const unchanged = await gateway.rest(writer, method, `/v1/kyc/${id}`, { json: {} });
      expect(unchanged.json()).toEqual({ id, version: 1 });
      const changed = await gateway.rest(writer, method, `/v1/kyc/${id}`, {
        form: { verification_status: "failed" },
        headers: { "if-match": String(unchanged.headers.etag) },
      });
      expect([changed.statusCode, changed.headers.etag, changed.json()]).toEqual([
        ...[200, '"2-masked"'],
        { id, version: 2 },
      ]);
    },
  );

  test("gets the id and version of what it creates, also if another token's request made it", async () => {
    const headers = { "idempotency-key": `of-two-tokens ${id}` };
    const made = await gateway.rest(full, "POST", "/v1/kyc", { json: WIRE, headers });
    const again = await gateway.rest(writer, "POST", "/v1/kyc", { json: WIRE, headers });
    expect([again.statusCode, again.headers["idempotent-replayed"], again.json()]).toEqual([
      ...[201, "true"],
      { id: made.json().id, version: 1 },
    ]);
    const change = {
      json: { verification_status: "expired" },
      headers: { "idempotency-key": `change ${id}` },
    };
    await gateway.rest(full, "PATCH", `/v1/kyc/${id}`, change);
    expect((await gateway.rest(writer, "PATCH", `/v1/kyc/${id}`, change)).json()).toEqual({ id, version: 2 });
  });

  test.each([
    ["customer_id", "secret-customer", "wrong"],
    ["document_number", "••••4567", "••••4568"],
    ["created_at", "now", "1"],
  ])(
    "gets the same answer for a right and a wrong %s, which only a reader was shown",
    async (name, right, wrong) => {
      const shown = (await gateway.rest(full, "GET", `/v1/kyc/${id}`)).json();
      const answers = [];
      for (const value of [right === "now" ? String(shown.created_at) : right, wrong]) {
        const answer = await gateway.rest(writer, "PATCH", `/v1/kyc/${id}`, { json: { [name]: value } });
        answers.push([answer.statusCode, answer.json()]);
      }
      expect(answers[0]).toMatchObject([400, { error: { code: "parameter_invalid", param: name } }]);
      expect(answers[1]).toEqual(answers[0]);
    },
  );

  test("may send back the id and version that it got as a condition and in the body", async () => {
    const back = await gateway.rest(writer, "PATCH", `/v1/kyc/${id}`, {
      json: { id, document_type: "other" },
    });
    expect(back.json()).toEqual({ id, version: 2 });
  });
});

const FRAGMENTS = {
  Open: "fragment Open on Kyc { id again: version }",
  Closed: "fragment Closed on Kyc { id ...Deeper }",
  Deeper: "fragment Deeper on Kyc { ... { number: documentNumber } }",
};
const CREATE_INPUT = `customerId: "c", verificationStatus: PENDING, documentType: VISA, documentNumber: "N-2"`;

/** A creation with this selection, the fragments that it uses, and the variables `$yes` and `$no`. */
function create(selection: string): string {
  const used = Object.entries(FRAGMENTS).filter(
    ([name]) => selection.includes(name) || (name === "Deeper" && selection.includes("Closed")),
  );
  const variables = ["yes", "no"].filter((name) => selection.includes(`$${name}`));
  const declared = variables.map((name) => `$${name}: Boolean = ${name === "yes"}`).join(" ");
  return [
    `mutation ${declared && `(${declared})`} { createKyc(input: { ${CREATE_INPUT} }) { ${selection} } }`,
    ...used.map(([, text]) => text),
  ].join(" ");
}

describe("over GraphQL, a token that may write and not read", () => {
  test.each([
    "kyc { id version }",
    "kyc { __typename key: id ...Open } __typename",
    "kycEdge { node { id ... on Node { id } ... @include(if: $yes) { version } } }",
    "kyc { id documentNumber @include(if: $no) ...Closed @skip(if: $yes) }",
  ])("may select %s", async (selection) => {
    const { data, errors } = await gateway.graphql(writer, create(selection));
    expect(errors).toBeUndefined();
    expect(data.createKyc).not.toBeNull();
  });

  test.each([
    ...Object.keys(goodInput).map((field) => `kyc { ${field} }`),
    ...["createdAt", "updatedAt", "history { totalCount }"].map((field) => `kyc { id ${field} }`),
    "kyc { id: documentType }",
    "kyc { version: documentNumber }",
    "kyc { ...Open ...Closed }",
    "kycEdge { cursor }",
    "kycEdge { node { id ...Closed @include(if: $yes) } }",
    "kyc { id } kyc { ... @skip(if: $no) { customerId } }",
  ])("is FORBIDDEN to select %s, and nothing is written", async (selection) => {
    const before = await stored();
    const { data, errors } = await gateway.graphql(writer, create(selection));
    expect(errors?.map(({ path, extensions }) => [path, extensions.code])).toEqual([
      [["createKyc"], "FORBIDDEN"],
    ]);
    expect(errors?.[0]?.message).toContain("kyc:read");
    expect(data).toEqual({ createKyc: null });
    expect(await stored()).toEqual(before);
  });

  test("gets the same answer for the record's mask and another one", async () => {
    const answers = [];
    for (const mask of ["••••4567", "••••4568", "•"]) {
      const update = `mutation { updateKyc(input: { id: "${id}", documentNumber: "${mask}" }) { kyc { id } } }`;
      const { errors } = await gateway.graphql(writer, update);
      answers.push(errors?.map(({ message, extensions }) => ({ message, ...extensions, requestId: "" })));
    }
    expect(answers[0]).toMatchObject([
      { code: "BAD_USER_INPUT", fields: [{ path: "input.documentNumber" }] },
    ]);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  test("is FORBIDDEN more than id and version of an update, even one that would change nothing", async () => {
    const before = await stored();
    const update = `mutation { updateKyc(input: { id: "${id}" }) { kyc { id customerId } } }`;
    for (let turn = 0; turn < 3; turn++) {
      const { data, errors } = await gateway.graphql(writer, update);
      expect({ data, code: errors?.[0]?.extensions.code }).toEqual({
        data: { updateKyc: null },
        code: "FORBIDDEN",
      });
    }
    expect(await stored()).toEqual(before);
  });
});
