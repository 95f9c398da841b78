import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Scope } from "../../src/auth/scopes.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { recordStatements } from "../support/partitions.ts";
import { createRecord, goodInput } from "../support/records.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true" });
});
afterAll(() => gateway.close());

type Item = Record<string, unknown>;
const KYC = "id customerId verificationStatus documentType documentNumber expiresAt version";
const OUTCOME = `results { kyc { ${KYC} } error { code message currentVersion fields { path message } } }`;
const MANY = {
  create: `mutation ($input: [CreateKycInput!]!) { createKycs(input: $input) { ${OUTCOME} } }`,
  update: `mutation ($input: [UpdateKycInput!]!) { updateKycs(input: $input) { ${OUTCOME} } }`,
};
const ONE = {
  create: `mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { ${KYC} } } }`,
  update: `mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { ${KYC} } } }`,
};
type Kind = keyof typeof MANY;

interface Result {
  kyc: Record<string, unknown> | null;
  error: {
    code: string;
    message: string;
    currentVersion: number | null;
    fields: { path: string; message: string }[];
  } | null;
}

interface Extensions {
  code: string;
  fields?: { path: string; message: string }[];
  currentVersion?: number;
}

async function sendMany(token: string, kind: Kind, input: Item[], key?: string): Promise<Result[]> {
  const { data, errors } = await gateway.graphql(
    token,
    MANY[kind],
    { input },
    key ? { "idempotency-key": key } : {},
  );
  expect(errors).toBeUndefined();
  return data[`${kind}Kycs`].results;
}

/** The answers of the single mutations, one after another, in the form of a bulk mutation. */
async function sendEach(token: string, kind: Kind, inputs: Item[]): Promise<Result[]> {
  const results: Result[] = [];
  for (const [index, input] of inputs.entries()) {
    const { data, errors } = await gateway.graphql(token, ONE[kind], { input });
    const [error] = errors ?? [];
    if (!error) {
      results.push({ kyc: data[`${kind}Kyc`].kyc, error: null });
      continue;
    }
    const { code, fields = [], currentVersion = null } = error.extensions as unknown as Extensions;
    results.push({
      kyc: null,
      error: {
        ...{ code, message: expect.any(String), currentVersion },
        fields: fields.map(({ path, message }) => ({
          path: path.replace(/^input/, `input.${index}`),
          message,
        })),
      },
    });
  }
  return results;
}

/** An account with four records, of which the last one is deleted. */
async function makeAccount(scopes: Scope[]) {
  const account = randomUUID();
  const owner = await gateway.token(account);
  const ids: string[] = [];
  for (let n = 0; n < 4; n++)
    ids.push(await createRecord(gateway, owner, { customerId: `c${n}`, documentNumber: `NUMBER00${n}` }));
  await gateway.rest(owner, "DELETE", `/v1/kyc/${ids[3]}`);
  const token = await gateway.token(account, scopes);
  const nameOf = (text: string) => ids.reduce((all, id, n) => all.replaceAll(id, `record ${n}`), text);
  const stored = async () => {
    const kycs = await gateway.db.execute(
      `select id, customer_id, verification_status, document_type, version, expires_at from kycs where account_id = $1`,
      [account],
    );
    const events = await gateway.db.execute(
      `select action, kyc_ids, changed_fields, status_before, status_after, version_after, reason from audit_events
       where account_id = $1 and action <> 'read'`,
      [account],
    );
    // New records have other ids.
    const texts = [...kycs, ...events].map((row) => nameOf(JSON.stringify(row)));
    return texts.map((text) => text.replace(/"[0-9A-Za-z]{16}"/g, '"new"')).sort();
  };
  return { account, owner, token, ids, nameOf, stored };
}

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const fields = {
  documentNumber: maybe(
    fc.constantFrom("NUMBER001", "NUMBER002", "OTHER77", "", "  ", "•••••R001", "x".repeat(65)),
  ),
  documentType: maybe(fc.constantFrom("VISA", "PASSPORT")),
  verificationStatus: maybe(fc.constantFrom("VERIFIED", "FAILED", "PENDING")),
  expiresAt: maybe(fc.constantFrom(null, "2030-01-01T00:00:00Z", "0000-01-01T00:00:00Z")),
  reason: maybe(fc.constantFrom("checked", "", "it is NUMBER001")),
};
const updates = fc.array(
  fc.record({
    ...fields,
    record: fc.constantFrom(0, 0, 1, 1, 2, 3, 4, 5),
    expectedVersion: maybe(fc.constantFrom(1, 2)),
  }),
  { maxLength: 12 },
);
const creations = fc.array(
  fc.record({
    ...fields,
    customerId: fc.constantFrom("c1", "", "new"),
    documentNumber: fc.constantFrom("NUMBER001", "A", "", "••1"),
    documentType: fc.constant("VISA"),
    verificationStatus: fc.constant("PENDING"),
  }),
  { maxLength: 12 },
);

const withoutIds = (results: Result[], nameOf: (text: string) => string) =>
  JSON.parse(nameOf(JSON.stringify(results)).replace(/"id":"[0-9A-Za-z]{16}"/g, '"id":"new"'));

