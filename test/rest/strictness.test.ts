import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { Readable } from "node:stream";
import type { InjectOptions, LightMyRequestResponse } from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

type Method = NonNullable<InjectOptions["method"]>;
type Sent = Parameters<TestApp["rest"]>[3];

const FORM = {
  customer_id: "customer",
  verification_status: "pending",
  document_type: "passport",
  document_number: "123456789",
};
const NEVER = "AAAAAAAAAAAAAAAA";
const BODY_LIMIT = 100 * 1024;
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };
const JSON_TYPE = { "content-type": "application/json" };

let gateway: TestApp;
let token: string;
/** The path of a record at version 1, for requests that leave it so. */
let path: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token(randomUUID());
  path = await newRecord(token);
});
afterAll(() => gateway.close());

async function newRecord(owner: string): Promise<string> {
  return String((await gateway.rest(owner, "POST", "/v1/kyc", { form: FORM })).headers.location);
}

const call = (method: Method, url: string, sent?: Sent) => gateway.rest(token, method, url, sent);

/** The contents of an error, after checking that it has the form of all errors. */
function errorOf(
  answer: LightMyRequestResponse,
  status: number,
): { type: string; code: string; message: string; param?: string } {
  expect(answer.statusCode).toBe(status);
  expect(answer.headers["content-type"]).toMatch(/^application\/json/);
  const body = answer.json();
  expect(Object.keys(body)).toEqual(["error"]);
  const { param, current_version, ...rest } = body.error;
  if (current_version !== undefined) expect([status, typeof current_version]).toEqual([412, "number"]);
  expect(Object.keys(rest)).toEqual(["type", "code", "message"]);
  for (const text of [...Object.values(rest), param ?? "none"]) expect(text).toEqual(expect.any(String));
  expect(rest.message).not.toBe("");
  return body.error;
}

/** As `errorOf`, for invalid input; `kind` is that of the first fault. */
function faultOf(answer: LightMyRequestResponse, kind: "missing" | "unknown" | "invalid"): [string, string] {
  const { type, code, message, param } = errorOf(answer, 400);
  expect([type, code]).toEqual(["invalid_request_error", `parameter_${kind}`]);
  return [String(param), message];
}

