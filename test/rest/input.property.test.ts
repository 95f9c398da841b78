import { randomUUID } from "node:crypto";
import fc from "fast-check";
import type { InjectOptions, LightMyRequestResponse } from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DOCUMENT_TYPES, VERIFICATION_STATUSES } from "../../src/vocabulary.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { codePoint } from "../support/code-points.ts";

const FORM_TYPE = "application/x-www-form-urlencoded";
const FORM = {
  customer_id: "customer",
  verification_status: "pending",
  document_type: "passport",
  document_number: "1",
};

let gateway: TestApp;
let token: string;
/** The address for each method: the list, or a record. The record to delete may be deleted already. */
const urls = { POST: "/v1/kyc", PUT: "", DELETE: "" };
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token(randomUUID());
  for (const method of ["PUT", "DELETE"] as const) {
    urls[method] = String((await gateway.rest(token, "POST", "/v1/kyc", { form: FORM })).headers.location);
  }
});
afterAll(() => gateway.close());

const hostile = fc.constantFrom(
  "",
  "\0",
  "\ud800",
  "\udfff\ud800",
  "\u2028",
  "\ufeff",
  "x".repeat(5000),
  "💥".repeat(100),
  "__proto__",
  "constructor",
  "' or 1=1 --",
  "%s{0}",
  "-1",
  "1e309",
);
/** Any UTF-16 code units, halves of surrogate pairs included. */
const units = fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) });
const text = fc.oneof(fc.string({ unit: codePoint }), units, hostile);
const name = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...Object.keys(FORM),
      "id",
      "created_at",
      "updated_at",
      "limit",
      "starting_after",
      "ending_before",
      "__proto__",
      "constructor",
      "toString",
    ),
  },
  { weight: 1, arbitrary: text },
);
const value = fc.oneof(
  text,
  fc.constantFrom(...VERIFICATION_STATUSES, ...DOCUMENT_TYPES, "1", "10", "100", "AAAAAAAAAAAAAAAA"),
);

/** A form, well encoded or not: percent escapes of what has no encoding, and characters that have a meaning. */
const pairs = fc
  .array(fc.tuple(name, value), { maxLength: 6 })
  .map((entries) => entries.map(([key, content]) => `${escapeUnits(key)}=${escapeUnits(content)}`).join("&"));
const debris = fc
  .array(
    fc.constantFrom(
      "%",
      "%z",
      "%C3",
      "%00",
      "%ff",
      "%ED%A0%80",
      "&",
      "=",
      "+",
      ";",
      "[",
      "]",
      "limit",
      "customer_id",
      "1",
    ),
  )
  .map((parts) => parts.join(""));
const form = fc.oneof(
  pairs,
  debris,
  fc.tuple(pairs, debris).map(([good, bad]) => `${good}&${bad}`),
);

/** JSON text of any value, or of an object whose keys are ours and may repeat. */
const json = fc.oneof(
  fc.json(),
  fc
    .array(fc.tuple(name, fc.oneof(value, fc.jsonValue())), { maxLength: 6 })
    .map(
      (entries) =>
        `{${entries.map((entry) => entry.map((part) => JSON.stringify(part)).join(":")).join(",")}}`,
    ),
  fc.tuple(fc.json(), fc.nat(20)).map(([document, cut]) => document.slice(0, -cut)),
);

/** Encoders refuse half a surrogate pair; this writes the bytes that it would have. */
function escapeUnits(content: string): string {
  return [...content]
    .map((character) =>
      /\p{Cs}/u.test(character)
        ? `%ED%${(0x80 | ((character.charCodeAt(0) >> 6) & 0x3f)).toString(16)}%80`
        : encodeURIComponent(character),
    )
    .join("");
}

function send(
  method: NonNullable<InjectOptions["method"]>,
  url: string,
  body?: { type: string; payload: string | Uint8Array },
): Promise<LightMyRequestResponse> {
  return gateway.app.inject({
    method,
    url,
    headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": body.type }) },
    ...(body && { payload: Buffer.from(body.payload) }),
  });
}