async function expectSame(kind: Kind, scopes: Scope[], toItems: (ids: string[]) => Item[]) {
  const [bulk, single] = [await makeAccount(scopes), await makeAccount(scopes)];
  const each = await sendEach(single.token, kind, toItems(single.ids));
  const many = await sendMany(bulk.token, kind, toItems(bulk.ids));
  const messages = each.map(({ error }) => error && { ...error, message: expect.any(String) });
  const expected = withoutIds(each, single.nameOf).map((result: Result, index: number) => ({
    ...result,
    error: messages[index],
  }));
  expect(withoutIds(many, bulk.nameOf)).toEqual(expected);
  expect(await bulk.stored()).toEqual(await single.stored());
}

describe.each<Scope[][]>([[["kyc:read", "kyc:write", "kyc:pii"]], [["kyc:read", "kyc:write"]]])(
  "with the scopes %s, many items",
  (scopes) => {
    test("change records as the single mutations do one after another, faults included", async () => {
      await fc.assert(
        fc.asyncProperty(updates, (items) =>
          expectSame("update", scopes, (ids) =>
            items.map(({ record, ...item }) => ({
              id: ids[record] ?? ["short", "z".repeat(16)][record - 4],
              ...item,
            })),
          ),
        ),
        { numRuns: 12 },
      );
    }, 60_000);

    test("create records as the single mutations do one after another, faults included", async () => {
      await fc.assert(
        fc.asyncProperty(creations, (items) => expectSame("create", scopes, () => items)),
        { numRuns: 8 },
      );
    }, 60_000);
  },
);

test("a hundred items are one statement of each kind", async () => {
  const token = await gateway.token(randomUUID());
  const sent = recordStatements(gateway.db);
  const textsOf = async (work: () => Promise<unknown>) => {
    const before = sent.length;
    await work();
    return sent.slice(before).filter(({ text }) => text.includes("kycs"));
  };
  let created: Result[] = [];
  const inserts = await textsOf(async () => {
    created = await sendMany(token, "create", Array(100).fill(goodInput));
  });
  expect(created.every(({ error }) => error === null)).toBe(true);
  expect(inserts).toHaveLength(1);
  const changes = created.map(({ kyc }) => ({
    id: kyc?.id,
    verificationStatus: "VERIFIED",
    documentNumber: "NEW1",
  }));
  let changed: Result[] = [];
  const statements = await textsOf(async () => {
    changed = await sendMany(token, "update", changes);
  });
  expect(changed.map(({ kyc }) => [kyc?.id, kyc?.version])).toEqual(created.map(({ kyc }) => [kyc?.id, 2]));
  expect(statements).toHaveLength(2);
});

