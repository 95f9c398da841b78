import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { cpuTime } from "../support/cpu-time.ts";
import { createRecord, goodInput } from "../support/records.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }";
const PLAIN = "query ($id: ID!) { kyc(id: $id) { id } }";

async function cpuOf(work: () => Promise<unknown>): Promise<number> {
  const before = cpuTime();
  await work();
  return cpuTime() - before;
}

test.each([
  ["empty objects", () => ({})],
  ["nulls", () => null],
  ["lists", () => [[]]],
  ["numbers", () => 1.5],
])(
  "a list of many %s is one fault, and costs about what a plain request of its size costs",
  async (_name, item) => {
    const ids = Array.from({ length: 20_000 }, item);
    const plain = () => gateway.graphql(null, PLAIN, { id: "x".repeat(90_000) });
    await plain();
    const reference = await cpuOf(plain);
    let answer: Awaited<ReturnType<TestApp["graphql"]>> | undefined;
    const cost = await cpuOf(async () => {
      answer = await gateway.graphql(null, NODES, { ids });
    });
    expect(answer?.errors).toMatchObject([
      { extensions: { code: "BAD_USER_INPUT", fields: [{ path: "ids" }] } },
    ]);
    expect(cost / reference).toBeLessThan(50);
  },
);

test("an object with thousands of unknown names is an error that names a hundred of them", async () => {
  const input = Object.fromEntries(
    Array.from({ length: 8000 }, (_, index) => [
      `n${String(index).replace(/\d/g, (digit) => "abcdefghij"[Number(digit)] ?? "")}`,
      1,
    ]),
  );
  const query = "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }";
  const { errors } = await gateway.graphql(null, query, { input: { ...goodInput, ...input } });
  expect(errors?.[0]?.extensions.fields).toHaveLength(100);
});

test("a document that repeats fields and fragments too often is refused before it is validated", async () => {
  const parts = Array.from({ length: 320 }, (_, index) => index);
  const query = `{ kyc(id: "x") { ${parts.map((part) => `...f${part}`).join(" ")} } }
    ${parts.map((part) => `fragment f${part} on Kyc { history(first: 1) { nodes { id } } }`).join(" ")}`;
  const { errors } = await gateway.graphql(null, query);
  expect(errors?.[0]).toMatchObject({
    message: expect.stringContaining("comparisons"),
    extensions: { code: "QUERY_TOO_COMPLEX" },
  });
});

test("a text of many lines with many errors costs about what a text of one line with as many errors costs", async () => {
  const fields = Array.from({ length: 90 }, (_, index) => `f${index}`);
  const text = (space: string) => `{ ${space} ${fields.join(` ${space.slice(0, 2)} `)} }`;
  await gateway.graphql(null, text(" "));
  const reference = await cpuOf(() => gateway.graphql(null, text(" ".repeat(40_000))));
  let answer: Awaited<ReturnType<TestApp["graphql"]>> | undefined;
  const cost = await cpuOf(async () => {
    answer = await gateway.graphql(null, text("\n".repeat(40_000)));
  });
  expect(answer?.errors).toHaveLength(90);
  expect(answer?.errors?.[0]).toMatchObject({ locations: [{ line: 40_001, column: 2 }] });
  expect(cost / reference).toBeLessThan(20);
});

test("a mutation with a variable in an object literal that is left out is the same twenty times", async () => {
  const token = await gateway.token("acme");
  const id = await createRecord(gateway, token);
  const query = `mutation ($id: ID!, $v: Int) {
    updateKyc(input: { id: $id, verificationStatus: VERIFIED, expectedVersion: $v }) { kyc { version } }
  }`;
  for (let sending = 0; sending < 20; sending++) {
    const { data, errors } = await gateway.graphql(token, query, { id });
    expect(errors).toBeUndefined();
    expect(data.updateKyc.kyc.version).toBe(2);
  }
});

test.each([
  ["2026-03-01T12:30Z", true],
  ["2026-03-01T12:30:00+0000", true],
  ["2026-03-01T12:30:00.123456789+00", true],
  ["2026-03-01", false],
  ["2026-03-01T12:30:00", false],
  ["2026-02-30T12:30:00Z", false],
])("a bound of %s: taken %s", async (from, taken) => {
  const token = await gateway.token("acme");
  const query = "query ($from: DateTime) { kycs(filter: { createdAt: { from: $from } }) { totalCount } }";
  const { errors } = await gateway.graphql(token, query, { from });
  expect(errors === undefined).toBe(taken);
  if (errors) expect(errors[0]?.message).toContain("such as 2026-03-01T12:30:00Z");
});

test("a range takes exactly the records in it, also if its bounds are finer than a millisecond", async () => {
  const token = await gateway.token("fine");
  gateway.clock.now = Date.parse("2026-01-01T00:00:00.315Z");
  const id = await createRecord(gateway, token);
  gateway.clock.now = undefined;
  const query = "query ($range: DateTimeRange) { kycs(filter: { createdAt: $range }) { nodes { id } } }";
  const inRange = async (range: object) =>
    (await gateway.graphql(token, query, { range })).data.kycs.nodes.length;
  expect(id).toMatch(/^\w{16}$/);
  expect(await inRange({ to: "2026-01-01T00:00:00.315999999Z" })).toBe(1);
  expect(await inRange({ to: "2026-01-01T00:00:00.315Z" })).toBe(0);
  expect(await inRange({ from: "2026-01-01T00:00:00.315000001Z" })).toBe(0);
  expect(await inRange({ from: "2026-01-01T00:00:00.315Z" })).toBe(1);
  expect(await inRange({ from: "2026-01-01T01:00:00.315+0100" })).toBe(1);
});

test("a long name in the answer costs more, for each record that it is repeated for", async () => {
  const token = await gateway.token("acme");
  const costWith = async (name: string) =>
    (await gateway.graphql(token, `{ kycs(first: 100) { nodes { ${name}: id } } }`)).extensions.cost
      .requested;
  expect(await costWith("a".repeat(31))).toBe(201);
  expect(await costWith("a".repeat(320))).toBe(201 + 10 * 100);
});
