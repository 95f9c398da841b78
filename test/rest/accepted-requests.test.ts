import { randomUUID } from "node:crypto";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createOpenapi } from "../../src/rest/openapi/openapi.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { cpuTime } from "../support/cpu-time.ts";

// A validating proxy refuses requests that the document does not allow, so the document must allow all that the gateway accepts.

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token(randomUUID());
});
afterAll(() => gateway.close());

// biome-ignore lint/suspicious/noExplicitAny: the document's shape is its own standard's
const document = createOpenapi() as any;
const ajv = new Ajv2020({ allErrors: true });
addFormats.default(ajv);
ajv.addVocabulary(Object.keys(document));
ajv.addSchema(document, "openapi", false, false);
const validate = (pointer: string, value: unknown) =>
  ajv.getSchema(`openapi#/${pointer}`)?.(value) as boolean;
const allowsBody = (schema: string, body: object) => validate(`components/schemas/${schema}`, body);

const NEW = {
  ...{ customer_id: "c", verification_status: "pending", document_type: "passport" },
  document_number: "123",
};

/** The words of a field, each with what it means. */
const STATUSES = ["pending", "in_review", "verified", "failed", "expired"].map(
  (word) => [word, word] as const,
);
const TYPES = [
  ...["passport", "drivers_license", "id_card", "residence_permit", "visa", "other"].map(
    (word) => [word, word] as const,
  ),
  ["driver's_license", "drivers_license"],
  ["driver_license", "drivers_license"],
  ["driving_license", "drivers_license"],
  ["driving_licence", "drivers_license"],
  ["national_id", "id_card"],
  ["national_identity_card", "id_card"],
  ["identity_card", "id_card"],
] as const;

/** The word in any case, with any separators and apostrophes, and with space around it. */
const spelling = (words: readonly (readonly [string, string])[]) =>
  fc
    .record({
      pair: fc.constantFrom(...words),
      upper: fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
      separator: fc.constantFrom("_", " ", "-", "  ", " - "),
      apostrophe: fc.constantFrom("'", "’", "‘", ""),
      around: fc.constantFrom("", " ", "  "),
    })
    .map(({ pair: [word, meaning], upper, separator, apostrophe, around }) => {
      const cased = [...word].map((sign, at) => (upper[at] ? sign.toUpperCase() : sign)).join("");
      const spelled = cased.replaceAll("_", separator).replaceAll("'", apostrophe);
      return { text: around + spelled + around, meaning };
    });

test.each([
  ["Passport", "passport"],
  ["PASSPORT", "passport"],
  ["id card", "id_card"],
  ["ID-Card", "id_card"],
  ["Driver’s License", "drivers_license"],
  ["driver‘s-license", "drivers_license"],
  ["Drivers License", "drivers_license"],
  ["DRIVING LICENCE", "drivers_license"],
  ["National Identity Card", "id_card"],
])("the document type %s is the type %s", async (spelled, word) => {
  const created = await gateway.rest(token, "POST", "/v1/kyc", { form: { ...NEW, document_type: spelled } });
  expect(created.json().document_type).toBe(word);
});

test("each spelling of a status and a document type is taken on input, and the document allows it", async () => {
  await fc.assert(
    fc.asyncProperty(spelling(STATUSES), spelling(TYPES), fc.boolean(), async (status, type, asForm) => {
      const words = { verification_status: status.text, document_type: type.text };
      const meant = { verification_status: status.meaning, document_type: type.meaning };
      expect(allowsBody("KycCreation", { ...NEW, ...words })).toBe(true);
      expect(allowsBody("KycChanges", words)).toBe(true);
      const sent = (body: Record<string, string>) => (asForm ? { form: body } : { json: body });
      const created = await gateway.rest(token, "POST", "/v1/kyc", sent({ ...NEW, ...words }));
      expect(created.json()).toMatchObject(meant);
      const path = String(created.headers.location);
      expect((await gateway.rest(token, "PATCH", path, sent(words))).json()).toMatchObject(meant);
    }),
    { numRuns: 60 },
  );
});

test("each spelling of a status is taken by the filter of the list and of the search", async () => {
  const account = await gateway.token(randomUUID());
  for (const [word] of STATUSES)
    await gateway.rest(account, "POST", "/v1/kyc", { form: { ...NEW, verification_status: word } });
  const filter = document.paths["/v1/kyc"].get.parameters.find(
    ({ name }: { name: string }) => name === "verification_status",
  );
  expect(filter.schema.$ref).toBe("#/components/schemas/VerificationStatusInput");
  await fc.assert(
    fc.asyncProperty(spelling(STATUSES), async ({ text, meaning }) => {
      expect(validate("components/schemas/VerificationStatusInput", text)).toBe(true);
      expect(allowsBody("KycSearch", { verification_status: text })).toBe(true);
      const query = new URLSearchParams({ verification_status: text });
      const listed = await gateway.rest(account, "GET", `/v1/kyc?${query}`);
      const form = { verification_status: text };
      const found = await gateway.rest(account, "POST", "/v1/kyc/search", { form });
      for (const { data } of [listed.json(), found.json()])
        expect(data.map((kyc: typeof NEW) => kyc.verification_status)).toEqual([meaning]);
    }),
    { numRuns: 40 },
  );
});