describe("under one idempotency key", () => {
  test("a repetition gets the same outcomes, and writes nothing", async () => {
    const { token, ids, stored } = await makeAccount(["kyc:read", "kyc:write", "kyc:pii"]);
    const updates = [
      { id: ids[0], documentNumber: "CHANGED1" },
      { id: ids[1], expectedVersion: 9, verificationStatus: "FAILED" },
      { id: ids[0], documentType: "VISA" },
      { id: ids[3], documentType: "VISA" },
      { id: ids[2], documentNumber: "" },
    ];
    const creations = [
      goodInput,
      { ...goodInput, customerId: "" },
      { ...goodInput, documentNumber: "SECOND" },
    ];
    for (const [kind, items] of [
      ["update", updates],
      ["create", creations],
    ] as const) {
      const key = randomUUID();
      const first = await sendMany(token, kind, items, key);
      const after = await stored();
      expect(await sendMany(token, kind, items, key)).toEqual(first);
      expect(await stored()).toEqual(after);
    }
  });

  test("equal items in another spelling are the same request", async () => {
    const { token, ids } = await makeAccount(["kyc:read", "kyc:write", "kyc:pii"]);
    for (const [kind, item, other] of [
      ["create", { ...goodInput, documentNumber: "SAME-1" }, { ...goodInput, documentNumber: "  SAME-1 " }],
      ["update", { id: ids[0], reason: "why" }, { reason: " why ", id: ids[0] }],
    ] as const) {
      const key = randomUUID();
      const first = await sendMany(token, kind, [item], key);
      expect(await sendMany(token, kind, [other], key)).toEqual(first);
    }
  });

  test("another request is a mismatch, also one with one more item, and a single one", async () => {
    const { token } = await makeAccount(["kyc:read", "kyc:write", "kyc:pii"]);
    const headers = { "idempotency-key": randomUUID() };
    await sendMany(token, "create", [goodInput], headers["idempotency-key"]);
    for (const input of [[goodInput, goodInput], [], [{ ...goodInput, documentNumber: "OTHER" }]]) {
      const { data, errors } = await gateway.graphql(token, MANY.create, { input }, headers);
      expect([data.createKycs, errors?.[0]?.extensions.code]).toEqual([null, "IDEMPOTENCY_MISMATCH"]);
    }
    const { errors } = await gateway.graphql(token, ONE.create, { input: goodInput }, headers);
    expect(errors?.[0]?.extensions.code).toBe("IDEMPOTENCY_MISMATCH");
  });

  test("the result of a record that was deleted since is gone, and those of the others are not", async () => {
    const { account, owner, token } = await makeAccount(["kyc:read", "kyc:write", "kyc:pii"]);
    const key = randomUUID();
    const first = await sendMany(token, "create", [goodInput, goodInput], key);
    await gateway.rest(owner, "DELETE", `/v1/kyc/${first[0]?.kyc?.id}`);
    const again = await sendMany(token, "create", [goodInput, goodInput], key);
    expect(again.map(({ error }) => error?.code)).toEqual(["NOT_FOUND", undefined]);
    expect(again[1]).toEqual(first[1]);
    const kept = await gateway.db.execute(
      "select sealed_result from idempotency_keys where account_id = $1 and kyc_id = $2",
      [account, first[0]?.kyc?.id],
    );
    expect(kept).toEqual([{ sealed_result: null }]);
  });

  test("a repetition with a reason tells a token that sees numbers masked nothing about a right guess", async () => {
    const { account, owner, token } = await makeAccount(["kyc:read", "kyc:write", "kyc:pii"]);
    const number = "AB1234567";
    const id = await createRecord(gateway, owner, { documentNumber: number });
    const masked = await gateway.token(account, ["kyc:read", "kyc:write"]);
    const headers = { "idempotency-key": randomUUID() };
    const inputOf = (guess: string) => [
      { id, verificationStatus: "FAILED", reason: `the number is ${guess}` },
    ];
    const first = await sendMany(token, "update", inputOf(number), headers["idempotency-key"]);
    expect(first[0]?.error).toMatchObject({ code: "BAD_USER_INPUT", fields: [{ path: "input.0.reason" }] });
    const answers = [];
    for (const guess of [number, "AB1234568", "AB12345678"]) {
      const { data, errors, ...answer } = await gateway.graphql(
        masked,
        MANY.update,
        { input: inputOf(guess) },
        headers,
      );
      const { requestId: _, ...extensions } = errors?.[0]?.extensions ?? expect.fail("there is no error");
      const replayed = answer.headers["idempotent-replayed"];
      answers.push({ data, status: answer.status, replayed, message: errors?.[0]?.message, extensions });
    }
    expect(answers[0]?.extensions.code).toBe("IDEMPOTENCY_MISMATCH");
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    // Who may see the number gets the outcome again.
    expect(await sendMany(token, "update", inputOf(number), headers["idempotency-key"])).toEqual(first);
  });

  test("requests at the same time write once", async () => {
    const { token, account } = await makeAccount(["kyc:read", "kyc:write", "kyc:pii"]);
    const headers = { "idempotency-key": randomUUID() };
    const answers = await Promise.all(
      Array.from({ length: 6 }, () =>
        gateway.graphql(token, MANY.create, { input: [goodInput, goodInput] }, headers),
      ),
    );
    for (const { errors } of answers)
      expect(errors?.[0]?.extensions.code ?? "IDEMPOTENCY_IN_PROGRESS").toBe("IDEMPOTENCY_IN_PROGRESS");
    const [row] = await gateway.db.execute<{ count: string }>(
      "select count(*) from kycs where account_id = $1 and customer_id = 'customer-1'",
      [account],
    );
    expect(row?.count).toBe("2");
  });
});

test("more than a hundred items are refused as a whole, written as variables or as literals", async () => {
  const token = await gateway.token(randomUUID());
  const literal = '{ id: "0000000000000000" }';
  for (const [document, input] of [
    [MANY.update, Array(101).fill({ id: "0000000000000000" })],
    [
      `mutation { updateKycs(input: [${Array(101).fill(literal)}]) { results { error { code } } } }`,
      undefined,
    ],
  ] as const) {
    const { data, errors } = await gateway.graphql(token, document, input && { input });
    expect(data?.updateKycs ?? null).toBeNull();
    expect(errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT" });
    expect(errors?.[0]?.extensions.fields?.[0]?.path).toBe("input");
  }
});

test("the cost counts each item", async () => {
  const token = await gateway.token(randomUUID());
  const cost = async (items: number) => {
    const { extensions } = await gateway.graphql(token, MANY.create, { input: Array(items).fill(goodInput) });
    return (extensions as { cost: { requested: number } }).cost.requested;
  };
  const [one, ten] = [await cost(1), await cost(10)];
  expect(ten).toBeGreaterThan(9 * (one - 1));
});

test("a token without kyc:read writes, and gets ids and versions only", async () => {
  const { token, ids } = await makeAccount(["kyc:write"]);
  const document = (selection: string) =>
    `mutation ($input: [UpdateKycInput!]!) { updateKycs(input: $input) { results { kyc { ${selection} } error { code } } } }`;
  const input = [{ id: ids[0], verificationStatus: "FAILED" }];
  const refused = await gateway.graphql(token, document("id customerId"), { input });
  expect(refused.errors?.[0]?.extensions.code).toBe("FORBIDDEN");
  const { data } = await gateway.graphql(token, document("id version"), { input });
  expect(data.updateKycs.results).toEqual([{ kyc: { id: ids[0], version: 2 }, error: null }]);
});
