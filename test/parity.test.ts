import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SCOPES, type Scope } from "../src/auth/scopes.ts";
import { createTestApp, type TestApp } from "./support/app.ts";
import { acrossAccounts, partitionByAccount, recordStatements, type Sent } from "./support/partitions.ts";

/** The outcome of a request, in the same form for both surfaces. */
interface Outcome {
  code: string;
  /** The fields at fault, by their GraphQL names without the argument. */
  fields: string[];
}

type RecordName = "own" | "damaged" | "foreign" | "unknown" | "misshapen";

interface Scenario {
  name: string;
  /** The scopes of the token; null: no token. */
  scopes?: Scope[] | null;
  operation: "create" | "get" | "list" | "update" | "delete";
  /** Which record; one whose number can't be decrypted, one of another account, one that never was, one of the wrong shape. */
  record?: RecordName;
  /** By GraphQL names; both surfaces are given the same. */
  input?: Record<string, unknown>;
  expectedVersion?: number;
  /** The update leaves the record as it is. */
  unchanged?: true;
  /** The idempotency key. `new`: another one on each surface; `used`: one that has created a record before. */
  key?: string;
  outcome: Outcome;
}

const ok: Outcome = { code: "OK", fields: [] };
const fails = (code: string, ...fields: string[]): Outcome => ({ code, fields });
const good = {
  customerId: "customer-1",
  verificationStatus: "pending",
  documentType: "passport",
  documentNumber: "X1234567",
};
const READ: Scope[] = ["kyc:read"];
const WRITE: Scope[] = ["kyc:write"];
const CLERK: Scope[] = ["kyc:read", "kyc:write"];
const DELETE: Scope[] = ["kyc:delete"];
const PII: Scope[] = ["kyc:read", "kyc:pii"];

