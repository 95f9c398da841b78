import { afterAll, beforeAll, expect, test } from "vitest";
import { SCOPES } from "../../src/auth/scopes.ts";
import { TABLE_NAMES } from "../../src/db/table-names.ts";
import { prepareImport } from "../../src/kyc/import-kycs.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { importKycs } from "../support/imported.ts";
import { sealAll } from "../support/ledger.ts";
import { acrossAccounts, partitionByAccount, recordStatements, type Sent } from "../support/partitions.ts";
import { createRecord } from "../support/records.ts";
import { addWebhook } from "../support/webhooks.ts";

let gateway: TestApp;
let token: string;
let tables: string[];
let sent: Sent[];

beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true", QUERY_COST_LIMIT: "20000" });
  tables = await partitionByAccount(gateway.db);
  sent = recordStatements(gateway.db);
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

/**
 * Every table: the list of the export that has its data of a customer, or why it has none. A new table must be added here,
 * and to the export if it has data of customers.
 */
const TABLES: Record<string, { list: string } | { none: string }> = {
  kycs: { list: "records" },
  deleted_kycs: { list: "deleted_records" },
  audit_events: { list: "events" },
  audit_event_records: { list: "events" },
  audit_event_customers: { list: "events" },
  legal_holds: { list: "holds" },
  erasures: { list: "erasures" },
  webhook_deliveries: { list: "webhook_deliveries" },
  idempotency_keys: { list: "records" },
  ledger_entries: { none: "hashes and salts of events, whose positions are in the list of events" },
  ledger_heads: { none: "hashes of all events of an account" },
  ledger_nodes: { none: "hashes of all events of an account" },
  ledger_progress: { none: "the state of the sealer" },
  imports: { none: "digests of files and counts" },
  job_leases: { none: "replicas" },
  tokens: { none: "tokens" },
  webhook_endpoints: { none: "receivers" },
  encryption_keys: { none: "keys" },
  milestones: { none: "names of states" },
  secrets: { none: "random secrets" },
};

const EXPORT =
  "query ($id: String!) { customerExport(customerId: $id) { exportedAt position checkpoint content } }";
const ask = (id: string, by = token) => gateway.graphql(by, EXPORT, { id });
const exportOf = async (id: string, by = token) => {
  const { data, errors } = await ask(id, by);
  expect(errors).toBeUndefined();
  return JSON.parse(data.customerExport.content);
};
const seal = () => sealAll(gateway.db, undefined, async () => gateway.digestCustomer);
const mutate = async (text: string, headers = {}) => {
  const { data, errors } = await gateway.graphql(token, `mutation { ${text} }`, {}, headers);
  expect(errors).toBeUndefined();
  return data;
};
/** Stores records of a customer, faster than one by one. */
async function addRecords(customerId: string, count: number): Promise<void> {
  const ctx = {
    ...{ accountId: "acme", requestId: "cmd_1", keys: gateway.keys, idSecret: Buffer.alloc(32) },
    digestCustomer: gateway.digestCustomer,
  };
  const one = { customerId, verificationStatus: "pending", documentType: "visa" } as const;
  const records = Array.from({ length: count }, (_, n) =>
    prepareImport(ctx, { ...one, documentNumber: `N-${n}` }, Date.now()),
  );
  await gateway.db.transaction((tx) => importKycs(tx, ctx, records));
}

test("every table is known to have data of customers or none", () => {
  expect(Object.keys(TABLES).sort()).toEqual([...TABLE_NAMES].sort());
});