describe("parameters", () => {
  test.each<[string, Method, string, Sent]>([
    ["a list", "GET", "?offset=1", {}],
    ["a record that is read", "GET", `/${NEVER}?offset=1`, {}],
    ["a record that is created, in the query", "POST", "?offset=1", { form: FORM }],
    ["a record that is created, in the form", "POST", "", { form: { ...FORM, offset: "1" } }],
    ["a record that is created, in the JSON", "POST", "", { json: { ...FORM, offset: 1 } }],
    ["a record that is updated, in the query", "PUT", `/${NEVER}?offset=1`, { form: {} }],
    ["a record that is updated, in the form", "PUT", `/${NEVER}`, { form: { offset: "1" } }],
    ["a record that is updated, in the JSON", "PATCH", `/${NEVER}`, { json: { offset: null } }],
    ["a record that is deleted, in the query", "DELETE", `/${NEVER}?offset=1`, {}],
    ["a record that is deleted, in the form", "DELETE", `/${NEVER}`, { form: { offset: "1" } }],
  ])("an unknown one is an error for %s", async (_, method, rest, sent) => {
    const [param, message] = faultOf(await call(method, `/v1/kyc${rest}`, sent), "unknown");
    expect(param).toBe("offset");
    expect(message).toBe("offset is not a parameter of this request");
  });

  test.each(["id", "created_at", "updated_at"])(
    "%s can't be given to a record that is created",
    async (name) => {
      const answer = await call("POST", "/v1/kyc", { form: { ...FORM, [name]: "1" } });
      expect(faultOf(answer, "unknown")[0]).toBe(name);
    },
  );

  test.each(["first", "after", "customerId", "LIMIT", "expand[0]", "include[]", "constructor", "toString"])(
    "%s is unknown, and is called what its sender calls it",
    async (name) => {
      const answer = await call("GET", `/v1/kyc?${encodeURIComponent(name)}=1`);
      expect(faultOf(answer, "unknown")[0]).toBe(name);
    },
  );

  test("what does not look like a name is not repeated, as it can be part of a record", async () => {
    const query = await call("GET", "/v1/kyc?AB123456");
    expect(faultOf(query, "unknown")).toEqual([
      "query",
      "query has names that are no parameters of this request",
    ]);
    const body = await call("PUT", path, { form: "{}&=1&AB123456=2" });
    expect(faultOf(body, "unknown")).toEqual([
      "body",
      "body has names that are no parameters of this request",
    ]);
  });

  test.each(["limit=5&limit=5", "limit=5&limit=6", "limit=5&%6Cimit=6", "limit=5&limit", "limit=&limit=5"])(
    "one that is repeated in the query, as in %s, is an error",
    async (query) => {
      expect(faultOf(await call("GET", `/v1/kyc?${query}`), "invalid")).toEqual([
        "limit",
        "limit must be given once",
      ]);
    },
  );

  test("one that is repeated in a form is an error, and nothing is changed", async () => {
    const answer = await call("PUT", path, { form: "document_number=1&document_number=2" });
    expect(faultOf(answer, "invalid")).toEqual(["document_number", "document_number must be given once"]);
    expect((await call("GET", path)).headers.etag).toBe('"1"');
  });

  test("empty pairs between ampersands are nothing", async () => {
    expect((await call("GET", "/v1/kyc?&&limit=1&")).statusCode).toBe(200);
    expect((await call("GET", "/v1/kyc?")).statusCode).toBe(200);
  });

  test.each([
    "0",
    "101",
    "-1",
    "1.5",
    "1e1",
    "0x10",
    "%2B5",
    "",
    "%EF%BC%99",
    "99999999999999999999",
    "%205",
    "5%20",
    "abc",
    "Infinity",
    "null",
    "1_0",
  ])("limit=%s is an error", async (limit) => {
    expect(faultOf(await call("GET", `/v1/kyc?limit=${limit}`), "invalid")).toEqual([
      "limit",
      "limit must be an integer from 1 to 100",
    ]);
  });

  test.each(["1", "10", "100"])("limit=%s is taken", async (limit) => {
    expect((await call("GET", `/v1/kyc?limit=${limit}`)).statusCode).toBe(200);
  });

  test.each([
    ["a lone percent sign", "%"],
    ["half an escape", "%C"],
    ["an escape that is not hexadecimal", "%zz"],
    ["half a character", "%C3"],
    ["a byte that UTF-8 has not", "%ff"],
    ["an overlong encoding", "%C0%80"],
    ["an encoded surrogate", "%ED%A0%80"],
  ])("%s is an error in a query and in a form", async (_, broken) => {
    const message = (name: string) => `${name} is not percent-encoded UTF-8`;
    const query = await call("GET", `/v1/kyc?customer_id=a${broken}`);
    expect(faultOf(query, "invalid")).toEqual(["customer_id", message("customer_id")]);
    const form = await call("PUT", path, { form: `document_number=1${broken}` });
    expect(faultOf(form, "invalid")).toEqual(["document_number", message("document_number")]);
    const name = await call("GET", `/v1/kyc?customer_id${broken}=1`);
    expect(faultOf(name, "unknown")[0]).toBe("query");
  });

  test.each([
    ["customer_id", ""],
    ["customer_id", "%00"],
    ["customer_id", "a%0Ab"],
    ["customer_id", "x".repeat(129)],
    ["verification_status", ""],
    ["verification_status", "done"],
    ["verification_status", "verified,failed"],
    ["verification_status", "constructor"],
  ])("a filter on %s that can't be any record's (%s) is an error, not an empty list", async (name, value) => {
    expect(faultOf(await call("GET", `/v1/kyc?${name}=${value}`), "invalid")[0]).toBe(name);
  });

  test.each([
    ["created[gte]=yesterday", ["created[gte]"]],
    ["created[lt]=1.5&created%5Bgt%5D=1e3", ["created[lt]", "created[gt]"]],
    ["created[gte]=1&created[gt]=1", ["created[gt]"]],
    ["document_type=paper&created[lte]=", ["created[lte]", "document_type"]],
  ])("bounds of the time of creation that are none (%s) are all named", async (query, names) => {
    const { message } = (await call("GET", `/v1/kyc?${query}`)).json().error;
    for (const name of names) expect(message).toContain(name);
  });

  test.each(["created=1", "created[eq]=1", "created[from]=1", "updated[gte]=1"])(
    "%s is no filter of this list",
    async (query) => {
      expect(faultOf(await call("GET", `/v1/kyc?${query}`), "unknown")[0]).toBe(query.split("=")[0]);
    },
  );

  test.each([
    ["verification_status", "done", "must be one of pending, in_review, verified, failed, expired"],
    [
      "document_type",
      "library_card",
      "must be one of passport, drivers_license, id_card, residence_permit, visa, other",
    ],
    ["document_number", "   ", "must have 1 to 64 printable characters"],
    ["document_number", "x".repeat(65), "must have 1 to 64 printable characters"],
    ["document_number", "1\u00002", "must have 1 to 64 printable characters"],
    ["document_number", "1\u202e2", "must have 1 to 64 printable characters"],
  ])("%s can't be %j", async (name, value, message) => {
    for (const answer of [
      await call("PUT", path, { form: { [name]: value } }),
      await call("POST", "/v1/kyc", { json: { ...FORM, [name]: value } }),
    ]) {
      expect(faultOf(answer, "invalid")).toEqual([name, `${name} ${message}`]);
    }
  });

  test("both cursors together are an error", async () => {
    const id = path.split("/").at(-1);
    const [param, message] = faultOf(
      await call("GET", `/v1/kyc?starting_after=${id}&ending_before=${id}`),
      "invalid",
    );
    expect(param).toBe("ending_before");
    expect(message).toBe("ending_before can't be used together with starting_after");
  });
});

