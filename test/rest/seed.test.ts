import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { sealNumber } from "../../src/kyc/number/document-number.ts";
import type { Kyc } from "../../src/kyc/record.ts";
import { insertKyc, type NewKyc } from "../../src/kyc/store/write.ts";
import { DOCUMENT_TYPES, VERIFICATION_STATUSES } from "../../src/vocabulary.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { someEvent } from "../support/records.ts";
import { expectSeedAnswers, PRINTED_FIELDS, PRINTED_FORM } from "../support/seed-requests.ts";

const PRINTED_TIME = 705103200;
const PRINTED_RECORD = {
  id: "xgQQXg3hrtjh7AvZ",
  customer_id: "WAz8eIbvDR60rouK",
  verification_status: "verified",
  document_type: "passport",
  document_number: "123456789",
  created_at: PRINTED_TIME,
  updated_at: PRINTED_TIME,
};

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterEach(() => {
  gateway.clock.now = undefined;
});
afterAll(() => gateway.close());

/** A token of an account that has the printed record, under the printed id. */
async function tokenWithPrintedRecord(
  changes: Partial<Pick<Kyc, "createdAt" | "updatedAt" | "verificationStatus">> = {},
): Promise<string> {
  const account = randomUUID();
  const kyc: NewKyc = {
    id: "xgQQXg3hrtjh7AvZ",
    customerId: "WAz8eIbvDR60rouK",
    verificationStatus: "verified",
    documentType: "passport",
    ...sealNumber(gateway.keys, account, { id: "xgQQXg3hrtjh7AvZ", version: 1 }, "123456789"),
    plainNumber: null,
    createdAt: PRINTED_TIME * 1000,
    updatedAt: PRINTED_TIME * 1000,
    ...{ statusSince: PRINTED_TIME * 1000, expiresAt: null, relationshipEndedAt: null },
    version: 1,
    ...changes,
  };
  await insertKyc(gateway.db, account, kyc, someEvent(account, kyc.id));
  return gateway.token(account);
}

test("the documented requests, one after another, get the documented answers", async () => {
  const token = await gateway.token(randomUUID());
  await expectSeedAnswers(async (method, path, form) => {
    const { statusCode, body } = await gateway.rest(token, method, path, form && { form });
    return { status: statusCode, text: body };
  });
});

test("a list answers has_more and the records, each with exactly the printed fields in their order", async () => {
  const token = await tokenWithPrintedRecord();
  const answer = await gateway.rest(token, "GET", "/v1/kyc?limit=10");
  expect(answer.statusCode).toBe(200);
  expect(answer.headers["content-type"]).toMatch(/^application\/json/);
  expect(answer.body).toBe(JSON.stringify({ has_more: false, data: [PRINTED_RECORD] }));
});

test("a list of an account without records is empty", async () => {
  const answer = await gateway.rest(await gateway.token(randomUUID()), "GET", "/v1/kyc");
  expect(answer.json()).toEqual({ has_more: false, data: [] });
});

test("a list shows ten records if no limit is given", async () => {
  const token = await gateway.token(randomUUID());
  for (let i = 0; i < 11; i++) await gateway.rest(token, "POST", "/v1/kyc", { form: PRINTED_FORM });
  const { data, has_more } = (await gateway.rest(token, "GET", "/v1/kyc")).json();
  expect(data).toHaveLength(10);
  expect(has_more).toBe(true);
});

test("creating answers 201 with the record, its place and its tag", async () => {
  gateway.clock.now = PRINTED_TIME * 1000;
  const token = await gateway.token(randomUUID());
  const answer = await gateway.rest(token, "POST", "/v1/kyc", { form: PRINTED_FORM });
  const record = answer.json();
  expect(answer.statusCode).toBe(201);
  expect(Object.keys(record)).toEqual(PRINTED_FIELDS);
  expect(record).toEqual({
    ...PRINTED_FORM,
    id: expect.stringMatching(/^[0-9A-Za-z]{16}$/),
    created_at: PRINTED_TIME,
    updated_at: PRINTED_TIME,
  });
  expect(answer.headers.location).toBe(`/v1/kyc/${record.id}`);
  expect(answer.headers.etag).toBe('"1"');
});

test("the Location of a new record leads to it", async () => {
  const token = await gateway.token(randomUUID());
  const created = await gateway.rest(token, "POST", "/v1/kyc", { form: PRINTED_FORM });
  const read = await gateway.rest(token, "GET", String(created.headers.location));
  expect(read.json()).toEqual(created.json());
});

