import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord, goodInput } from "../support/records.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

const eventsOf = (id: string) =>
  gateway.db.execute(`
    select event.* from audit_events event join audit_event_records using (account_id, sequence)
    where kyc_id = '${id}' order by sequence`);

const update = (input: Record<string, unknown>) =>
  gateway.graphql(
    token,
    "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { version } } }",
    { input },
  );
const remove = (input: Record<string, unknown>) =>
  gateway.graphql(token, "mutation ($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }", {
    input,
  });

test("a record's creation, each of its changes and its deletion leave one event each, in their order", async () => {
  gateway.clock.now = 1_800_000_000_000;
  const id = await createRecord(gateway, token);
  gateway.clock.now += 1000;
  await gateway.rest(token, "PUT", `/v1/kyc/${id}`, {
    form: { verification_status: "verified", document_number: "Y1" },
  });
  await update({ id, documentType: "VISA" });
  gateway.clock.now += 1000;
  await remove({ id, reason: "  The customer asked for it.  " });
  gateway.clock.now = undefined;
  const events = await eventsOf(id);
  const common = {
    account_id: "acme",
    sequence: expect.stringMatching(/^\d+$/),
    token_id: expect.stringMatching(/^tok_/),
    token_name: "test",
    request_id: expect.stringMatching(/^req_/),
    kyc_ids: [id],
    changed_fields: [],
    reason: null,
    written_in: expect.stringMatching(/^\d+$/),
    ...{ other_action: null, other_surface: null, actor_name: null, subject: null, has_customers: true },
    ...{ document_type_after: null, version_after: null },
  };
  expect(events).toEqual([
    {
      ...{ ...common, action: "created", surface: "graphql", at: "2027-01-15 08:00:00+00" },
      ...{ status_before: null, status_after: "pending" },
      ...{ document_type_after: "passport", version_after: 1 },
    },
    {
      ...{ ...common, action: "updated", surface: "rest", at: "2027-01-15 08:00:01+00" },
      ...{ status_before: "pending", status_after: "verified" },
      changed_fields: ["verificationStatus", "documentNumber"],
      ...{ document_type_after: "passport", version_after: 2 },
    },
    {
      ...{ ...common, action: "updated", surface: "graphql", at: "2027-01-15 08:00:01+00" },
      ...{ status_before: "verified", status_after: "verified", changed_fields: ["documentType"] },
      ...{ document_type_after: "visa", version_after: 3 },
    },
    {
      ...{ ...common, action: "deleted", surface: "graphql", at: "2027-01-15 08:00:02+00" },
      ...{ status_before: "verified", status_after: null, reason: "The customer asked for it." },
    },
  ]);
});

test("the event has the id of the request that its answer has", async () => {
  const answer = await gateway.rest(token, "POST", "/v1/kyc", {
    form: {
      ...{ customer_id: "c", verification_status: "pending" },
      ...{ document_type: "visa", document_number: "1" },
    },
  });
  expect(await eventsOf(answer.json().id)).toMatchObject([{ request_id: answer.headers["request-id"] }]);
});

test("what changes nothing leaves no event: the same values, a wrong version, a refusal, a missing record", async () => {
  const id = await createRecord(gateway, token);
  await update({ id, verificationStatus: "PENDING", documentNumber: goodInput.documentNumber });
  await update({ id, documentType: "VISA", expectedVersion: 9 });
  await update({ id, documentNumber: "" });
  await remove({ id, expectedVersion: 9 });
  const foreigner = await gateway.token("globex");
  await gateway.rest(foreigner, "DELETE", `/v1/kyc/${id}`);
  expect(await eventsOf(id)).toMatchObject([{ action: "created" }]);
});

test("the time of a record's events never goes back, even if the clock does", async () => {
  gateway.clock.now = 1_800_000_000_000;
  const id = await createRecord(gateway, token);
  gateway.clock.now = 1_700_000_000_000;
  await update({ id, documentType: "VISA" });
  await remove({ id });
  gateway.clock.now = undefined;
  const times = (await eventsOf(id)).map(({ at }) => at);
  expect(times).toEqual(Array(3).fill("2027-01-15 08:00:00+00"));
});

