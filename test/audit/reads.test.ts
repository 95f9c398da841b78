import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord, goodInput } from "../support/records.ts";

let gateway: TestApp;
let token: string;
let ids: string[];
beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "on" });
  token = await gateway.token("acme");
  ids = [];
  for (let index = 0; index < 3; index++) ids.unshift(await createRecord(gateway, token));
});
beforeEach(() => gateway.db.execute("truncate audit_events, audit_event_records"));
afterAll(() => gateway.close());

const reads = () =>
  gateway.db.execute<{ surface: string; kyc_ids: string[]; request_id: string }>(
    "select surface, kyc_ids, request_id from audit_events where action = 'read' order by sequence",
  );
const BY_ID = "query ($id: ID!) { kyc(id: $id) { id documentNumber } }";
const INPUT = `customerId: "c", verificationStatus: PENDING, documentType: VISA`;

test("an answer with numbers leaves one event, whatever it was asked through and however many they are", async () => {
  const [a, b, c] = ids as [string, string, string];
  for (let turn = 0; turn < 3; turn++) await gateway.graphql(token, BY_ID, { id: a });
  const get = `/graphql?query=${encodeURIComponent(`{ kyc(id: "${b}") { documentNumber } }`)}`;
  await gateway.rest(token, "GET", get);
  await gateway.graphql(
    token,
    "{ kycs { edges { node { documentNumber } } } again: kycs { nodes { documentNumber } } }",
  );
  await gateway.graphql(
    token,
    `{ node(id: "${a}") { ... on Kyc { documentNumber } } nodes(ids: ["${c}"]) { ... on Kyc { documentNumber } } }`,
  );
  await gateway.rest(token, "GET", `/v1/kyc/${a}`);
  const list = await gateway.rest(token, "GET", "/v1/kyc?limit=2");
  expect(await reads()).toMatchObject([
    ...Array(3).fill({ surface: "graphql", kyc_ids: [a] }),
    { surface: "graphql", kyc_ids: [b] },
    { surface: "graphql", kyc_ids: ids },
    {
      surface: "graphql",
      kyc_ids: expect.toSatisfy((kycIds: string[]) => kycIds.toSorted().join() === [a, c].toSorted().join()),
    },
    { surface: "rest", kyc_ids: [a] },
    { surface: "rest", kyc_ids: ids.slice(0, 2), request_id: list.headers["request-id"] },
  ]);
});

test("a mutation's answer with the number leaves a read in addition to the change", async () => {
  const create = `mutation { createKyc(input: { ${INPUT}, documentNumber: "1" }) { kyc { id documentNumber } } }`;
  const { data } = await gateway.graphql(token, create);
  const { id } = data.createKyc.kyc;
  await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { document_type: "other" } });
  await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { document_type: "other" } });
  await gateway.graphql(
    token,
    `mutation { updateKyc(input: { id: "${id}", documentType: VISA }) { kyc { id } } }`,
  );
  await gateway.rest(token, "DELETE", `/v1/kyc/${id}`);
  const found = await gateway.db.execute("select action, kyc_ids from audit_events order by sequence");
  expect(found.map(({ action }) => action)).toEqual([
    ...["created", "read", "updated", "read", "read", "updated", "deleted"],
  ]);
  const records = await gateway.db.execute(`select sequence from audit_event_records where kyc_id = '${id}'`);
  expect(records).toHaveLength(7);
});

test("an answer without a number leaves none", async () => {
  const [id] = ids as [string];
  await gateway.graphql(token, "query ($id: ID!) { kyc(id: $id) { id customerId version } }", { id });
  await gateway.graphql(token, BY_ID, { id: "0000000000000000" });
  await gateway.graphql(token, "{ kycs { totalCount pageInfo { endCursor } } }");
  await gateway.graphql(token, `{ kyc(id: "${id}") { documentNumber } kycs(first: 101) { totalCount } }`);
  const etag = (await gateway.rest(token, "HEAD", `/v1/kyc/${id}`)).headers.etag as string;
  const answer = await gateway.rest(token, "GET", `/v1/kyc/${id}`, { headers: { "if-none-match": etag } });
  expect(answer.statusCode).toBe(304);
  await gateway.rest(token, "GET", "/v1/kyc?customer_id=nobody");
  await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { created_at: "1" } });
  expect(await reads()).toEqual([]);
});