const scenarios: Scenario[] = [
  { name: "create: good", operation: "create", input: good, outcome: ok },
  {
    name: "create: space around the number is removed",
    operation: "create",
    input: { ...good, documentNumber: "  AB 12 " },
    outcome: ok,
  },
  {
    name: "create: empty customer",
    operation: "create",
    input: { ...good, customerId: "" },
    outcome: fails("BAD_USER_INPUT", "customerId"),
  },
  {
    name: "create: customer of 129 characters",
    operation: "create",
    input: { ...good, customerId: "a".repeat(129) },
    outcome: fails("BAD_USER_INPUT", "customerId"),
  },
  {
    name: "create: customer of 128 astral characters",
    operation: "create",
    input: { ...good, customerId: "😀".repeat(128) },
    outcome: ok,
  },
  {
    name: "create: control characters everywhere",
    operation: "create",
    input: { ...good, customerId: "a\u0000b", documentNumber: "1\t2" },
    outcome: fails("BAD_USER_INPUT", "customerId", "documentNumber"),
  },
  {
    name: "create: number of blanks",
    operation: "create",
    input: { ...good, documentNumber: "   " },
    outcome: fails("BAD_USER_INPUT", "documentNumber"),
  },
  {
    name: "create: number of 65 characters",
    operation: "create",
    input: { ...good, documentNumber: "1".repeat(65) },
    outcome: fails("BAD_USER_INPUT", "documentNumber"),
  },
  {
    name: "create: everything that only the rules refuse, at once",
    operation: "create",
    input: { ...good, customerId: "", documentNumber: "" },
    outcome: fails("BAD_USER_INPUT", "customerId", "documentNumber"),
  },
  {
    name: "create: with a reason",
    operation: "create",
    input: { ...good, reason: " They asked. " },
    outcome: ok,
  },
  {
    name: "create: a bad reason",
    operation: "create",
    input: { ...good, reason: "a".repeat(501) },
    outcome: fails("BAD_USER_INPUT", "reason"),
  },
  {
    name: "create: a reason with the number",
    operation: "create",
    input: { ...good, reason: "for x1234567!" },
    outcome: fails("BAD_USER_INPUT", "reason"),
  },
  {
    name: "create: no token",
    operation: "create",
    scopes: null,
    input: good,
    outcome: fails("UNAUTHENTICATED"),
  },
  { name: "create: no scope", operation: "create", scopes: READ, input: good, outcome: fails("FORBIDDEN") },
  {
    name: "create: no scope goes before bad input",
    operation: "create",
    scopes: READ,
    input: { ...good, customerId: "" },
    outcome: fails("FORBIDDEN"),
  },
  {
    name: "create: masked number",
    operation: "create",
    input: { ...good, documentNumber: "••••4567", customerId: "" },
    outcome: fails("BAD_USER_INPUT", "customerId", "documentNumber"),
  },
  { name: "create: with a key", operation: "create", input: good, key: "new", outcome: ok },
  {
    name: "create: with a key that is too long",
    operation: "create",
    input: { ...good, customerId: "" },
    key: "k".repeat(256),
    outcome: fails("BAD_USER_INPUT", "Idempotency-Key", "customerId"),
  },
  {
    name: "create: with an empty key",
    operation: "create",
    input: good,
    key: "",
    outcome: fails("BAD_USER_INPUT", "Idempotency-Key"),
  },
  {
    name: "create: with a key that was used otherwise",
    operation: "create",
    input: good,
    key: "used",
    outcome: fails("IDEMPOTENCY_MISMATCH"),
  },
  {
    name: "create: no scope, with a key that was used otherwise",
    operation: "create",
    scopes: READ,
    input: good,
    key: "used",
    outcome: fails("FORBIDDEN"),
  },
  { name: "get: with an empty key", operation: "get", record: "own", key: "", outcome: ok },
  { name: "get: good", operation: "get", record: "own", scopes: READ, outcome: ok },
  { name: "get: foreign", operation: "get", record: "foreign", outcome: fails("NOT_FOUND") },
  { name: "get: unknown", operation: "get", record: "unknown", outcome: fails("NOT_FOUND") },
  { name: "get: misshapen id", operation: "get", record: "misshapen", outcome: fails("NOT_FOUND") },
  { name: "get: no token", operation: "get", record: "own", scopes: null, outcome: fails("UNAUTHENTICATED") },
  { name: "get: no scope", operation: "get", record: "own", scopes: WRITE, outcome: fails("FORBIDDEN") },
  { name: "list: good", operation: "list", scopes: READ, outcome: ok },
  { name: "list: filtered", operation: "list", input: { customerId: "customer-1" }, outcome: ok },
  {
    name: "list: empty customer",
    operation: "list",
    input: { customerId: "" },
    outcome: fails("BAD_USER_INPUT", "filter.customerId"),
  },
  {
    name: "list: of a kind of document",
    operation: "list",
    input: { documentType: "passport", verificationStatus: "pending" },
    outcome: ok,
  },
  {
    name: "list: of a number",
    operation: "list",
    scopes: PII,
    input: { documentNumber: " X1234567 " },
    outcome: ok,
  },
  {
    name: "list: of a number, without the scope for numbers",
    operation: "list",
    scopes: READ,
    input: { documentNumber: "X1234567" },
    outcome: fails("FORBIDDEN"),
  },
  {
    name: "list: no scope for numbers goes before bad input",
    operation: "list",
    scopes: READ,
    input: { documentNumber: "", first: -1 },
    outcome: fails("FORBIDDEN"),
  },
  {
    name: "list: of an empty number and of an empty customer",
    operation: "list",
    scopes: PII,
    input: { documentNumber: "", customerId: "" },
    outcome: fails("BAD_USER_INPUT", "filter.customerId", "filter.documentNumber"),
  },
  {
    name: "list: of a masked number",
    operation: "list",
    scopes: PII,
    input: { documentNumber: "••••4567" },
    outcome: fails("BAD_USER_INPUT", "filter.documentNumber"),
  },
  { name: "list: 101", operation: "list", input: { first: 101 }, outcome: fails("BAD_USER_INPUT", "first") },
  { name: "list: -1", operation: "list", input: { first: -1 }, outcome: fails("BAD_USER_INPUT", "first") },
  {
    name: "list: from an own record",
    operation: "list",
    record: "own",
    input: { after: "own" },
    outcome: ok,
  },
  {
    name: "list: from a foreign record",
    operation: "list",
    input: { after: "foreign" },
    outcome: fails("BAD_USER_INPUT", "after"),
  },
  {
    name: "list: up to a record that never was",
    operation: "list",
    input: { before: "unknown" },
    outcome: fails("BAD_USER_INPUT", "before"),
  },
  {
    name: "list: from what is no cursor",
    operation: "list",
    input: { after: "misshapen" },
    outcome: fails("BAD_USER_INPUT", "after"),
  },
  { name: "list: no token", operation: "list", scopes: null, outcome: fails("UNAUTHENTICATED") },
  { name: "list: no scope", operation: "list", scopes: WRITE, outcome: fails("FORBIDDEN") },
  {
    name: "update: good",
    operation: "update",
    record: "own",
    scopes: WRITE,
    input: { verificationStatus: "verified" },
    outcome: ok,
  },
  { name: "update: nothing", operation: "update", record: "own", input: {}, unchanged: true, outcome: ok },
  {
    name: "update: at the expected version",
    operation: "update",
    record: "own",
    expectedVersion: 1,
    input: { documentType: "visa" },
    outcome: ok,
  },
  {
    name: "update: conflict",
    operation: "update",
    record: "own",
    expectedVersion: 7,
    input: { documentType: "visa" },
    outcome: fails("VERSION_CONFLICT"),
  },
  {
    name: "update: conflict even where nothing would change",
    operation: "update",
    record: "own",
    expectedVersion: 7,
    input: {},
    outcome: fails("VERSION_CONFLICT"),
  },
  {
    name: "update: empty number",
    operation: "update",
    record: "own",
    input: { documentNumber: "" },
    outcome: fails("BAD_USER_INPUT", "documentNumber"),
  },
  {
    name: "update: its own number as it is shown masked",
    operation: "update",
    record: "own",
    scopes: CLERK,
    input: { documentNumber: " ••••4567 " },
    unchanged: true,
    outcome: ok,
  },
  {
    name: "update: its own number masked, by a token that was shown none",
    operation: "update",
    record: "own",
    scopes: WRITE,
    input: { documentNumber: "••••4567" },
    outcome: fails("BAD_USER_INPUT", "documentNumber"),
  },
  ...[WRITE, CLERK, ["kyc:write", "audit:read"] as Scope[]].flatMap((scopes) =>
    ["X1234567", " X1234567\u00a0", "Ｘ1234567", "x1234567", "Y1234567"].map(
      (documentNumber): Scenario => ({
        name: `update: to the number ${JSON.stringify(documentNumber)}, by a token with ${scopes}`,
        operation: "update",
        record: "own",
        scopes,
        input: { documentNumber, reason: "for ticket 17" },
        outcome: ok,
      }),
    ),
  ),
  {
    name: "update: its own number, by a token that may see it",
    operation: "update",
    record: "own",
    scopes: ["kyc:write", "kyc:pii"],
    input: { documentNumber: " X1234567" },
    unchanged: true,
    outcome: ok,
  },
  {
    name: "create: by a token that only writes",
    operation: "create",
    scopes: WRITE,
    input: good,
    outcome: ok,
  },
  {
    name: "get: its number can't be decrypted",
    operation: "get",
    record: "damaged",
    scopes: READ,
    outcome: fails("INTERNAL"),
  },
  {
    name: "update: a new number for one that can't be decrypted",
    operation: "update",
    record: "damaged",
    input: { documentNumber: "X1234567", verificationStatus: "failed", reason: "repaired" },
    outcome: ok,
  },
  {
    name: "update: a new number for one that can't be decrypted, by a token that may not see it",
    operation: "update",
    record: "damaged",
    scopes: CLERK,
    input: { documentNumber: "X1234567" },
    outcome: ok,
  },
  {
    name: "update: other fields, by a token that only writes, of one whose number can't be decrypted",
    operation: "update",
    record: "damaged",
    scopes: WRITE,
    input: { verificationStatus: "failed" },
    outcome: fails("INTERNAL"),
  },
  {
    name: "update: a reason that can't be compared with a number that can't be decrypted",
    operation: "update",
    record: "damaged",
    input: { verificationStatus: "failed", reason: "X1234567" },
    outcome: fails("INTERNAL"),
  },
  {
    name: "update: other fields of one whose number can't be decrypted",
    operation: "update",
    record: "damaged",
    input: { verificationStatus: "failed" },
    outcome: fails("INTERNAL"),
  },
  {
    name: "update: the mask that stands for a number that can't be decrypted",
    operation: "update",
    record: "damaged",
    input: { verificationStatus: "failed", documentNumber: "••••" },
    outcome: fails("INTERNAL"),
  },
  {
    name: "update: another mask of a number that can't be decrypted",
    operation: "update",
    record: "damaged",
    input: { verificationStatus: "failed", documentNumber: "••••4567" },
    outcome: fails("BAD_USER_INPUT", "documentNumber"),
  },
  {
    name: "delete: one whose number can't be decrypted",
    operation: "delete",
    record: "damaged",
    outcome: ok,
  },
  {
    name: "delete: with a reason that can't be compared with a number that can't be decrypted",
    operation: "delete",
    record: "damaged",
    input: { reason: "X1234567" },
    outcome: fails("INTERNAL"),
  },
  {
    name: "update: another masked number",
    operation: "update",
    record: "own",
    input: { documentNumber: "••••4568" },
    outcome: fails("BAD_USER_INPUT", "documentNumber"),
  },
  {
    name: "update: another masked number, at a version that is no more",
    operation: "update",
    record: "own",
    expectedVersion: 7,
    input: { documentNumber: "••••4568" },
    outcome: fails("VERSION_CONFLICT"),
  },
  {
    name: "update: a masked number of no record",
    operation: "update",
    record: "unknown",
    input: { documentNumber: "••••4567" },
    outcome: fails("NOT_FOUND"),
  },
  {
    name: "update: nulls",
    operation: "update",
    record: "own",
    input: { verificationStatus: null, documentType: null, documentNumber: null },
    outcome: fails("BAD_USER_INPUT", "verificationStatus", "documentType", "documentNumber"),
  },
  {
    name: "update: foreign",
    operation: "update",
    record: "foreign",
    input: { documentType: "visa" },
    outcome: fails("NOT_FOUND"),
  },
  { name: "update: unknown", operation: "update", record: "unknown", input: {}, outcome: fails("NOT_FOUND") },
  {
    name: "update: misshapen id",
    operation: "update",
    record: "misshapen",
    input: {},
    outcome: fails("NOT_FOUND"),
  },
  {
    name: "update: foreign, at some version",
    operation: "update",
    record: "foreign",
    expectedVersion: 9,
    input: {},
    outcome: fails("NOT_FOUND"),
  },
  {
    name: "update: foreign, with bad input",
    operation: "update",
    record: "foreign",
    input: { documentNumber: "" },
    outcome: fails("BAD_USER_INPUT", "documentNumber"),
  },
  {
    name: "update: no token",
    operation: "update",
    record: "own",
    scopes: null,
    input: {},
    outcome: fails("UNAUTHENTICATED"),
  },
  {
    name: "update: no scope",
    operation: "update",
    record: "own",
    scopes: DELETE,
    input: {},
    outcome: fails("FORBIDDEN"),
  },
  {
    name: "update: with a reason",
    operation: "update",
    record: "own",
    input: { documentType: "visa", reason: "a".repeat(500) },
    outcome: ok,
  },
  {
    name: "update: a reason with the number, where nothing would change",
    operation: "update",
    record: "own",
    input: { reason: "X1234567" },
    outcome: fails("BAD_USER_INPUT", "reason"),
  },
  {
    name: "delete: with a reason",
    operation: "delete",
    record: "own",
    input: { reason: "gone" },
    outcome: ok,
  },
  {
    name: "delete: a reason with the number",
    operation: "delete",
    record: "own",
    input: { reason: "X1234567" },
    outcome: fails("BAD_USER_INPUT", "reason"),
  },
  {
    name: "update: with an empty key",
    operation: "update",
    record: "own",
    input: {},
    key: "",
    outcome: fails("BAD_USER_INPUT", "Idempotency-Key"),
  },
  {
    name: "update: foreign, with a key that was used otherwise",
    operation: "update",
    record: "foreign",
    input: {},
    key: "used",
    outcome: fails("IDEMPOTENCY_MISMATCH"),
  },
  {
    name: "delete: with an empty key",
    operation: "delete",
    record: "own",
    key: "",
    outcome: fails("BAD_USER_INPUT", "Idempotency-Key"),
  },
  {
    name: "delete: with a key that was used otherwise",
    operation: "delete",
    record: "own",
    key: "used",
    outcome: fails("IDEMPOTENCY_MISMATCH"),
  },
  { name: "delete: good", operation: "delete", record: "own", scopes: DELETE, outcome: ok },
  {
    name: "delete: at the expected version",
    operation: "delete",
    record: "own",
    expectedVersion: 1,
    outcome: ok,
  },
  {
    name: "delete: conflict",
    operation: "delete",
    record: "own",
    expectedVersion: 2,
    outcome: fails("VERSION_CONFLICT"),
  },
  { name: "delete: foreign", operation: "delete", record: "foreign", outcome: fails("NOT_FOUND") },
  { name: "delete: unknown", operation: "delete", record: "unknown", outcome: fails("NOT_FOUND") },
  { name: "delete: misshapen id", operation: "delete", record: "misshapen", outcome: fails("NOT_FOUND") },
  {
    name: "delete: no token",
    operation: "delete",
    record: "own",
    scopes: null,
    outcome: fails("UNAUTHENTICATED"),
  },
  {
    name: "delete: no scope",
    operation: "delete",
    record: "own",
    scopes: WRITE,
    outcome: fails("FORBIDDEN"),
  },
];

