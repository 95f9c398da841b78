import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
const account = randomUUID();
const ids: string[] = [];
beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true" });
  token = await gateway.token(account);
  for (const [n, verificationStatus] of ["PENDING", "VERIFIED", "PENDING"].entries())
    ids.unshift(await createRecord(gateway, token, { verificationStatus, documentNumber: `SEARCH00${n}` }));
  await createRecord(gateway, await gateway.token(randomUUID()), { documentNumber: "SEARCH000" });
});
afterAll(() => gateway.close());

const PATH = "/v1/kyc/search";
type Body = Record<string, string | number>;

test("a search answers what the list does for the same parameters, from a form and from JSON", async () => {
  const cases: Record<string, string>[] = [
    {},
    { limit: "1" },
    { limit: "2", starting_after: String(ids[0]) },
    { limit: "1", ending_before: String(ids[2]) },
    { verification_status: "pending" },
    { customer_id: "customer-1", limit: "100" },
    { customer_id: "nobody" },
    { document_number: "SEARCH001" },
    { document_number: "  SEARCH001 " },
  ];
  for (const body of cases) {
    const listed = await gateway.rest(token, "GET", `/v1/kyc?${new URLSearchParams(body)}`);
    const fromForm = await gateway.rest(token, "POST", PATH, { form: body });
    const fromJson = await gateway.rest(token, "POST", PATH, { json: body });
    for (const found of [fromForm, fromJson]) {
      expect([body, found.statusCode]).toEqual([body, 200]);
      expect(found.json()).toEqual(listed.json());
      expect(found.headers.location ?? found.headers.etag).toBeUndefined();
    }
  }
  const numbered = await gateway.rest(token, "POST", PATH, { json: { limit: 2 } });
  expect(numbered.json().data.map(({ id }: { id: string }) => id)).toEqual(ids.slice(0, 2));
});

test("a search finds the record of a number, and of no other account", async () => {
  const { data, has_more } = (
    await gateway.rest(token, "POST", PATH, { form: { document_number: "SEARCH000" } })
  ).json();
  expect([data.length, data[0].id, has_more]).toEqual([1, ids[2], false]);
});

test("nothing is needed to search for everything", async () => {
  expect((await gateway.rest(token, "POST", PATH)).json().data).toHaveLength(3);
});

test("a search that shows numbers is in the trail as a list is", async () => {
  const last =
    "select action, surface, kyc_ids from audit_events where account_id = $1 order by sequence desc limit 1";
  await gateway.rest(token, "POST", PATH, { form: { document_number: "SEARCH002" } });
  expect(await gateway.db.execute(last, [account])).toEqual([
    { action: "read", surface: "rest", kyc_ids: [ids[0]] },
  ]);
});

describe("a search is refused", () => {
  test.each<[string, Body | object, string, string]>([
    ["a parameter that nobody knows", { offset: 1 }, "unknown", "offset"],
    ["a limit that is none", { limit: "0" }, "invalid", "limit"],
    ["a limit that is too high", { limit: 101 }, "invalid", "limit"],
    ["a limit with a fraction", { limit: 1.5 }, "invalid", "limit"],
    ["a limit in a list", { limit: [1] }, "invalid", "limit"],
    ["no limit at all", { limit: null }, "invalid", "limit"],
    ["a status that there is not", { verification_status: "done" }, "invalid", "verification_status"],
    ["a status that is null", { verification_status: null }, "invalid", "verification_status"],
    ["a customer that is null", { customer_id: null }, "invalid", "customer_id"],
    ["a number that is null", { document_number: null }, "invalid", "document_number"],
    ["a number that is none", { document_number: 12 }, "invalid", "document_number"],
    ["a customer that is a list", { customer_id: ["c"] }, "invalid", "customer_id"],
    ["a cursor that is no id", { starting_after: "x" }, "invalid", "starting_after"],
    ["a cursor that is a number", { ending_before: 1234567890123456 }, "invalid", "ending_before"],
    ["a cursor in a list", { starting_after: ["AAAAAAAAAAAAAAAA"] }, "invalid", "starting_after"],
    ["a cursor that is null", { starting_after: null }, "invalid", "starting_after"],
    ["the id of no record", { starting_after: "AAAAAAAAAAAAAAAA" }, "invalid", "starting_after"],
  ])("for %s", async (_, json, kind, param) => {
    const answer = await gateway.rest(token, "POST", PATH, { json });
    expect(answer.statusCode).toBe(400);
    expect(answer.json().error).toMatchObject({ code: `parameter_${kind}`, param });
  });

  test("for parameters in its address, which proxies log", async () => {
    const answer = await gateway.rest(token, "POST", `${PATH}?document_number=SEARCH000`);
    expect(answer.json().error).toMatchObject({ code: "parameter_unknown", param: "document_number" });
    expect(answer.json().error.message).not.toContain("SEARCH000");
  });

  test("for values that lie in lists of thousands", async () => {
    const deep = `${"[".repeat(40_000)}${"]".repeat(40_000)}`;
    for (const name of ["limit", "starting_after", "customer_id", "verification_status", "document_number"]) {
      const answer = await gateway.app.inject({
        ...{ method: "POST", url: PATH, payload: `{"${name}":${deep}}` },
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      });
      expect([name, answer.statusCode]).toEqual([name, 400]);
    }
    const update = await gateway.app.inject({
      ...{ method: "PATCH", url: `/v1/kyc/${ids[0]}`, payload: `{"customer_id":${deep}}` },
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "idempotency-key": "deep",
      },
    });
    expect([update.statusCode, update.json().error.param]).toEqual([400, "customer_id"]);
  });

  test("without the scopes that it takes", async () => {
    const ask = async (scopes: ("kyc:read" | "kyc:write" | "kyc:pii")[], form: Record<string, string>) => {
      const answer = await gateway.rest(await gateway.token(account, scopes), "POST", PATH, { form });
      return [answer.statusCode, answer.headers["www-authenticate"]];
    };
    const lacks = (scope: string) => [403, `Bearer error="insufficient_scope", scope="${scope}"`];
    expect(await ask(["kyc:write"], {})).toEqual(lacks("kyc:read"));
    expect(await ask(["kyc:read"], { document_number: "SEARCH000" })).toEqual(lacks("kyc:pii"));
    expect((await gateway.rest(null, "POST", PATH)).statusCode).toBe(401);
  });
});