test("an export has something of each table with data of customers, and nothing of other customers or accounts", async () => {
  const customerId = "cus of all tables";
  const mine = { customerId, documentNumber: "NUMBER-MINE" };
  await addWebhook(gateway, "acme", "https://example.com/hook");
  const globex = await gateway.token("globex");
  const foreign = await createRecord(gateway, globex, { ...mine, documentNumber: "NUMBER-FOREIGN" });
  const other = await createRecord(gateway, token, { customerId: "cus of", documentNumber: "NUMBER-OTHER" });
  const gone = await createRecord(gateway, token, { ...mine, documentNumber: "NUMBER-GONE" });
  await mutate(`deleteKyc(input: { id: "${gone}", reason: "no longer needed" }) { deletedId }`);
  const { eraseCustomer } = await mutate(
    `eraseCustomer(input: { customerId: "${customerId}", reason: "r" }) { erasure { id } }`,
  );
  const { createKyc } = await mutate(
    `createKyc(input: { customerId: "${customerId}", verificationStatus: PENDING, documentType: VISA,
       documentNumber: "NUMBER-MINE", expiresAt: "2040-01-01T00:00:00Z", reason: "a new case" }) { kyc { id } }`,
    { "idempotency-key": "of this customer" },
  );
  const { id } = createKyc.kyc;
  const { placeHold } = await mutate(
    `placeHold(input: { customerId: "${customerId}", reason: "a case" }) { hold { id } }`,
  );
  await seal();
  await gateway.db.execute(
    `insert into webhook_deliveries (account_id, endpoint_id, position, kyc_id, event_type, state, next_attempt_at, queued_at)
     select account_id, (select id from webhook_endpoints where account_id = 'acme'), position, kyc_ids[1], 'kyc.created',
       'pending', now(), now()
     from ledger_entries join audit_events using (account_id, sequence)
     where account_id = 'acme' and action = 'created' and other_action is null and kyc_ids[1] = any($1)`,
    [[id, other]],
  );
  // One event of a read names records of both customers.
  await gateway.graphql(token, "{ kycs { nodes { documentNumber } } }");

  const file = await exportOf(customerId);
  for (const place of Object.values(TABLES))
    if ("list" in place) expect(file[place.list].length, place.list).toBeGreaterThan(0);
  expect(file).toMatchObject({
    ...{ customer_id: customerId, account: "acme", exported_by: { surface: "graphql", token_name: "test" } },
    ...{ exported_at: expect.stringMatching(/Z$/), checkpoint: expect.stringContaining("/acme\n") },
    records: [
      {
        ...{ id, document_number: "NUMBER-MINE", customer_id: customerId, version: 1 },
        ...{ expires_at: "2040-01-01T00:00:00.000Z", relationship_ended_at: null },
        idempotency_keys: [{ created_at: expect.any(String) }],
      },
    ],
    deleted_records: [{ id: gone, created_at: expect.any(String), deleted_at: expect.any(String) }],
    holds: [{ id: placeHold.hold.id, customer_id: customerId, reason: "a case", is_in_force: true }],
    erasures: [{ id: eraseCustomer.erasure.id, kyc_ids: [] }],
    webhook_deliveries: [{ kyc_id: id, event_type: "kyc.created", state: "pending" }],
    counts: { records: 1, deleted_records: 1, holds: 1, erasures: 1, webhook_deliveries: 1, events: 6 },
  });
  expect(
    file.events.map(({ action, kyc_ids }: { action: string; kyc_ids: string[] }) => [action, ...kyc_ids]),
  ).toEqual([
    ["read", id],
    ["hold_placed"],
    ["created", id],
    ["customer_erased"],
    ["deleted", gone],
    ["created", gone],
  ]);
  expect(JSON.stringify(file)).not.toMatch(new RegExp(`${other}|${foreign}|NUMBER-(OTHER|FOREIGN|GONE)`));
  expect(gateway.logged()).not.toMatch(/NUMBER-/);

  // The other account's export of the same customer has its own record only.
  const theirs = await exportOf(customerId, globex);
  expect(theirs.counts).toMatchObject({ records: 1, events: 1, holds: 0, erasures: 0 });
  expect(theirs.records[0]).toMatchObject({ id: foreign, document_number: "NUMBER-FOREIGN" });
});

test("the trail has the export and the reads of the numbers, by the customer", async () => {
  const customerId = "cus_audited";
  const id = await createRecord(gateway, token, { customerId });
  const eventsOf = async () => {
    const { data } = await gateway.graphql(
      token,
      `{ auditEvents(filter: { customerId: "${customerId}" }) { nodes { action kycIds surface } } }`,
    );
    return data.auditEvents.nodes;
  };
  const [created] = await eventsOf();
  const file = await exportOf(customerId);
  expect(file.events).toHaveLength(1);
  expect(await eventsOf()).toEqual([
    { action: "READ", kycIds: [id], surface: "GRAPHQL" },
    { action: "CUSTOMER_EXPORTED", kycIds: [], surface: "GRAPHQL" },
    created,
  ]);
});