test("a masked number is none: an answer to a token without kyc:pii leaves no event", async () => {
  const reader = await gateway.token("acme", ["kyc:read"]);
  const { data } = await gateway.graphql(reader, BY_ID, { id: ids[0] });
  expect(data.kyc.documentNumber).toContain("•");
  expect((await gateway.rest(reader, "GET", "/v1/kyc")).json().data).toHaveLength(3);
  expect(await reads()).toEqual([]);
});

test("answers of one moment leave an event each, in few statements", async () => {
  const sent = vi.spyOn(gateway.db, "send");
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, turn) => gateway.graphql(token, BY_ID, { id: ids[turn % 3] })),
  );
  const statements = sent.mock.calls.filter(([text]) => text.includes("insert into audit_events"));
  sent.mockRestore();
  const found = await reads();
  expect(found.map((event) => event.request_id).sort()).toEqual(
    answers.map(({ headers }) => String(headers["request-id"])).sort(),
  );
  expect(statements.length).toBeLessThan(20);
});

test("if the event can't be written, the answer is UNAVAILABLE and has no number", async () => {
  const [id] = ids as [string];
  await gateway.db.execute("alter table audit_events rename to audit_events_away");
  try {
    for (let turn = 0; turn < 3; turn++) {
      const { status, data, errors } = await gateway.graphql(token, BY_ID, { id });
      expect({ status, data, code: errors?.[0]?.extensions.code }).toEqual({
        status: 503,
        data: undefined,
        code: "UNAVAILABLE",
      });
    }
    for (const url of [
      `/v1/kyc/${id}`,
      "/v1/kyc",
      `/graphql?query=${encodeURIComponent("{ kycs { nodes { documentNumber } } }")}`,
    ]) {
      const answer = await gateway.rest(token, "GET", url);
      expect(answer.statusCode).toBe(503);
      expect(answer.headers["retry-after"]).toBe("1");
      expect(answer.body).not.toContain(goodInput.documentNumber);
    }
    // An answer without a number needs no event.
    expect((await gateway.graphql(token, "{ kycs { totalCount } }")).status).toBe(200);
  } finally {
    await gateway.db.execute("alter table audit_events_away rename to audit_events");
  }
});

test("a write whose read can't be written stands, and its retry under the same key is no second one", async () => {
  const account = await gateway.token("retrying");
  const headers = { "idempotency-key": "key" };
  const create = () =>
    gateway.rest(account, "POST", "/v1/kyc", {
      form: {
        customer_id: "c",
        verification_status: "pending",
        document_type: "visa",
        document_number: "R-1",
      },
      headers,
    });
  const createOverGraphql = () =>
    gateway.graphql(
      account,
      `mutation { createKyc(input: { ${INPUT}, documentNumber: "R-1" }) { kyc { documentNumber } } }`,
      {},
      headers,
    );
  await gateway.db.execute("alter table audit_events add constraint no_reads check (action <> 'read')");
  try {
    expect((await create()).statusCode).toBe(503);
    // An answer that repeats the first one has failed: what goes in its place repeats nothing.
    const [overRest, overGraphql] = [await create(), await createOverGraphql()];
    expect([overRest.statusCode, overGraphql.status]).toEqual([503, 503]);
    for (const answer of [overRest, overGraphql]) {
      expect(answer.headers["idempotent-replayed"]).toBeUndefined();
      expect(answer.headers.etag ?? answer.headers.location).toBeUndefined();
    }
  } finally {
    await gateway.db.execute("alter table audit_events drop constraint no_reads");
  }
  const again = await create();
  expect(again.statusCode).toBe(201);
  expect(again.headers["idempotent-replayed"]).toBe("true");
  expect((await createOverGraphql()).headers["idempotent-replayed"]).toBe("true");
  expect((await gateway.rest(account, "GET", "/v1/kyc")).json().data).toEqual([again.json()]);
});