let gateway: TestApp;
let tables: string[];
let sent: Sent[];
beforeAll(async () => {
  gateway = await createTestApp();
  // Tables that are distributed over several machines have this form. None of the following depends on it.
  tables = await partitionByAccount(gateway.db);
  sent = recordStatements(gateway.db);
  const json = {
    customer_id: "c",
    verification_status: "pending",
    document_type: "visa",
    document_number: "1",
  };
  await gateway.rest(await gateway.token("acme"), "POST", "/v1/kyc", {
    json,
    headers: { "idempotency-key": "used" },
  });
});
afterAll(() => gateway.close());

const upper = (value: unknown) => (typeof value === "string" ? value.toUpperCase() : value);

const tokens = new Map<string, Promise<string>>();

/** The account's token with these scopes. */
function tokenOf(account: string, scopes: readonly Scope[] = SCOPES): Promise<string> {
  const name = [account, ...scopes].join();
  const token = tokens.get(name) ?? gateway.token(account, scopes);
  tokens.set(name, token);
  return token;
}

async function newRecord(account: string): Promise<string> {
  const input = { ...good, verificationStatus: "PENDING", documentType: "PASSPORT" };
  const { data } = await gateway.graphql(
    await tokenOf(account, WRITE),
    "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }",
    { input },
  );
  return data.createKyc.kyc.id;
}