describe("every fault is named at once", () => {
  test("if required fields are missing", async () => {
    const answer = await call("POST", "/v1/kyc");
    expect(faultOf(answer, "missing")).toEqual([
      "customer_id",
      "customer_id is required; verification_status is required; document_type is required; document_number is required",
    ]);
  });

  test("in a list", async () => {
    const query = "limit=0&verification_status=x&customer_id=&starting_after=x&ending_before=y&offset=1";
    const { message } = errorOf(await call("GET", `/v1/kyc?${query}`), 400);
    for (const name of [
      "limit",
      "verification_status",
      "customer_id",
      "starting_after",
      "ending_before",
      "offset",
    ]) {
      expect(message).toContain(`${name} `);
    }
  });

  test("in a list whose cursor is of no record", async () => {
    const { message } = errorOf(await call("GET", `/v1/kyc?limit=0&starting_after=${NEVER}`), 400);
    expect(message).toContain("limit must be an integer");
    expect(message).toContain("starting_after is not a cursor");
  });

  test("in a record that is created, in its query and its body", async () => {
    const form =
      "customer_id=%ff&verification_status=x&document_type=y&document_number=1&document_number=2&offset=3";
    const { message } = errorOf(await call("POST", "/v1/kyc?dry_run=1", { form }), 400);
    for (const fault of [
      "customer_id is not percent-encoded UTF-8",
      "verification_status must be one of",
      "document_type must be one of",
      "document_number must be given once",
      "offset is not a parameter",
      "dry_run is not a parameter",
    ]) {
      expect(message).toContain(fault);
    }
  });

  test("in a record that is updated, in its headers, its query, its new and its fixed fields", async () => {
    const answer = await call("PUT", `${path}?dry_run=1`, {
      headers: { "if-match": "garbage" },
      json: {
        verification_status: 5,
        document_number: null,
        offset: 1,
        id: NEVER,
        customer_id: "other",
        created_at: 1,
        updated_at: 1,
      },
    });
    const { message } = errorOf(answer, 400);
    for (const fault of [
      "If-Match must be",
      "verification_status must be one of",
      "document_number must not be null",
      "offset is not a parameter",
      "dry_run is not a parameter",
      "id can't be changed",
      "customer_id can't be changed",
      "created_at can't be changed",
      "updated_at can't be changed",
    ]) {
      expect(message).toContain(fault);
    }
  });

  test("and each field once, with what is wrong with it first", async () => {
    const [, message] = faultOf(await call("GET", "/v1/kyc?limit=%zz&limit=x"), "invalid");
    expect(message.match(/limit/g)).toHaveLength(1);
  });
});

