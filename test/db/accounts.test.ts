import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { removeExpiredKeys } from "../../src/idempotency/store.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { aCreate, SURFACES, type Write, write } from "../support/once.ts";
import {
  acrossAccounts,
  NOT_PARTITIONED,
  partitionByAccount,
  recordStatements,
  type Sent,
} from "../support/partitions.ts";
import { createRecord, goodInput } from "../support/records.ts";

/** Keys and indexes that do not lead with the account, and why. */
const WITHOUT_ACCOUNT: Record<string, string> = {
  tokens_by_hash: NOT_PARTITIONED.tokens ?? "",
  encryption_keys_pkey: NOT_PARTITIONED.encryption_keys ?? "",
  milestones_pkey: NOT_PARTITIONED.milestones ?? "",
  secrets_pkey: NOT_PARTITIONED.secrets ?? "",
  idempotency_keys_by_time: "what is old is removed for all accounts at once",
  ledger_progress_pkey: NOT_PARTITIONED.ledger_progress ?? "",
  job_leases_pkey: NOT_PARTITIONED.job_leases ?? "",
  audit_events_by_transaction: "what is new is sealed for all accounts at once",
};

let gateway: TestApp;
let tables: string[];
let sent: Sent[];

beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

test("every key and index leads with the account, but for those that are named here", async () => {
  const rows = await gateway.db.execute<{ name: string; leads: string }>(`
    select index.relname as name, attname as leads
    from pg_index join pg_class index on index.oid = indexrelid
    left join pg_attribute on attrelid = indrelid and attnum = indkey[0]
    where index.relnamespace = 'public'::regnamespace`);
  expect(rows.length).toBeGreaterThan(5);
  const others = rows.filter(({ leads }) => leads !== "account_id").map(({ name }) => name);
  expect(others.filter((name) => !(name in WITHOUT_ACCOUNT))).toEqual([]);
});