/** A record whose number was sealed for another one. */
async function newDamagedRecord(account: string): Promise<string> {
  const [id, other] = [await newRecord(account), await newRecord(account)];
  await gateway.db.execute(
    "update kycs set sealed_number = (select sealed_number from kycs where id = $1) where id = $2",
    [other, id],
  );
  return id;
}

/** Everything a scenario needs, made anew for each surface, so that neither sees what the other did. */
async function prepare(scenario: Scenario) {
  // Lists of the other account have no damaged record.
  const account = scenario.record === "damaged" ? "initech" : "acme";
  const makers: Record<RecordName, () => Promise<string> | string> = {
    own: () => newRecord(account),
    damaged: () => newDamagedRecord("initech"),
    foreign: () => newRecord("globex"),
    unknown: () => "0000000000000000",
    misshapen: () => "not-an-id",
  };
  const id = await makers[scenario.record ?? "own"]();
  const input: Record<string, unknown> = { ...scenario.input };
  for (const cursor of ["after", "before"] as const) {
    if (cursor in input) input[cursor] = await makers[input[cursor] as RecordName]();
  }
  const token = scenario.scopes === null ? null : await tokenOf(account, scenario.scopes);
  const key = scenario.key === "new" ? randomUUID() : scenario.key;
  const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
  const readable = scenario.scopes?.includes("kyc:read") ?? true;
  return { id, token, input, headers, readable };
}