test("a list with a number that can't be decrypted leaves an event of the others", async () => {
  const account = await gateway.token("damaged");
  const damaged = await createRecord(gateway, account);
  const others = [await createRecord(gateway, account), await createRecord(gateway, account)];
  await gateway.db.execute(
    `update kycs set sealed_number = (select sealed_number from kycs where id = $1) where id = $2`,
    [ids[0], damaged],
  );
  await gateway.db.execute("delete from audit_events where action = 'created'");
  for (const id of [damaged, ...others]) await gateway.rest(account, "GET", `/v1/kyc/${id}`);
  await gateway.rest(account, "GET", "/v1/kyc");
  await gateway.graphql(account, "{ kycs { nodes { documentNumber } } }");
  expect((await reads()).map((event) => event.kyc_ids)).toEqual([
    ...others.map((id) => [id]),
    ...[others.toReversed(), others.toReversed()],
  ]);
});

const SELECTIONS = ["nodes { id }", "totalCount", "pageInfo { hasNextPage }", "__typename"];

test("a search by number that finds records leaves one event of them, whatever is selected", async () => {
  const account = await gateway.token("searched");
  const other = await createRecord(gateway, account, { documentNumber: "SX-2" });
  const found = [await createRecord(gateway, account, { documentNumber: "SX-1" })];
  found.unshift(await createRecord(gateway, account, { documentNumber: "SX-1" }));
  const search = (selection: string, documentNumber: string, args = "first: 5") =>
    gateway.graphql(
      account,
      `query ($n: String!) { kycs(${args}, filter: { documentNumber: $n }) { ${selection} } }`,
      { n: documentNumber },
    );
  for (const selection of SELECTIONS) await search(selection, "SX-1");
  await search("totalCount", " SX-2 ");
  await search("totalCount", "SX-1", `first: 1, after: "${found[1]}"`);
  await search("totalCount", "SX-1", "first: 0");
  await gateway.rest(account, "GET", "/v1/kyc?document_number=SX-1&limit=1");
  await gateway.rest(account, "HEAD", "/v1/kyc?document_number=SX-1");
  await gateway.rest(account, "POST", "/v1/kyc/search", { json: { document_number: "SX-1" } });
  await gateway.rest(account, "GET", "/v1/kyc?document_number=SX-1", { headers: { "if-none-match": "*" } });
  await gateway.rest(account, "POST", "/v1/kyc/search", {
    json: { document_number: "SX-1" },
    headers: { "if-match": "*" },
  });
  expect((await reads()).map((event) => event.kyc_ids)).toEqual([
    ...SELECTIONS.map(() => found),
    ...[[other], [found[0]], [found[0]], [found[0]]],
    ...[found, found, found, found],
  ]);
});

test("a search by number that finds nothing, or fails, leaves none", async () => {
  await gateway.graphql(
    token,
    `{ kycs(filter: { documentNumber: "SX-9" }) { nodes { documentNumber } totalCount } }`,
  );
  await gateway.rest(token, "GET", "/v1/kyc?document_number=SX-9");
  await gateway.rest(token, "GET", `/v1/kyc?document_number=${goodInput.documentNumber}&limit=0`);
  const elsewhere = await gateway.token("elsewhere");
  await gateway.rest(elsewhere, "GET", `/v1/kyc?document_number=${goodInput.documentNumber}`);
  const reader = await gateway.token("acme", ["kyc:read"]);
  const refused = await gateway.rest(reader, "GET", `/v1/kyc?document_number=${goodInput.documentNumber}`);
  expect(refused.statusCode).toBe(403);
  expect(await reads()).toEqual([]);
});