describe("bodies", () => {
  test.each([
    "text/plain",
    "text/json",
    "application/xml",
    "application/octet-stream",
    "application/merge-patch+json",
    "multipart/form-data; boundary=x",
    "garbage",
    "application/json, application/json",
  ])("of type %s are refused with 415", async (type) => {
    for (const [method, url] of [
      ["POST", "/v1/kyc"],
      ["PUT", path],
      ["DELETE", path],
    ] as const) {
      const answer = await call(method, url, { form: FORM, headers: { "content-type": type } });
      const { type: kind, code } = errorOf(answer, 415);
      expect([kind, code]).toEqual(["invalid_request_error", "content_type_unsupported"]);
    }
  });

  test("without a type are refused with 415", async () => {
    const answer = await gateway.app.inject({
      method: "POST",
      url: "/v1/kyc",
      headers: { authorization: `Bearer ${token}` },
      payload: Buffer.from("customer_id=1"),
    });
    errorOf(answer, 415);
  });

  test.each([
    "application/x-www-form-urlencoded",
    "application/json",
    "text/plain",
    "multipart/form-data; boundary=x",
    "garbage",
    "",
  ])("that are empty can have any type, such as %j", async (type) => {
    const own = await newRecord(token);
    const headers = { "content-type": type };
    expect((await call("GET", "/v1/kyc", { headers })).statusCode).toBe(200);
    expect((await call("GET", own, { headers })).statusCode).toBe(200);
    expect((await call("PUT", own, { headers })).statusCode).toBe(200);
    faultOf(await call("POST", "/v1/kyc", { headers }), "missing");
    expect((await call("DELETE", own, { headers })).statusCode).toBe(200);
  });

  test("of the largest size are read, and larger ones are refused with 413", async () => {
    const fill = (size: number) => "document_number=".padEnd(size, "1");
    faultOf(await call("PUT", path, { form: fill(BODY_LIMIT) }), "invalid");
    const { type, code } = errorOf(await call("PUT", path, { form: fill(BODY_LIMIT + 1) }), 413);
    expect([type, code]).toEqual(["invalid_request_error", "body_too_large"]);
  });

  test("that do not say their size are refused with 413 once they are too large", async () => {
    const answer = await gateway.app.inject({
      method: "POST",
      url: "/v1/kyc",
      headers: { authorization: `Bearer ${token}`, "transfer-encoding": "chunked", ...FORM_TYPE },
      payload: Readable.from(["document_number=", "1".repeat(BODY_LIMIT)]),
    });
    errorOf(answer, 413);
  });

  test.each(["{", "{'a':1}", '{"a":1,}', "customer_id=1", "NaN", "{} {}", "undefined"])(
    "that are not JSON (%s) are an error where they should be",
    async (form) => {
      const answer = await call("POST", "/v1/kyc", { form, headers: JSON_TYPE });
      expect(faultOf(answer, "invalid")).toEqual(["body", "body is not valid JSON"]);
    },
  );

  test.each(["[]", '[{"document_number":"1"}]', '"text"', "1", "true", "null"])(
    "that are JSON but no object (%s) are an error",
    async (form) => {
      const answer = await call("PUT", path, { form, headers: JSON_TYPE });
      expect(faultOf(answer, "invalid")).toEqual(["body", "body must be a JSON object"]);
    },
  );

  test.each([
    ["application/json", Buffer.from([0x7b, 0xff, 0x7d])],
    ["application/x-www-form-urlencoded", Buffer.from([0x61, 0x3d, 0xff])],
  ])("of type %s that are not UTF-8 are an error", async (type, payload) => {
    const answer = await gateway.app.inject({
      method: "POST",
      url: "/v1/kyc",
      headers: { authorization: `Bearer ${token}`, "content-type": type },
      payload,
    });
    expect(faultOf(answer, "invalid")).toEqual(["body", "body is not UTF-8"]);
  });

  test.each([
    ["null", null, "must not be null"],
    ["a number", 123456789, "must be a string"],
    ["true", true, "must be a string"],
    ["a list", ["1"], "must be a string"],
    ["an object", { a: "1" }, "must be a string"],
  ])("can't have %s for a document number", async (_, document_number, message) => {
    for (const answer of [
      await call("POST", "/v1/kyc", { json: { ...FORM, document_number } }),
      await call("PUT", path, { json: { document_number } }),
    ]) {
      expect(faultOf(answer, "invalid")).toEqual(["document_number", `document_number ${message}`]);
    }
  });

  test.each(["verification_status", "document_type", "customer_id"])(
    "can't have null, a number or a list for %s",
    async (name) => {
      for (const value of [null, 1, ["passport"], {}]) {
        const answer = await call("POST", "/v1/kyc", { json: { ...FORM, [name]: value } });
        expect(faultOf(answer, "invalid")[0]).toBe(name);
      }
    },
  );

  test.each(["__proto__", "constructor", "prototype", "hasOwnProperty", "toString"])(
    "with the key %s have an unknown parameter, and nothing more happens",
    async (name) => {
      const json = `{"document_number":"1","${name}":{"verification_status":"failed"}}`;
      expect(faultOf(await call("PUT", path, { form: json, headers: JSON_TYPE }), "unknown")[0]).toBe(name);
      expect(faultOf(await call("PUT", path, { form: `${name}=1` }), "unknown")[0]).toBe(name);
      expect({}).not.toHaveProperty("verification_status");
      expect((await call("GET", path)).headers.etag).toBe('"1"');
    },
  );
});