type Prepared = Awaited<ReturnType<typeof prepare>>;

const RECORD = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";
const documentsOf = (fields: string) => ({
  create: `mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { ${fields} } } }`,
  get: `query ($id: ID!) { kyc(id: $id) { ${RECORD} } }`,
  list: `query ($first: Int, $after: String, $before: String, $filter: KycFilter) {
    kycs(first: $first, after: $after, before: $before, filter: $filter) { nodes { ${RECORD} } pageInfo { hasNextPage } }
  }`,
  update: `mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { ${fields} } } }`,
  delete: "mutation ($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }",
});

async function throughGraphql(
  { operation, expectedVersion }: Scenario,
  { id, token, input, headers, readable }: Prepared,
): Promise<Outcome> {
  const fields: Record<string, unknown> = { ...input };
  if ("verificationStatus" in fields) fields.verificationStatus = upper(fields.verificationStatus);
  if ("documentType" in fields) fields.documentType = upper(fields.documentType);
  const { customerId, documentNumber, ...page } = fields;
  const variables = {
    create: { input: fields },
    get: { id },
    list: { ...page, filter: { customerId, documentNumber } },
    update: { input: { id, ...fields, ...(expectedVersion && { expectedVersion }) } },
    delete: { input: { id, ...fields, ...(expectedVersion && { expectedVersion }) } },
  }[operation];
  const { data, errors } = await gateway.graphql(
    token,
    documentsOf(readable ? RECORD : "id version")[operation],
    variables,
    headers,
  );
  if (!errors) return operation === "get" && data.kyc === null ? fails("NOT_FOUND") : ok;
  // The change was made, and the answer has a replacement for its number.
  if (operation === "update" && data.updateKyc) return ok;
  const { code, fields: faults } = errors[0]?.extensions ?? { code: "none" };
  return fails(code, ...(faults ?? []).map((fault) => fault.path.replace(/^input\./, "")));
}