test("creating twice makes two records", async () => {
  const token = await gateway.token(randomUUID());
  const one = await gateway.rest(token, "POST", "/v1/kyc", { form: PRINTED_FORM });
  const two = await gateway.rest(token, "POST", "/v1/kyc", { form: PRINTED_FORM });
  expect(two.json().id).not.toBe(one.json().id);
});

test("retrieving answers 200 with the printed record and its tag", async () => {
  const token = await tokenWithPrintedRecord();
  const answer = await gateway.rest(token, "GET", "/v1/kyc/xgQQXg3hrtjh7AvZ");
  expect(answer.statusCode).toBe(200);
  expect(answer.headers.etag).toBe('"1"');
  expect(answer.body).toBe(JSON.stringify(PRINTED_RECORD));
});

test("times are whole seconds, the part of a second cut off", async () => {
  const token = await tokenWithPrintedRecord({
    createdAt: PRINTED_TIME * 1000 + 1,
    updatedAt: PRINTED_TIME * 1000 + 999,
  });
  const answer = await gateway.rest(token, "GET", "/v1/kyc/xgQQXg3hrtjh7AvZ");
  expect(answer.json()).toEqual(PRINTED_RECORD);
});

test.each(["PUT", "PATCH", "POST"] as const)(
  "updating by %s changes what is given and keeps what is absent",
  async (method) => {
    const token = await tokenWithPrintedRecord({ verificationStatus: "pending" });
    gateway.clock.now = (PRINTED_TIME + 60) * 1000;
    const answer = await gateway.rest(token, method, "/v1/kyc/xgQQXg3hrtjh7AvZ", {
      form: { verification_status: "verified" },
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.body).toBe(JSON.stringify({ ...PRINTED_RECORD, updated_at: PRINTED_TIME + 60 }));
    expect(answer.headers.etag).toBe('"2"');
    expect(answer.headers).not.toHaveProperty("location");
    const read = await gateway.rest(token, "GET", "/v1/kyc/xgQQXg3hrtjh7AvZ");
    expect(read.body).toBe(answer.body);
  },
);

test("an update can change the status, the type and the number of the document together", async () => {
  const token = await tokenWithPrintedRecord();
  const changes = { verification_status: "failed", document_type: "visa", document_number: "987" };
  const answer = await gateway.rest(token, "PUT", "/v1/kyc/xgQQXg3hrtjh7AvZ", { form: changes });
  expect(answer.json()).toMatchObject(changes);
});

test.each<[string, { form?: Record<string, string> }]>([
  ["nothing", {}],
  ["the stored value", { form: { verification_status: "verified" } }],
])("an update with %s leaves the version and the time of the record as they are", async (_, body) => {
  const token = await tokenWithPrintedRecord();
  const answer = await gateway.rest(token, "PUT", "/v1/kyc/xgQQXg3hrtjh7AvZ", body);
  expect(answer.statusCode).toBe(200);
  expect(answer.headers.etag).toBe('"1"');
  expect(answer.json()).toEqual(PRINTED_RECORD);
});

test("deleting answers 200 and the id, as stock SDKs can parse it, and the record no longer exists", async () => {
  const token = await tokenWithPrintedRecord();
  const answer = await gateway.rest(token, "DELETE", "/v1/kyc/xgQQXg3hrtjh7AvZ");
  expect(answer.statusCode).toBe(200);
  expect(answer.body).toBe('{"id":"xgQQXg3hrtjh7AvZ","deleted":true}');
  expect((await gateway.rest(token, "GET", "/v1/kyc/xgQQXg3hrtjh7AvZ")).statusCode).toBe(404);
  expect((await gateway.rest(token, "GET", "/v1/kyc")).json().data).toEqual([]);
  expect((await gateway.rest(token, "DELETE", "/v1/kyc/xgQQXg3hrtjh7AvZ")).statusCode).toBe(404);
});

test("a list shows only the records with the given customer and status", async () => {
  const token = await gateway.token(randomUUID());
  const create = async (customer_id: string, verification_status: string) =>
    (
      await gateway.rest(token, "POST", "/v1/kyc", {
        form: { ...PRINTED_FORM, customer_id, verification_status },
      })
    ).json().id;
  const ids = [
    await create("one", "pending"),
    await create("one", "verified"),
    await create("two", "pending"),
  ] as const;
  const list = async (query: string) =>
    (await gateway.rest(token, "GET", `/v1/kyc?${query}`))
      .json()
      .data.map((record: { id: string }) => record.id)
      .sort();
  expect(await list("customer_id=one")).toEqual([ids[0], ids[1]].sort());
  expect(await list("verification_status=pending")).toEqual([ids[0], ids[2]].sort());
  expect(await list("customer_id=one&verification_status=pending")).toEqual([ids[0]]);
  expect(await list("customer_id=three")).toEqual([]);
});

test.each([
  ["driver’s license", "drivers_license"],
  ["driver's license", "drivers_license"],
  ["Driver’s License", "drivers_license"],
  ["DRIVER'S LICENSE", "drivers_license"],
  ["driver_license", "drivers_license"],
  ["driving_license", "drivers_license"],
  ["driving_licence", "drivers_license"],
  ["Driving_Licence", "drivers_license"],
  ["drivers_license", "drivers_license"],
  ["national_id", "id_card"],
  ["national_identity_card", "id_card"],
  ["identity_card", "id_card"],
  ["ID_CARD", "id_card"],
  ["Passport", "passport"],
])("the document type %s is taken, and answered as %s", async (spelling, word) => {
  const token = await gateway.token(randomUUID());
  const created = await gateway.rest(token, "POST", "/v1/kyc", {
    form: { ...PRINTED_FORM, document_type: spelling },
  });
  expect(created.json().document_type).toBe(word);

  const other = { ...PRINTED_FORM, document_type: "other" };
  const { id } = (await gateway.rest(token, "POST", "/v1/kyc", { json: other })).json();
  const updated = await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { json: { document_type: spelling } });
  expect(updated.json().document_type).toBe(word);
});