describe("a record that is sent back", () => {
  test("is accepted, as JSON and as a form, with the changes that it carries", async () => {
    const own = await newRecord(token);
    const record = (await call("GET", own)).json();
    const json = await call("PUT", own, { json: { ...record, verification_status: "in_review" } });
    expect(json.json()).toMatchObject({ id: record.id, verification_status: "in_review" });

    const stored = json.json();
    const form = Object.fromEntries(Object.entries(stored).map(([name, value]) => [name, String(value)]));
    const answer = await call("PUT", own, { form: { ...form, verification_status: "verified" } });
    expect(answer.json()).toMatchObject({ id: record.id, verification_status: "verified" });
  });

  test.each<[string, unknown]>([
    ["id", NEVER],
    ["customer_id", "other"],
    ["customer_id", null],
    ["created_at", 1],
    ["created_at", "1"],
    ["created_at", null],
    ["updated_at", "2026-01-01T00:00:00Z"],
    ["updated_at", ""],
  ])("is refused with another %s (%j), and nothing is changed", async (name, value) => {
    const record = (await call("GET", path)).json();
    const json = { ...record, verification_status: "failed", [name]: value };
    const [param, message] = faultOf(await call("PUT", path, { json }), "invalid");
    expect(param).toBe(name);
    expect(message).toBe(`${name} can't be changed: leave it out, or send the stored value`);
    expect((await call("GET", path)).json()).toEqual(record);
  });
});

describe("addresses and methods", () => {
  test.each(["/", "/v1", "/v2/kyc", "/v1/kycs", "/v1/KYC", `/v1/kyc/${NEVER}/documents`, "/v1/kyc.json"])(
    "%s is nothing",
    async (url) => {
      const { type, code, param } = errorOf(await call("GET", url), 404);
      expect([type, code, param]).toEqual(["invalid_request_error", "route_unknown", undefined]);
    },
  );

  test.each([
    ["of another record", NEVER],
    ["of one letter", "x"],
    ["of fifteen letters", "A".repeat(15)],
    ["of seventeen letters", "A".repeat(17)],
    ["with an underscore", "AAAAAAAAAAAAAAA_"],
    ["with an accent", "AAAAAAAAAAAAAAA%C3%A9"],
    ["with a NUL", "AAAAAAAAAAAAAAA%00"],
    ["with a slash", "AAAAAAAAAAAAAAA%2F"],
    ["that tries SQL", "'%20or%201=1--"],
    ["of a thousand letters", "A".repeat(1000)],
    ["of two thousand letters", "A".repeat(2000)],
  ])("an id %s is not found", async (_, id) => {
    for (const method of ["GET", "PUT", "PATCH", "POST", "DELETE"] as const) {
      const { type, code, param } = errorOf(await call(method, `/v1/kyc/${id}`), 404);
      expect([type, code, param]).toEqual(["invalid_request_error", "resource_missing", undefined]);
    }
  });

  test.each<[Method, string, string]>([
    ["PUT", "/v1/kyc", "GET, HEAD, POST, OPTIONS"],
    ["PATCH", "/v1/kyc", "GET, HEAD, POST, OPTIONS"],
    ["DELETE", "/v1/kyc", "GET, HEAD, POST, OPTIONS"],
    ["GET", "/v1/kyc/search", "POST, OPTIONS"],
    ["TRACE" as Method, `/v1/kyc/${NEVER}`, "GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS"],
  ])("%s %s is answered 405 with what is allowed", async (method, url, allow) => {
    const answer = await call(method, url);
    expect(errorOf(answer, 405).code).toBe("method_not_allowed");
    expect(answer.headers.allow).toBe(allow);
  });

  test("HEAD answers as GET does, without the body", async () => {
    for (const url of [path, "/v1/kyc?limit=1", `/v1/kyc/${NEVER}`, "/v1/kyc?limit=0"]) {
      const head = await call("HEAD", url);
      const get = await call("GET", url);
      expect(head.body).toBe("");
      expect(head.statusCode).toBe(get.statusCode);
      for (const name of ["content-type", "content-length", "etag", "cache-control"]) {
        expect(head.headers[name]).toBe(get.headers[name]);
      }
    }
  });
});