const WIRE: Record<string, string> = {
  customerId: "customer_id",
  verificationStatus: "verification_status",
  documentType: "document_type",
  documentNumber: "document_number",
  first: "limit",
  after: "starting_after",
  before: "ending_before",
  reason: "Kyc-Reason",
};

async function throughRest(
  { operation, expectedVersion }: Scenario,
  { id, token, input, headers: keyHeaders }: Prepared,
): Promise<Outcome> {
  const { reason, ...others } = input;
  const fields = Object.fromEntries(
    Object.entries(others).map(([name, value]) => [WIRE[name] ?? name, value]),
  );
  const headers = {
    ...keyHeaders,
    ...(expectedVersion && { "if-match": `"${expectedVersion}"` }),
    ...(typeof reason === "string" && { "kyc-reason": reason }),
  };
  const query = new URLSearchParams(fields as Record<string, string>).toString();
  const url = `/v1/kyc/${id}`;
  const response = await {
    create: () => gateway.rest(token, "POST", "/v1/kyc", { json: fields, headers }),
    get: () => gateway.rest(token, "GET", url, { headers }),
    list: () => gateway.rest(token, "GET", `/v1/kyc?${query}`),
    update: () => gateway.rest(token, "PUT", url, { json: fields, headers }),
    delete: () => gateway.rest(token, "DELETE", url, { headers }),
  }[operation]();
  if (response.statusCode < 300) return ok;
  const { error } = response.json();
  const code =
    {
      authentication_error: "UNAUTHENTICATED",
      permission_error: "FORBIDDEN",
      conflict_error: "VERSION_CONFLICT",
      api_error: "INTERNAL",
      idempotency_error: error.code.toUpperCase(),
    }[error.type as string] ?? (error.code === "resource_missing" ? "NOT_FOUND" : "BAD_USER_INPUT");
  // The message names every field at fault, each at the start of its clause.
  const names =
    code === "BAD_USER_INPUT"
      ? (error.message as string).split("; ").map((clause) => clause.split(" ")[0])
      : [];
  const ours = Object.entries(WIRE);
  const filter = operation === "list" ? "filter." : "";
  return fails(
    code,
    ...names.map((wire) => {
      const name = ours.find(([, other]) => other === wire)?.[0] ?? String(wire);
      return ["customerId", "documentNumber"].includes(name) ? `${filter}${name}` : name;
    }),
  );
}

