import { afterAll, beforeAll, expect, test } from "vitest";
import { byCommand, recordActForAll } from "../../src/administration/record-act.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { sealAll } from "../support/ledger.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
let id: string;
let gone: string;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  await createRecord(gateway, await gateway.token("globex"));
  id = await createRecord(gateway, token);
  gone = await createRecord(gateway, token, { customerId: "gone" });
  const reason = encodeURIComponent('=HYPERLINK("x")');
  for (const status of ["verified", "failed", "in_review"]) {
    const headers = { "kyc-reason": status === "failed" ? decodeURIComponent(reason) : 'said "yes", twice' };
    await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { verification_status: status }, headers });
  }
  await gateway.rest(token, "DELETE", `/v1/kyc/${gone}`);
  await recordActForAll(gateway.db, byCommand(), { action: "backup_taken", subject: null, at: Date.now() });
  await sealAll(gateway.db);
});
afterAll(() => gateway.close());

const get = (url: string, headers: Record<string, string> = {}, by: string | null = token) =>
  gateway.rest(by, "GET", url, { headers });
const EVENTS = "{ auditEvents(first: 100) { nodes { id position action kycIds reason } } }";

test("the trail is the same as in GraphQL, in the shape of every list", async () => {
  const { data } = await gateway.graphql(token, EVENTS);
  const page = (await get("/v1/audit_events?limit=100")).json();
  expect(Object.keys(page)).toEqual(["has_more", "data"]);
  expect(page.has_more).toBe(false);
  const expected = data.auditEvents.nodes.map((node: { action: string; kycIds: string[] }) => {
    const { kycIds, action, ...rest } = node;
    return { ...rest, action: action.toLowerCase(), kyc_ids: kycIds };
  });
  expect(page.data).toEqual(expected.map((event: object) => expect.objectContaining(event)));
  expect(page.data[0]).toMatchObject({
    action: "backup_taken",
    surface: "cli",
    actor: "cli",
    position: 6,
    kyc_ids: [],
  });
  expect(page.data[2]).toMatchObject({
    ...{
      action: "updated",
      surface: "rest",
      changed_fields: ["verification_status"],
      status_after: "in_review",
    },
    ...{ status_before: "failed", version_after: 4, document_type_after: "passport", at: expect.any(Number) },
  });
});

test("pages go on in both directions, and a header says whether there are more, which repeats nothing of the request", async () => {
  const all = (await get("/v1/audit_events?limit=100")).json().data;
  const walked = [];
  for (let after = ""; walked.length < 50; after = `&starting_after=${walked.at(-1).id}`) {
    const answer = await get(`/v1/audit_events?limit=2&actor=test${after}`);
    walked.push(...answer.json().data);
    expect(answer.headers["has-more"]).toBe(String(answer.json().has_more));
    if (!answer.json().has_more) break;
  }
  expect(walked).toEqual(all.slice(1));
  const back = await get(`/v1/audit_events?limit=2&ending_before=${all[4].id}`);
  expect(back.json()).toEqual({ has_more: true, data: all.slice(2, 4) });
  expect(back.headers["has-more"]).toBe("true");
});

test("filters find what they say, in any spelling of the words", async () => {
  const found = async (query: string) =>
    (await get(`/v1/audit_events?limit=100&${query}`))
      .json()
      .data.map(({ action }: { action: string }) => action);
  expect(await found("customer_id=gone")).toEqual(["deleted", "created"]);
  expect(await found(`kyc_id=${gone}&action=Created`)).toEqual(["created"]);
  expect(await found("action=deleted,%20backup-taken")).toEqual(["backup_taken", "deleted"]);
  expect(await found("status_after=In%20Review")).toEqual(["updated"]);
  const [{ at }] = (await get("/v1/audit_events?limit=1")).json().data;
  expect(await found(`at[gt]=${at}`)).toEqual([]);
  expect((await found(`at[gte]=${at - 100}&at[lte]=${at}`)).length).toBe(7);
  expect(await found(`at%5Blt%5D=${at - 100}`)).toEqual([]);
});

test("every fault is named at once, and none repeats a value", async () => {
  const query =
    "limit=0&starting_after=SECRET&action=SECRET&status_after=SECRET&at[gt]=SECRET&kyc_id=SECRET&offset=1";
  const answer = await get(`/v1/audit_events?${query}`);
  expect(answer.statusCode).toBe(400);
  const { message } = answer.json().error;
  for (const name of ["limit", "starting_after", "action", "status_after", "at[gt]", "kyc_id", "offset"])
    expect(message).toContain(`${name} `);
  expect(answer.body).not.toContain("SECRET");
  const other = (await get("/v1/audit_events", {}, await gateway.token("globex"))).json().data[0].id;
  expect((await get(`/v1/audit_events?starting_after=${other}`)).json().error).toMatchObject({
    ...{ code: "parameter_invalid", param: "starting_after" },
  });
});