describe("tokens", () => {
  const ROUTES: [Method, string][] = [
    ["GET", "/v1/kyc"],
    ["POST", "/v1/kyc"],
    ["GET", `/v1/kyc/${NEVER}`],
    ["PUT", `/v1/kyc/${NEVER}`],
    ["PATCH", `/v1/kyc/${NEVER}`],
    ["POST", `/v1/kyc/${NEVER}`],
    ["DELETE", `/v1/kyc/${NEVER}`],
  ];

  async function expectUnauthenticated(
    headers: Record<string, string>,
    challenge = 'Bearer error="invalid_token"',
  ) {
    for (const [method, url] of ROUTES) {
      const answer = await gateway.rest(null, method, url, { headers });
      const { type, code, param } = errorOf(answer, 401);
      expect([type, code, param]).toEqual(["authentication_error", "unauthenticated", undefined]);
      expect(answer.headers["www-authenticate"]).toBe(challenge);
      expect(answer.headers["request-id"]).toMatch(/^req_/);
    }
  }

  test("a request without a token is answered 401 with how to authenticate", () =>
    expectUnauthenticated({}, "Bearer"));

  test.each(["", "Bearer", "Bearer ", "Basic eDp5", "x"])(
    "the header Authorization: %j holds no bearer token, and is answered as if it were not there",
    (authorization) => expectUnauthenticated({ authorization }, "Bearer"),
  );

  test.each(["Bearer x", `Bearer kycgw_${"A".repeat(43)}`, `Bearer kycgw_${"A".repeat(43)} x`])(
    "the header Authorization: %j is answered 401",
    (authorization) => expectUnauthenticated({ authorization }),
  );

  test("an expired token is answered 401", async () => {
    const expired = await gateway.token(randomUUID(), ["kyc:read"], Date.now() - 1);
    await expectUnauthenticated({ authorization: `Bearer ${expired}` });
  });

  test("a revoked token is answered 401", async () => {
    const account = randomUUID();
    const revoked = await gateway.token(account);
    const [record] = await listTokens(gateway.db, gateway.keys, account);
    await revokeToken(gateway.db, gateway.keys, String(record?.id), Date.now(), null);
    await expectUnauthenticated({ authorization: `Bearer ${revoked}` });
  });

  test("the word Bearer is read in any case", async () => {
    const headers = { authorization: `bearer ${token}` };
    expect((await gateway.rest(null, "GET", "/v1/kyc", { headers })).statusCode).toBe(200);
  });

  test("nothing of a request is judged before its token", async () => {
    for (const sent of [
      { form: "{", headers: JSON_TYPE },
      { form: "x", headers: { "content-type": "text/plain" } },
      { form: "x".repeat(BODY_LIMIT + 1) },
    ]) {
      errorOf(await gateway.rest(null, "POST", "/v1/kyc?x=1", sent), 401);
    }
  });

  test.each<[Method, string, "kyc:read" | "kyc:write" | "kyc:delete"]>([
    ["GET", "/v1/kyc", "kyc:read"],
    ["GET", "/v1/kyc/:id", "kyc:read"],
    ["POST", "/v1/kyc", "kyc:write"],
    ["PUT", "/v1/kyc/:id", "kyc:write"],
    ["PATCH", "/v1/kyc/:id", "kyc:write"],
    ["POST", "/v1/kyc/:id", "kyc:write"],
    ["DELETE", "/v1/kyc/:id", "kyc:delete"],
  ])("%s %s without the scope %s is answered 403, whether the record is there or not", async (...row) => {
    const [method, route, scope] = row;
    const account = randomUUID();
    const own = await newRecord(await gateway.token(account));
    const others = (["kyc:read", "kyc:write", "kyc:delete", "audit:read"] as const).filter(
      (other) => other !== scope,
    );
    const limited = await gateway.token(account, others);
    for (const url of route === "/v1/kyc" ? [route] : [own, `/v1/kyc/${NEVER}`]) {
      const { type, code, message, param } = errorOf(await gateway.rest(limited, method, url), 403);
      expect([type, code, param]).toEqual(["permission_error", "forbidden", undefined]);
      expect(message).toContain(scope);
      const challenge = `Bearer error="insufficient_scope", scope="${scope}"`;
      expect((await gateway.rest(limited, method, url)).headers["www-authenticate"]).toBe(challenge);
    }
    expect((await gateway.rest(await gateway.token(account), "GET", own)).headers.etag).toBe('"1"');
  });
});