test("every status and every document type is taken and given back", async () => {
  const token = await gateway.token(randomUUID());
  const create = (changes: object) =>
    gateway.rest(token, "POST", "/v1/kyc", { form: { ...PRINTED_FORM, ...changes } });
  for (const verification_status of VERIFICATION_STATUSES) {
    expect((await create({ verification_status })).json().verification_status).toBe(verification_status);
  }
  for (const document_type of DOCUMENT_TYPES) {
    expect((await create({ document_type })).json().document_type).toBe(document_type);
  }
});

test.each(["application/json", "application/json; charset=utf-8", "Application/JSON"])(
  "a JSON body sent as %s is the same as the form",
  async (type) => {
    const token = await gateway.token(randomUUID());
    const headers = { "content-type": type };
    const created = await gateway.rest(token, "POST", "/v1/kyc", { json: PRINTED_FORM, headers });
    expect(created.statusCode).toBe(201);
    expect(created.json()).toMatchObject(PRINTED_FORM);
    const updated = await gateway.rest(token, "PUT", `/v1/kyc/${created.json().id}`, {
      json: { document_number: "4" },
      headers,
    });
    expect(updated.json()).toMatchObject({ ...PRINTED_FORM, document_number: "4" });
  },
);

test("a form is read with plus signs as spaces and percent escapes as UTF-8", async () => {
  const token = await gateway.token(randomUUID());
  const answer = await gateway.rest(token, "POST", "/v1/kyc", {
    form: "customer_id=J%C3%BCrgen+%26+S%c3%b6hne%2B1=2&verification_status=pending&document_type=passport&document_number=1",
    headers: { "content-type": "application/x-www-form-urlencoded; charset=UTF-8" },
  });
  expect(answer.json().customer_id).toBe("Jürgen & Söhne+1=2");
});

test("the records of another account are as if they were not there", async () => {
  const owner = await tokenWithPrintedRecord();
  const other = await gateway.token(randomUUID());
  const path = "/v1/kyc/xgQQXg3hrtjh7AvZ";
  const missing = await gateway.rest(other, "GET", "/v1/kyc/AAAAAAAAAAAAAAAA");
  const foreign = [
    await gateway.rest(other, "GET", path),
    await gateway.rest(other, "PUT", path, { form: { verification_status: "failed" } }),
    await gateway.rest(other, "DELETE", path),
  ];
  for (const answer of foreign) {
    expect(answer.statusCode).toBe(404);
    expect(answer.body).toBe(missing.body);
  }
  expect((await gateway.rest(other, "GET", "/v1/kyc")).json().data).toEqual([]);
  expect((await gateway.rest(owner, "GET", path)).json()).toEqual(PRINTED_RECORD);
});