test("an update that confirms the record's number leaves one event, and one with another number none", async () => {
  const id = await createRecord(gateway, token, { documentNumber: "SX-3" });
  const update = (text: string, as = token) =>
    gateway.graphql(
      as,
      `mutation ($n: String!) { updateKyc(input: { id: "${id}", documentNumber: $n }) { kyc { id } } }`,
      { n: text },
    );
  await update(" SX-3 ");
  await gateway.rest(token, "PATCH", `/v1/kyc/${id}`, { json: { document_number: "SX-3" } });
  const writer = await gateway.token("acme", ["kyc:write", "kyc:pii"]);
  await gateway.rest(writer, "PATCH", `/v1/kyc/${id}`, { json: { document_number: "SX-3" } });
  expect((await reads()).map((event) => event.kyc_ids)).toEqual([[id], [id], [id]]);
  await update("SX-4");
  await update("••-4");
  const clerk = await gateway.token("acme", ["kyc:read", "kyc:write"]);
  await update("SX-4", clerk);
  await gateway.rest(token, "PATCH", `/v1/kyc/${id}`, {
    json: { document_number: "SX-4" },
    headers: { "if-match": '"1"' },
  });
  expect(await reads()).toHaveLength(3);
});

test("an error that confirms a number leaves an event, too", async () => {
  const id = await createRecord(gateway, token, { documentNumber: "SX-5000" });
  const refused = await gateway.rest(token, "DELETE", `/v1/kyc/${id}`, {
    headers: { "kyc-reason": "has SX 5000" },
  });
  expect(refused.statusCode).toBe(400);
  expect((await reads()).map((event) => event.kyc_ids)).toEqual([[id]]);
});

test("an answer shows a thousand numbers at most; one that is refused leaves no event", async () => {
  gateway.keys.reached.delete("numbers_sealed");
  const many = await gateway.token("many");
  await gateway.db.execute(`
    insert into kycs (account_id, id, customer_id, verification_status, document_type, document_number,
      created_at, updated_at, version)
    select 'many', lpad(n::text, 16, '0'), 'c', 'pending', 'visa', 'N-' || n, now(), now(), 1
    from generate_series(1, 1001) as n`);
  const ask = (count: number) => {
    const all = Array.from({ length: count }, (_, index) => String(index + 1).padStart(16, "0"));
    return gateway.graphql(
      many,
      `{ ${Array.from({ length: Math.ceil(count / 100) }, (_, page) => `p${page}: nodes(ids: ${JSON.stringify(all.slice(page * 100, page * 100 + 100))}) { ... on Kyc { documentNumber } }`)} }`,
    );
  };
  const refused = await ask(1001);
  expect(refused).toMatchObject({ status: 400, data: undefined });
  expect(refused.errors?.[0]?.extensions.code).toBe("QUERY_TOO_COMPLEX");
  expect(await reads()).toEqual([]);
  expect((await ask(1000)).data.p9[99]).toEqual({ documentNumber: "N-1000" });
  expect((await reads()).map((event) => event.kyc_ids.length)).toEqual([1000]);
});

test("no row of the trail has a document number", async () => {
  const id = await createRecord(gateway, token, { documentNumber: "CANARY-4711" });
  await gateway.rest(token, "GET", `/v1/kyc/${id}`);
  await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { document_number: "CANARY-4712" } });
  await gateway.rest(token, "DELETE", `/v1/kyc/${id}`, { headers: { "kyc-reason": "no CANARY-4712" } });
  await gateway.rest(token, "DELETE", `/v1/kyc/${id}`, { headers: { "kyc-reason": "a reason" } });
  const rows = await gateway.db.execute(
    "select event.*, record.* from audit_events event, audit_event_records record",
  );
  expect(rows.length).toBeGreaterThan(5);
  expect(JSON.stringify(rows)).not.toMatch(/canary/i);
});