describe("every answer", () => {
  /** Requests of each status, with the status. */
  const requests = (): [number, string | null, Method, string, Sent?][] => [
    [200, token, "GET", "/v1/kyc"],
    [200, token, "GET", path],
    [200, token, "HEAD", path],
    [200, token, "PUT", path],
    [201, token, "POST", "/v1/kyc", { form: FORM }],
    [304, token, "GET", path, { headers: { "if-none-match": "*" } }],
    [400, token, "GET", "/v1/kyc?limit=0"],
    [401, null, "GET", path],
    [404, token, "GET", `/v1/kyc/${NEVER}`],
    [404, token, "GET", "/v1/unknown"],
    [405, token, "PUT", "/v1/kyc"],
    [412, token, "PUT", path, { headers: { "if-match": '"9"' } }],
    [413, token, "PUT", path, { form: "x".repeat(BODY_LIMIT + 1) }],
    [415, token, "PUT", path, { form: "x", headers: { "content-type": "text/plain" } }],
    [415, token, "PUT", path, { form: "x", headers: { "content-type": "garbage" } }],
  ];

  test("has a Request-Id of its own, errors too", async () => {
    const ids = new Set<unknown>();
    for (const [status, bearer, method, url, sent] of requests()) {
      const answer = await gateway.rest(bearer, method, url, sent);
      expect(answer.statusCode).toBe(status);
      expect(answer.headers["request-id"]).toMatch(/^req_[\w-]{36}$/);
      ids.add(answer.headers["request-id"]);
    }
    expect(ids.size).toBe(requests().length);
  });

  test.each([
    ["of a broken escape", "/v1/kyc/%zz"],
    ["that is not UTF-8", "/v1/kyc/%ff"],
    ["that is very long", `/v1/kyc/${"A".repeat(2000)}`],
  ])("has a Request-Id, also to an address %s", async (_, url) => {
    const answer = await call("GET", url);
    expect(answer.statusCode).toBeLessThan(500);
    errorOf(answer, answer.statusCode);
    expect(answer.headers["request-id"]).toMatch(/^req_/);
  });

  test("has a Request-Id and the shape of an error, also to a query that is too long to read", async () => {
    await gateway.app.listen({ host: "127.0.0.1", port: 0 });
    const { port } = gateway.app.server.address() as AddressInfo;
    const socket = connect(port, "127.0.0.1");
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.write(
      `GET /v1/kyc?customer_id=${"x".repeat(20_000)} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
    await once(socket, "close");
    const [head = "", body = ""] = Buffer.concat(chunks).toString().split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(head).toMatch(/^request-id: req_/im);
    expect(JSON.parse(body)).toEqual({
      error: { type: "invalid_request_error", code: expect.any(String), message: expect.any(String) },
    });
  });

  test("with a record, and every refusal of one, is not to be stored", async () => {
    const own = await newRecord(token);
    for (const answer of [
      await call("POST", "/v1/kyc", { form: FORM }),
      await call("GET", own),
      await call("GET", "/v1/kyc"),
      await call("PUT", own, { form: { verification_status: "failed" } }),
      await call("GET", `/v1/kyc/${NEVER}`),
      await call("GET", "/v1/kyc?limit=0"),
      await call("DELETE", own),
    ]) {
      expect(answer.headers["cache-control"]).toBe("no-store");
    }
  });
});

test("neither errors nor the log ever contain what was sent", async () => {
  const canary = "CANARY7781X";
  const long = canary.repeat(7);
  const own = await newRecord(token);
  await call("PUT", own, { form: { document_number: canary } });
  const answers = [
    await call("POST", "/v1/kyc", { form: { ...FORM, verification_status: "x", document_number: canary } }),
    await call("POST", "/v1/kyc", { form: { ...FORM, document_number: long } }),
    await call("POST", "/v1/kyc", { form: { ...FORM, document_type: canary } }),
    await call("POST", "/v1/kyc", { form: { ...FORM, verification_status: canary } }),
    await call("POST", "/v1/kyc", { json: { ...FORM, document_number: { value: canary } } }),
    await call("POST", "/v1/kyc", { json: { ...FORM, document_number: { [canary]: 1 } } }),
    // A body whose type is forgotten: `curl -d` calls it a form, and all of it is then a name.
    await call("POST", "/v1/kyc", { form: JSON.stringify({ ...FORM, document_number: canary }) }),
    await call("POST", "/v1/kyc", { form: `document_number=1&${canary}` }),
    await call("POST", "/v1/kyc", { form: `document_number=${canary}%zz` }),
    await call("POST", "/v1/kyc", { form: `document_number=${canary}&document_number=${canary}` }),
    await call("POST", "/v1/kyc", { form: `{"document_number":"${canary}"`, headers: JSON_TYPE }),
    await call("POST", "/v1/kyc", { form: `["${canary}"]`, headers: JSON_TYPE }),
    await call("POST", "/v1/kyc", { form: canary, headers: { "content-type": "text/plain" } }),
    await call("POST", "/v1/kyc", { form: canary, headers: { "content-type": canary } }),
    await call("POST", "/v1/kyc", { form: `document_number=${canary.repeat(10_000)}` }),
    await call("POST", `/v1/kyc?document_number=${canary}`, { form: FORM }),
    await call("PUT", own, { json: { document_number: canary, verification_status: "x" } }),
    await call("PUT", own, { form: { document_number: canary }, headers: { "if-match": `"${canary}"` } }),
    await call("PUT", own, { form: { document_number: canary }, headers: { "if-match": canary } }),
    await call("PUT", own, { form: { document_number: canary, customer_id: canary } }),
    await call("PUT", `/v1/kyc/${canary}`, { form: { document_number: canary } }),
    await call("DELETE", `/v1/kyc/${canary}`),
    await call("GET", `/v1/kyc/${canary}`),
    await call("GET", `/v1/kyc/${canary}%zz`),
    await call("GET", `/v1/${canary}`),
    await call("GET", `/v1/kyc?starting_after=${canary}`),
    await call("GET", `/v1/kyc?limit=${canary}`),
    await call("GET", `/v1/kyc?verification_status=${canary}`),
    await call("GET", `/v1/kyc?customer_id=${long}${long}`),
    await call("GET", `/v1/kyc?document_number=${canary}%E2%80%A2`),
    await call("GET", `/v1/kyc?document_number=${canary}&document_number=${canary}`),
    await gateway.rest(canary, "GET", own),
  ];
  for (const answer of answers) {
    expect(answer.statusCode).toBeGreaterThanOrEqual(400);
    errorOf(answer, answer.statusCode);
    expect(answer.body).not.toContain(canary);
    expect(JSON.stringify(answer.headers)).not.toContain(canary);
  }
  expect(gateway.logged()).not.toContain(canary);
  expect(gateway.logged()).not.toContain(FORM.document_number);
});
