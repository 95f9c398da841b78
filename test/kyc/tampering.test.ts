import { afterAll, beforeAll, expect, test } from "vitest";
import { sealedNumbers } from "../../src/kyc/number/sealed-numbers.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

const change = (id: string, form: Record<string, string>) =>
  gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form });
const rowOf = async (id: string) =>
  (await gateway.db.execute<Record<string, unknown>>("select * from kycs where id = $1", [id]))[0] ?? {};

/** The answers of all ways to read the number, for a record that was altered in the database. */
async function readings(id: string): Promise<string> {
  const answers = [
    await gateway.rest(token, "GET", `/v1/kyc/${id}`),
    await gateway.rest(token, "GET", "/v1/kyc?limit=100"),
    await gateway.rest(token, "GET", "/v1/kyc?document_number=FORGED-1"),
    await gateway.graphql(token, `{ kyc(id: "${id}") { documentNumber } }`),
    await gateway.graphql(token, "{ kycs { nodes { documentNumber } } }"),
  ];
  return answers.map((answer) => ("body" in answer ? answer.body : JSON.stringify(answer.data))).join("\n");
}

test.each([
  [
    "a plain number in place of the sealed one",
    "document_number = 'FORGED-1', sealed_number = null, number_digest = null",
  ],
  [
    "a plain number in place of the sealed one, without the version it was bound to",
    "document_number = 'FORGED-1', sealed_number = null, number_digest = null, sealed_version = null",
  ],
  ["a text that no key sealed", "sealed_number = 'test.' || repeat('FORGED-1', 8)"],
  ["a text that names no key", "sealed_number = 'FORGED-1'"],
] as const)("a database writer who puts %s into a record has it shown to nobody", async (_what, set) => {
  const id = await createRecord(gateway, token, { documentNumber: "TRUE-1" });
  await gateway.db.execute(`update kycs set ${set} where id = '${id}'`);
  const shown = await readings(id);
  expect(shown).not.toContain("FORGED");
  expect(await sealedNumbers.check(gateway.db, gateway.keys, () => {})).toMatchObject([
    { kind: "record", account: "acme", id },
  ]);
  await gateway.db.execute("delete from kycs");
});

test("the number of an earlier version, or of another record, does not open in its place", async () => {
  const [id, other] = [
    await createRecord(gateway, token, { documentNumber: "FIRST-1" }),
    await createRecord(gateway, token, { documentNumber: "OTHER-1" }),
  ];
  const first = await rowOf(id);
  expect((await change(id, { document_number: "SECOND-1" })).statusCode).toBe(200);
  const sealed = async (value: unknown) =>
    gateway.db.execute("update kycs set sealed_number = $1 where id = $2", [value, id]);
  const second = await rowOf(id);
  for (const value of [first.sealed_number, (await rowOf(other)).sealed_number]) {
    await sealed(value);
    const shown = await readings(id);
    expect(shown).not.toContain("FIRST-1");
    expect((await gateway.rest(token, "GET", `/v1/kyc/${id}`)).statusCode).toBe(500);
  }
  await sealed(second.sealed_number);
  expect((await gateway.rest(token, "GET", `/v1/kyc/${id}`)).json().document_number).toBe("SECOND-1");
  await gateway.db.execute("delete from kycs");
});

test("a number is bound to the new version with each change of its record, also one that leaves it as it is", async () => {
  const id = await createRecord(gateway, token, { documentNumber: "KEPT-1" });
  const seen = new Set<unknown>([(await rowOf(id)).sealed_number]);
  const changes: Record<string, string>[] = [
    { verification_status: "verified" },
    { document_type: "visa" },
    { document_number: "NEXT-1" },
    { verification_status: "failed" },
  ];
  for (const [index, form] of changes.entries()) {
    const keyed = index % 2 === 1;
    const answer = await gateway.rest(token, "PUT", `/v1/kyc/${id}`, {
      form,
      headers: keyed ? { "idempotency-key": `change ${index}` } : {},
    });
    expect(answer.json().document_number).toBe(index < 2 ? "KEPT-1" : "NEXT-1");
    const row = await rowOf(id);
    expect(row).toMatchObject({ version: index + 2, sealed_version: index + 2 });
    seen.add(row.sealed_number);
    expect((await gateway.rest(token, "GET", `/v1/kyc/${id}`)).json()).toEqual(answer.json());
  }
  expect(seen.size).toBe(changes.length + 1);
  // One that changes nothing leaves everything as it is.
  const before = await rowOf(id);
  await change(id, { verification_status: "failed", document_number: "NEXT-1" });
  expect(await rowOf(id)).toEqual(before);
});

test("neither a sealed number nor a kept answer tells how long the number is", async () => {
  const lengths = new Set<string>();
  for (const documentNumber of ["1", "12345678", "A-1234567890123"]) {
    const headers = { "idempotency-key": documentNumber };
    const form = {
      ...{ customer_id: "c", verification_status: "pending", document_type: "visa" },
      document_number: documentNumber,
    };
    const { id } = (await gateway.rest(token, "POST", "/v1/kyc", { form, headers })).json();
    const [row] = await gateway.db.execute(
      `select length(sealed_number) as number, length(sealed_result) as answer
       from kycs join idempotency_keys on kyc_id = id where id = $1`,
      [id],
    );
    lengths.add(JSON.stringify(row));
  }
  expect(lengths.size).toBe(1);
});

test("the gateways of the release before can't change a record whose number is bound, nor store an unbound one", async () => {
  const id = await createRecord(gateway, token);
  await expect(
    gateway.db.execute("update kycs set version = version + 1 where id = $1", [id]),
  ).rejects.toThrow("kycs_number_is_bound_to_version");
  await expect(
    gateway.db.execute(`
      insert into kycs (account_id, id, customer_id, verification_status, document_type, sealed_number, number_digest,
        created_at, updated_at, version)
      values ('acme', '0000000000000009', 'c', 'pending', 'visa', 'test.x', 'd', now(), now(), 1)`),
  ).rejects.toThrow("kycs_number_is_bound");
});