/** The events that a request left, without what two requests can't have in common. */
async function withEvents<T>(
  work: () => Promise<T>,
): Promise<{ outcome: T; events: unknown[]; by: unknown }> {
  const last = "select coalesce(max(sequence), 0) as last from audit_events";
  const [before] = await gateway.db.execute<{ last: string }>(last);
  const outcome = await work();
  const found = await gateway.db.execute<Record<string, unknown>>(
    "select *, cardinality(kyc_ids) as records from audit_events where sequence > $1 order by sequence",
    [before?.last],
  );
  const by = found.map(({ surface }) => surface);
  const own = ["sequence", "at", "token_id", "request_id", "kyc_ids", "surface", "written_in"];
  const events = found.map((event) =>
    Object.fromEntries(Object.entries(event).filter(([name]) => !own.includes(name))),
  );
  return { outcome, events, by };
}

const WRITES = ["create", "update", "delete"];

describe("both surfaces answer alike, and leave the same events", () => {
  test.each(scenarios)("$name", async (scenario) => {
    const prepared = [await prepare(scenario), await prepare(scenario)] as const;
    const first = await withEvents(() => throughGraphql(scenario, prepared[0]));
    const second = await withEvents(() => throughRest(scenario, prepared[1]));
    const { outcome: overGraphql } = first;
    const { outcome: overRest } = second;
    expect(second.events).toEqual(first.events);
    const { operation, unchanged, outcome } = scenario;
    const expected = outcome.code === "OK" && WRITES.includes(operation) && !unchanged ? 1 : 0;
    expect([first.by, second.by]).toEqual([Array(expected).fill("graphql"), Array(expected).fill("rest")]);
    expect({ graphql: overGraphql, rest: overRest }).toEqual({
      graphql: scenario.outcome,
      rest: scenario.outcome,
    });
  });
});

test("every statement that these scenarios sent concerns the records of one account", async () => {
  expect(sent.length).toBeGreaterThan(100);
  expect(await acrossAccounts(gateway.db, tables, sent)).toEqual([]);
});