test("a customer whose records were erased still has events, of many pages", async () => {
  const customerId = "cus_erased";
  await addRecords(customerId, 620);
  await mutate(`eraseCustomer(input: { customerId: "${customerId}", reason: "asked" }) { erasure { id } }`);
  const file = await exportOf(customerId);
  expect(file.counts).toMatchObject({ records: 0, deleted_records: 620, erasures: 1, events: 1241 });
  expect(new Set(file.events.map(({ id }: { id: string }) => id)).size).toBe(1241);
  expect(new Set(file.deleted_records.map(({ id }: { id: string }) => id)).size).toBe(620);
});

test("a customer that nothing is held about has empty lists", async () => {
  const file = await exportOf("never seen");
  expect(new Set(Object.values(file.counts))).toEqual(new Set([0]));
});

test("an answer has at most a thousand records, and a refusal is no export", async () => {
  await addRecords("with a thousand", 1000);
  expect((await exportOf("with a thousand")).counts).toMatchObject({ records: 1000, events: 1000 });
  await addRecords("with more", 1001);
  const { data, errors } = await ask("with more");
  expect(data).toEqual({ customerExport: null });
  expect(errors?.[0]).toMatchObject({
    message: expect.stringContaining("more than 1000 records, which is as much as one answer has"),
    extensions: { code: "BAD_USER_INPUT", fields: [{ path: "customerId" }] },
  });
  const trail = await gateway.graphql(
    token,
    '{ auditEvents(filter: { customerId: "with more", action: CUSTOMER_EXPORTED }) { totalCount } }',
  );
  expect(trail.data.auditEvents.totalCount).toBe(0);
});

test("a customer with very many events is refused before they are read", async () => {
  await addRecords("often read", 1);
  await gateway.db.execute(
    `insert into audit_event_customers (account_id, customer_digest, sequence)
     select 'acme', $1, 1000000000 + n from generate_series(1, 10001) n`,
    [gateway.digestCustomer("acme", "often read")],
  );
  const { data, errors } = await ask("often read");
  expect(data).toEqual({ customerExport: null });
  expect(errors?.[0]?.message).toMatch(/more than 10000 events.*kyc-gateway customer export/);
});

test("a file above 2 MiB is refused with what to do", async () => {
  await addRecords("with long texts", 1);
  await gateway.db.execute(
    `with event as (
       insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields,
         reason, has_customers)
       select 'acme', now(), 't', 't', 'rest', 'r', 'updated', '{x}', '{}', repeat('r', 500000), true
       from generate_series(1, 5) returning account_id, sequence
     )
     insert into audit_event_customers (account_id, customer_digest, sequence) select account_id, $1, sequence from event`,
    [gateway.digestCustomer("acme", "with long texts")],
  );
  const { errors } = await ask("with long texts");
  expect(errors?.[0]?.message).toMatch(/more than 2 MiB of data.*kyc-gateway customer export/);
  const trail = await gateway.graphql(
    token,
    '{ auditEvents(filter: { customerId: "with long texts", actionIn: [CUSTOMER_EXPORTED, READ] }) { totalCount } }',
  );
  expect(trail.data.auditEvents.totalCount).toBe(0);
});

test.each(["kyc:read", "kyc:pii", "audit:read", "kyc:hold"])(
  "without %s there is no export",
  async (scope) => {
    const partial = await gateway.token(
      "acme",
      SCOPES.filter((other) => other !== scope),
    );
    const { data, errors } = await ask("cus_audited", partial);
    expect(data).toEqual({ customerExport: null });
    expect(errors?.[0]).toMatchObject({
      message: expect.stringContaining(scope),
      extensions: { code: "FORBIDDEN" },
    });
  },
);

test("an id that no customer can have is refused", async () => {
  expect((await ask("a\u0000b")).errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
});

test("a number that can't be decrypted is null, and the rest is exported", async () => {
  const customerId = "cus_damaged";
  const id = await createRecord(gateway, token, { customerId });
  await gateway.db.execute("update kycs set sealed_number = 'test.broken' where id = $1", [id]);
  expect((await exportOf(customerId)).records).toMatchObject([{ id, document_number: null }]);
});

test("every statement of an export concerns the data of one account", async () => {
  sent.length = 0;
  expect((await exportOf("cus of all tables")).counts.records).toBe(1);
  expect(sent.length).toBeGreaterThan(10);
  expect(await acrossAccounts(gateway.db, tables, sent)).toEqual([]);
});