test("a record's history works after its deletion; an id that the account never had is not found", async () => {
  const actions = async (url: string) =>
    (await get(url)).json().data.map(({ action }: { action: string }) => action);
  expect(await actions(`/v1/kyc/${gone}/history`)).toEqual(["deleted", "created"]);
  expect(await actions(`/v1/kyc/${id}/history?limit=2`)).toEqual(["updated", "updated"]);
  const foreign = await gateway.token("globex");
  for (const url of [`/v1/kyc/${id}/history`, "/v1/kyc/0000000000000000/history", "/v1/kyc/x/history"]) {
    expect((await get(url, {}, foreign)).statusCode, url).toBe(404);
  }
  expect((await get(`/v1/kyc/${id}/history?actor=x`)).json().error.code).toBe("parameter_unknown");
});

test("only a token with audit:read reads them", async () => {
  for (const url of ["/v1/audit_events", `/v1/kyc/${id}/history`]) {
    const others = await gateway.token("acme", ["kyc:read", "kyc:write", "kyc:delete", "kyc:pii"]);
    expect((await get(url, {}, others)).statusCode).toBe(403);
    expect((await get(url, {}, null)).statusCode).toBe(401);
    expect((await get(url, {}, await gateway.token("acme", ["audit:read"]))).statusCode).toBe(200);
  }
});

test("CSV has a header, a row for each event, and no formula", async () => {
  const answer = await get(`/v1/kyc/${id}/history?limit=100`, { accept: "text/csv" });
  expect(answer.headers["content-type"]).toBe("text/csv; charset=utf-8; header=present");
  expect(answer.headers.vary).toContain("Accept");
  expect(answer.headers["cache-control"]).toBe("no-store");
  const lines = answer.body.split("\r\n");
  expect(lines).toHaveLength(6);
  expect(lines[0]).toBe(
    "id,position,at,action,actor,token_id,token_name,surface,request_id,subject,kyc_ids,changed_fields,status_before,status_after,document_type_after,version_after,reason",
  );
  expect(lines[1]).toMatch(/^evt_\d+,4,\d{4}-\d\d-\d\dT[\d:.]+Z,updated,test,tok_/);
  expect(lines[1]?.endsWith(',failed,in_review,passport,4,"said ""yes"", twice"')).toBe(true);
  expect(lines[2]?.endsWith(`,verified,failed,passport,3,"'=HYPERLINK(""x"")"`)).toBe(true);
  expect(lines[5]).toBe("");
});

test("the answer is what the client accepts, and 406 comes before anything else", async () => {
  const typeFor = async (accept: string) =>
    (await get("/v1/audit_events", { accept })).headers["content-type"];
  for (const accept of ["*/*", "application/json", "text/*;q=0.5, application/*", "text/csv;q=0.1, */*"])
    expect(await typeFor(accept), accept).toBe("application/json; charset=utf-8");
  for (const accept of ["text/csv", "text/*", "application/json;q=0.1, text/csv", "TEXT/CSV; header=present"])
    expect(await typeFor(accept), accept).toMatch(/^text\/csv;/);
  for (const accept of ["text/html", "application/json;q=0", "image/*"]) {
    const answer = await get("/v1/audit_events?limit=0", { accept });
    expect([answer.statusCode, answer.json().error.code], accept).toEqual([406, "not_acceptable"]);
  }
});

test("HEAD answers as GET without the body, and other methods are refused with those that there are", async () => {
  for (const url of ["/v1/audit_events", `/v1/kyc/${id}/history`, "/v1/audit_events/"]) {
    for (const accept of ["text/csv", "application/json"]) {
      const [head, full] = [
        await gateway.rest(token, "HEAD", url, { headers: { accept } }),
        await get(url, { accept }),
      ];
      expect([head.statusCode, head.body]).toEqual([200, ""]);
      for (const name of ["content-type", "content-length"])
        expect(head.headers[name]).toBe(full.headers[name]);
    }
    for (const method of ["POST", "PUT", "DELETE"] as const) {
      const answer = await gateway.rest(token, method, url);
      expect([answer.statusCode, answer.headers.allow]).toEqual([405, "GET, HEAD, OPTIONS"]);
    }
  }
});