test.each([
  ...[
    "",
    " ",
    "inreview",
    "in.review",
    "in_review_",
    "_pending",
    "pendin\u0261",
    "pending\n",
    "in\u00a0review",
  ],
  ...["verified,failed", "constructor", "PENDİNG"],
])(
  "%j is no status: it is refused with the words that there are, and the document refuses it",
  async (text) => {
    const words = "must be one of pending, in_review, verified, failed, expired";
    expect(validate("components/schemas/VerificationStatusInput", text)).toBe(false);
    const json = { verification_status: text };
    const query = new URLSearchParams(json);
    for (const answer of [
      await gateway.rest(token, "POST", "/v1/kyc", { json: { ...NEW, ...json } }),
      await gateway.rest(token, "GET", `/v1/kyc?${query}`),
      await gateway.rest(token, "POST", "/v1/kyc/search", { json }),
    ]) {
      expect(answer.statusCode).toBe(400);
      expect(answer.json().error).toMatchObject({ param: "verification_status", code: "parameter_invalid" });
      expect(answer.json().error.message).toContain(words);
    }
  },
);

test.each([
  "passports",
  "pass'port",
  "library_card",
  "idcard",
  "driver''s license",
  "driver`s license",
  "licence",
])(
  "%j is no document type: it is refused with the words that there are, and the document refuses it",
  async (text) => {
    expect(validate("components/schemas/DocumentTypeInput", text)).toBe(false);
    const answer = await gateway.rest(token, "POST", "/v1/kyc", { json: { ...NEW, document_type: text } });
    expect(answer.json().error).toMatchObject({ param: "document_type", code: "parameter_invalid" });
    expect(answer.json().error.message).toContain("must be one of passport, drivers_license, id_card");
  },
);

test("a word that is very long takes no long time to be refused", async () => {
  const began = cpuTime();
  for (const text of [" ".repeat(45_000), `in${" ".repeat(45_000)}x`, `passport${" ".repeat(45_000)}x`]) {
    const json = { ...NEW, verification_status: text, document_type: text };
    expect((await gateway.rest(token, "POST", "/v1/kyc", { json })).statusCode).toBe(400);
  }
  expect(cpuTime() - began).toBeLessThan(3000);
});

describe("the document allows what the gateway takes", () => {
  test.each([
    ["a number with space around it", { document_number: `\t ${"9".repeat(64)} \n` }],
    ["a number of one character", { document_number: "9" }],
    ["a number of wide characters", { document_number: "𝟗".repeat(64) }],
    ["an identifier of 128 wide characters", { customer_id: "𝟗".repeat(128) }],
  ])("%s", async (_, change) => {
    const body = { ...NEW, ...change };
    expect(allowsBody("KycCreation", body)).toBe(true);
    expect((await gateway.rest(token, "POST", "/v1/kyc", { json: body })).statusCode).toBe(201);
  });

  test.each([
    ["a number that is too long", { document_number: "9".repeat(65) }],
    ["a number of space alone", { document_number: "  " }],
    ["an identifier that is too long", { customer_id: "9".repeat(129) }],
    ["a field that nobody knows", { offset: 1 }],
    ["a field of another type", { document_number: 9 }],
  ])("and refuses what it refuses: %s", async (_, change) => {
    const body = { ...NEW, ...change };
    expect(allowsBody("KycCreation", body)).toBe(false);
    expect((await gateway.rest(token, "POST", "/v1/kyc", { json: body })).statusCode).toBe(400);
  });

  test("a record that is sent back, as JSON and as a form has it", async () => {
    const { headers } = await gateway.rest(token, "POST", "/v1/kyc", { json: NEW });
    const path = String(headers.location);
    const record = (await gateway.rest(token, "GET", path)).json();
    const asTexts = Object.fromEntries(Object.entries(record).map(([name, value]) => [name, String(value)]));
    for (const json of [record, asTexts]) {
      expect(allowsBody("KycChanges", json)).toBe(true);
      expect((await gateway.rest(token, "PUT", path, { json })).statusCode).toBe(200);
    }
    expect((await gateway.rest(token, "PUT", path, { form: asTexts })).statusCode).toBe(200);
  });

  test("headers in UTF-8, of which a proxy counts the bytes", async () => {
    const { parameters } = document.paths["/v1/kyc"].post;
    const schemaOf = (wanted: string) =>
      parameters.find(({ name }: { name: string }) => name === wanted).schema;
    const asBytes = (text: string) => Buffer.from(text).toString("latin1");
    const headers = {
      "Idempotency-Key": asBytes("𝟗".repeat(255)),
      "Kyc-Reason": asBytes("ü".repeat(500)),
    };
    for (const [name, value] of Object.entries(headers))
      expect(ajv.validate(schemaOf(name), value)).toBe(true);
    expect((await gateway.rest(token, "POST", "/v1/kyc", { json: NEW, headers })).statusCode).toBe(201);
  });

  test("the id of an address has an example that is one", () => {
    const [parameter] = document.paths["/v1/kyc/{id}"].parameters;
    expect(ajv.validate(parameter.schema, parameter.example)).toBe(true);
  });
});

test.each<[string, string, string, object]>([
  ["JSON", "application/json", JSON.stringify(NEW), NEW],
  ["a form", "application/x-www-form-urlencoded", new URLSearchParams(NEW).toString(), NEW],
])("a byte order mark before %s is skipped", async (_, type, text, expected) => {
  const answer = await gateway.app.inject({
    ...{ method: "POST", url: "/v1/kyc", payload: Buffer.from(`\ufeff${text}`) },
    headers: { authorization: `Bearer ${token}`, "content-type": type },
  });
  expect(answer.statusCode).toBe(201);
  expect(answer.json()).toMatchObject(expected);
});