test("a header Kyc-Reason is UTF-8, or Latin-1 if it can't be that", async () => {
  const reasons = ["Asked by phone", "Überprüft – 再確認", "Gepr\xFCft"];
  for (const reason of reasons) {
    const id = await createRecord(gateway, token);
    const header = reason === "Gepr\xFCft" ? reason : Buffer.from(reason).toString("latin1");
    const answer = await gateway.rest(token, "DELETE", `/v1/kyc/${id}`, {
      headers: { "kyc-reason": header },
    });
    expect(answer.statusCode).toBe(200);
    expect(await eventsOf(id)).toMatchObject([{ reason: null }, { reason }]);
  }
});

test("a reason that is too long, empty or has a document number in it is refused, and nothing happens", async () => {
  const id = await createRecord(gateway, token, { documentNumber: "Secret-77" });
  const number = "must not contain the document number";
  const length = "must have 1 to 500 printable characters";
  const cases: [Record<string, unknown>, string][] = [
    [{ reason: "for secret-77" }, number],
    [{ reason: "for S E C-RET 7/7." }, number],
    [{ reason: "from NEW-88 on", documentNumber: "new-88" }, number],
    [{ reason: "  " }, length],
    [{ reason: "x".repeat(501) }, length],
  ];
  for (const [fields, message] of cases) {
    const { errors } = await update({ id, documentType: "VISA", ...fields });
    expect(errors?.[0]?.extensions.fields).toEqual([{ path: "input.reason", message }]);
    const headers = { "kyc-reason": fields.reason as string };
    const form = { document_type: "visa", document_number: String(fields.documentNumber ?? "Secret-77") };
    const answer = await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form, headers });
    expect(answer.json().error).toMatchObject({ code: "parameter_invalid", param: "Kyc-Reason" });
  }
  const { errors } = await remove({ id, reason: "SECRET-77" });
  expect(errors?.[0]?.extensions.fields).toEqual([{ path: "input.reason", message: number }]);
  expect(await eventsOf(id)).toMatchObject([{ action: "created" }]);
});

describe("the reason of a token that may not see the number", () => {
  let clerk: string;
  beforeAll(async () => {
    clerk = await gateway.token("acme", ["kyc:write", "kyc:delete"]);
  });
  /** The reasons of a change and of the deletion in the trail. */
  async function reasonsOf(documentNumber: string, reason: string): Promise<unknown> {
    const id = await createRecord(gateway, token, { documentNumber });
    const headers = { "kyc-reason": Buffer.from(reason).toString("latin1") };
    const form = { document_type: "visa" };
    expect((await gateway.rest(clerk, "PUT", `/v1/kyc/${id}`, { form, headers })).statusCode).toBe(200);
    expect((await gateway.rest(clerk, "DELETE", `/v1/kyc/${id}`, { headers })).statusCode).toBe(200);
    const [, changed, deleted] = await eventsOf(id);
    expect(deleted?.reason).toBe(changed?.reason);
    return changed?.reason;
  }

  // The hidden part of this number has eight characters, including the hyphen.
  test.each([
    ["for ab-123456789, and AB-123456789", "fo• ••-•••••6789, an• ••-•••••6789"],
    ["for ab-123056789, and XY-999996789", "fo• ••-•••••6789, an• ••-•••••6789"],
    ["for AB 123 45 67 89 again", "fo• •• ••• •• 67 89 again"],
    ["ＡＢ１２３４５６７８９", "•••••••６７８９"],
    ["section 6789", "••••••• 6789"],
    ["6789", "6789"],
    ["asked by phone, AB-12345", "asked by phone, AB-12345"],
  ])("%j is %j in the trail, whether its guess is right or wrong", async (reason, expected) => {
    expect(await reasonsOf("AB-123456789", reason)).toBe(expected);
  });

  test("is masked before signs that are all that the mask shows, and if it shows nothing", async () => {
    expect(await reasonsOf("77+-+-", "for 77+-+-")).toBe("for •••-+-");
    expect(await reasonsOf("7", "for 7, on page 17")).toBe("for •, on page 17");
  });
});

test("no reason reaches the log", async () => {
  const id = await createRecord(gateway, token);
  await update({ id, documentType: "VISA", reason: "WORDS-OF-THE-CALLER" });
  await gateway.rest(token, "DELETE", `/v1/kyc/${id}`, { headers: { "kyc-reason": "WORDS-OF-THE-CALLER" } });
  expect(await eventsOf(id)).toHaveLength(3);
  expect(gateway.logged()).not.toContain("WORDS-OF-THE-CALLER");
});