/** An answer is a success, or an error of the one shape that is the client's and gives nothing away. */
function expectSound(answer: LightMyRequestResponse): void {
  expect(answer.statusCode).toBeLessThan(500);
  if (answer.statusCode < 400) return;
  const { error, ...others } = answer.json();
  expect(others).toEqual({});
  const { type, code, message, param = "", ...unknown } = error;
  expect(unknown).toEqual(code === "version_conflict" ? { current_version: expect.any(Number) } : {});
  expect(type).toBe(answer.statusCode === 412 ? "conflict_error" : "invalid_request_error");
  expect(code).toMatch(/^[a-z_]+$/);
  expect(message).not.toBe("");
  for (const said of [message, param]) {
    expect(said).toMatch(/^\P{C}*$/u);
    expect(said).not.toMatch(/\.[jt]s:\d+|node_modules|\bat \S+ \(|Error:/);
  }
}

describe("whatever is sent, the answer is sound", () => {
  test("to a query", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom("/v1/kyc", urls.PUT), form, async (url, query) => {
        expectSound(await send("GET", `${url}?${query}`));
      }),
      { numRuns: 100 },
    );
  });

  test("to an address", async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(text.map(escapeUnits), debris), async (id) => {
        expectSound(await send("GET", `/v1/kyc/${id}`));
      }),
      { numRuns: 60 },
    );
  });

  test.each(["POST", "PUT", "DELETE"] as const)("to a form by %s", async (method) => {
    await fc.assert(
      fc.asyncProperty(form, async (payload) => {
        expectSound(await send(method, urls[method], { type: FORM_TYPE, payload }));
      }),
      { numRuns: 60 },
    );
  });

  test.each(["POST", "PUT", "DELETE"] as const)("to JSON by %s", async (method) => {
    await fc.assert(
      fc.asyncProperty(json, async (payload) => {
        const type = "application/json";
        expectSound(await send(method, urls[method], { type, payload }));
      }),
      { numRuns: 60 },
    );
  });

  test("to bytes of any content type", async () => {
    const type = fc.oneof(
      fc.constantFrom(FORM_TYPE, "application/json"),
      fc.string({ unit: "grapheme-ascii" }),
    );
    await fc.assert(
      fc.asyncProperty(
        type,
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        async (contentType, payload) => {
          expectSound(await send("POST", "/v1/kyc", { type: contentType, payload }));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("to conditions", async () => {
    const header = fc.oneof(
      fc.string({ unit: "grapheme-ascii" }),
      fc.array(fc.constantFrom('"', "1", ",", " ", "W/", "*", "\\")).map((parts) => parts.join("")),
    );
    await fc.assert(
      fc.asyncProperty(header, header, async (match, noneMatch) => {
        const headers = { "if-match": match, "if-none-match": noneMatch };
        for (const method of ["GET", "PUT"] as const) {
          expectSound(await gateway.rest(token, method, urls.PUT, { headers }));
        }
      }),
      { numRuns: 60 },
    );
  });

  test("and nothing of it is unforeseen", () => {
    expect(gateway.logged()).not.toContain("unforeseen failure");
  });
});

describe("what is created is what is read", () => {
  const printable = (maxLength: number) =>
    fc
      .string({ unit: "grapheme", minLength: 1, maxLength })
      .filter((content) => /^[^\p{C}\p{Zl}\p{Zp}]+$/u.test(content) && [...content].length <= maxLength);
  const padding = fc.string({ unit: fc.constantFrom(" ", "\t", "\n", "\u00a0"), maxLength: 3 });
  const fields = {
    verification_status: fc.constantFrom(...VERIFICATION_STATUSES),
    document_type: fc.constantFrom(...DOCUMENT_TYPES),
    document_number: fc
      .tuple(padding, printable(64), padding)
      .map((parts) => parts.join(""))
      // A masked number is refused: it may have been shown to somebody in place of the real one.
      .filter((content) => content.trim() !== "" && !content.includes("•")),
  };
  const input = fc.record({ customer_id: printable(128), ...fields });
  const changes = fc.record(fields, { requiredKeys: [] });
  const asRead = (sent: Record<string, string>) =>
    sent.document_number === undefined ? sent : { ...sent, document_number: sent.document_number.trim() };

  test.each(["form", "json"] as const)("from a %s, and so is what is changed", async (kind) => {
    await fc.assert(
      fc.asyncProperty(input, changes, async (sent, changed) => {
        const created = await gateway.rest(token, "POST", "/v1/kyc", { [kind]: sent });
        expect(created.statusCode).toBe(201);
        expect(created.json()).toMatchObject(asRead(sent));
        const { id } = created.json();
        expect((await gateway.rest(token, "GET", `/v1/kyc/${id}`)).json()).toEqual(created.json());

        const query = new URLSearchParams({ customer_id: sent.customer_id, limit: "100" });
        const { data } = (await gateway.rest(token, "GET", `/v1/kyc?${query}`)).json();
        expect(data).toContainEqual(created.json());

        const updated = await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { [kind]: changed });
        expect(updated.statusCode).toBe(200);
        expect(updated.json()).toMatchObject({ ...asRead(sent), ...asRead(changed) });
        expect((await gateway.rest(token, "GET", `/v1/kyc/${id}`)).json()).toEqual(updated.json());
      }),
      { numRuns: 60 },
    );
  });
});