describe("on tables that are partitioned on the account", () => {
  beforeAll(async () => {
    tables = await partitionByAccount(gateway.db);
    // Of several accounts each partition may have one.
    for (const account of ["acme", "globex", "initech"]) {
      const token = await gateway.token(account);
      for (const customerId of ["c1", "c2", "c3"]) await createRecord(gateway, token, { customerId });
    }
    sent = recordStatements(gateway.db);
  });

  test("both surfaces serve everything", async () => {
    const token = await gateway.token("acme");
    const before = sent.length;
    const page = `{ nodes { id version } edges { cursor } pageInfo { hasNextPage hasPreviousPage } totalCount }`;
    const first = await gateway.graphql(token, `{ kycs(first: 2) ${page} }`);
    expect(first.data.kycs.totalCount).toBe(3);
    const [{ id }, other] = first.data.kycs.nodes;
    const [{ cursor }] = first.data.kycs.edges;

    const filters = ['customerId: "c1"', "verificationStatus: PENDING", "documentType: PASSPORT"];
    const range = 'createdAt: { from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }';
    for (const filter of [...filters, range, [...filters, range].join(", ")]) {
      const { data, errors } = await gateway.graphql(
        token,
        `query ($c: String) { page: kycs(first: 1, after: $c, filter: { ${filter} }) ${page}
           back: kycs(last: 1, before: $c, filter: { ${filter} }) ${page} }`,
        { c: cursor },
      );
      expect(errors).toBeUndefined();
      expect(data.page.totalCount).toBeGreaterThan(0);
    }
    // Several of a kind in one request share a statement.
    const many = await gateway.graphql(
      token,
      `{ ${["c1", "c2", "c3"].map((c) => `${c}: kycs(first: 1, filter: { customerId: "${c}" }) { nodes { id } }`).join(" ")}
         a: kyc(id: "${id}") { id } b: kyc(id: "${other.id}") { id } nodes(ids: ["${id}", "${other.id}"]) { id } }`,
    );
    expect(many.errors).toBeUndefined();
    expect([many.data.c1.nodes, many.data.c2.nodes, many.data.c3.nodes].flat()).toHaveLength(3);

    const [made] = await Promise.all([1, 2].map(() => createRecord(gateway, token, goodInput)));
    const rest = (method: "GET" | "PUT" | "DELETE", url: string, form?: Record<string, string>) =>
      gateway.rest(token, method, url, form && { form });
    const answers = [
      await rest("PUT", `/v1/kyc/${made}`, { verification_status: "verified", document_number: "N-2" }),
      await rest("GET", `/v1/kyc/${made}`),
      await rest("GET", `/v1/kyc?ending_before=${made}&limit=2`),
      await rest("DELETE", `/v1/kyc/${made}`),
      await rest("GET", `/v1/kyc?starting_after=${made}&customer_id=c1`),
    ];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 200, 200]);
    expect(sent.length).toBeGreaterThan(before + 20);
  });

  test("keyed writes are done once, and repeated after their deletion they find nothing", async () => {
    const token = await gateway.token("globex");
    const twice = async (wanted: Write, key: string) => {
      const [first, again] = [
        await write(gateway, "rest", token, wanted, key),
        await write(gateway, "graphql", token, wanted, key),
      ];
      expect(again).toEqual({ ...first, code: "OK", replayed: true });
      return first.id;
    };
    const id = await twice(aCreate("N-3"), "made");
    await twice({ operation: "update", id, input: { documentNumber: "N-4" } }, "changed");
    await twice({ operation: "delete", id }, "deleted");
    for (const surface of SURFACES) {
      expect(await write(gateway, surface, token, aCreate("N-3"), "made")).toMatchObject({
        code: "NOT_FOUND",
      });
    }
  });

  test("the trail is found by each of its filters, and a record by its number", async () => {
    const token = await gateway.token("initech");
    const id = await createRecord(gateway, token, { documentNumber: "N-5" });
    const page = "{ nodes { sequence action tokenId } pageInfo { hasNextPage } totalCount }";
    const { data, errors } = await gateway.graphql(
      token,
      `{ kycs(filter: { documentNumber: "N-5" }) { nodes { id history(first: 2) ${page} } totalCount } }`,
    );
    expect(errors).toBeUndefined();
    const [found, ...more] = data.kycs.nodes;
    expect({ id: found.id, more, total: found.history.totalCount }).toEqual({ id, more: [], total: 1 });
    const rest = await gateway.rest(token, "GET", "/v1/kyc?document_number=N-5");
    expect(rest.json().data.map((row: { id: string }) => row.id)).toEqual([id]);

    const [{ tokenId }] = found.history.nodes;
    const range = 'at: { from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }';
    const filters = [`kycId: "${id}"`, `tokenId: "${tokenId}"`, "action: CREATED", range];
    for (const filter of ["", ...filters, filters.join(", ")]) {
      const trail = await gateway.graphql(token, `{ auditEvents(first: 1, filter: { ${filter} }) ${page} }`);
      expect(trail.errors).toBeUndefined();
      expect(trail.data.auditEvents.totalCount).toBeGreaterThan(0);
    }
  });

  test("every statement that was sent concerns the partition of one account", async () => {
    expect(new Set(sent.map(({ text }) => text)).size).toBeGreaterThan(15);
    expect(await acrossAccounts(gateway.db, tables, sent)).toEqual([]);
  });

  test("the sweep alone concerns them all, and removes no key but the old ones", async () => {
    await gateway.db.execute(`
      delete from idempotency_keys;
      insert into idempotency_keys (account_id, key_hash, kyc_id, created_at)
      select 'account' || n, 'hash', 'record', now() - case when n % 2 = 0 then interval '1 day' else '0' end
      from generate_series(1, 40) n`);
    const before = sent.length;
    expect(await removeExpiredKeys(gateway.db, 15)).toBe(15);
    expect(await removeExpiredKeys(gateway.db, 15)).toBe(5);
    const left = await gateway.db.execute("select account_id from idempotency_keys");
    expect(left.map(({ account_id }) => account_id).sort()).toEqual(
      Array.from({ length: 20 }, (_, n) => `account${2 * n + 1}`).sort(),
    );
    const [sweep] = sent.slice(before);
    expect(await acrossAccounts(gateway.db, tables, sent.slice(before))).toEqual([sweep?.text]);
  });

  test("a statement without the account would concern them all", async () => {
    const values = ["x"];
    const wrong = [
      "select from kycs where id = $1",
      "update kycs set version = 1 where id = $1",
      "insert into deleted_kycs select from kycs where id = $1",
    ].map((text) => ({ text, values }));
    const right = { text: "select from kycs where account_id = $1", values };
    const found = await acrossAccounts(gateway.db, tables, [...wrong, right]);
    expect(found).toEqual(wrong.map(({ text }) => text));
  });
});
