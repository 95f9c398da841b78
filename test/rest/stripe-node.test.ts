import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import Stripe from "stripe";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Scope } from "../../src/auth/scopes.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { administer } from "../support/postgres-server.ts";

// Legacy clients follow the conventions of Stripe. The stock SDK represents them, because it is the strictest one.

const PARAMS = {
  customer_id: "cus_1",
  verification_status: "pending",
  document_type: "driver’s license",
  document_number: "D 123/45+6&7=8",
};
const NEVER = "AAAAAAAAAAAAAAAA";

let gateway: TestApp;
let port: number;
let received = 0;
beforeAll(async () => {
  gateway = await createTestApp();
  await gateway.app.listen({ host: "127.0.0.1", port: 0 });
  gateway.app.server.on("request", () => {
    received += 1;
  });
  port = (gateway.app.server.address() as AddressInfo).port;
});
afterAll(() => gateway.close());

function connectWith(apiKey: string, maxNetworkRetries = 0): Stripe {
  return new Stripe(apiKey, {
    host: "127.0.0.1",
    port,
    protocol: "http",
    maxNetworkRetries,
    telemetry: false,
  });
}

async function connectAs(account: string, scopes?: readonly Scope[]): Promise<Stripe> {
  return connectWith(await gateway.token(account, scopes));
}

/** The error that a call of the SDK fails with. */
async function failureOf(call: Promise<unknown>): Promise<Stripe.errors.StripeError> {
  const failure = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(Stripe.errors.StripeError);
  return failure as Stripe.errors.StripeError;
}

/** How many requests reach the gateway while the action runs, whatever the SDK tells of them. */
async function countRequests(action: () => Promise<unknown>): Promise<number> {
  const before = received;
  await action();
  return received - before;
}

describe("the stock stripe SDK", () => {
  test("creates, retrieves, updates and deletes a record", async () => {
    const stripe = await connectAs(randomUUID());
    const created = await stripe.rawRequest("POST", "/v1/kyc", PARAMS);
    expect(created).toMatchObject({ ...PARAMS, document_type: "drivers_license" });
    expect(created.lastResponse).toMatchObject({
      statusCode: 201,
      requestId: expect.stringMatching(/^req_/),
    });

    const path = `/v1/kyc/${created.id}`;
    expect(await stripe.rawRequest("GET", path)).toEqual(created);

    const updated = await stripe.rawRequest("POST", path, { verification_status: "verified" });
    expect(updated).toEqual({
      ...created,
      verification_status: "verified",
      updated_at: expect.any(Number),
    });

    expect(await stripe.rawRequest("DELETE", path)).toEqual({ id: created.id, deleted: true });
    expect((await failureOf(stripe.rawRequest("GET", path))).statusCode).toBe(404);
  });

  test("sends a retrieved record back with a change", async () => {
    const stripe = await connectAs(randomUUID());
    const { id } = await stripe.rawRequest("POST", "/v1/kyc", PARAMS);
    const record = await stripe.rawRequest("GET", `/v1/kyc/${id}`);
    const updated = await stripe.rawRequest("POST", `/v1/kyc/${id}`, { ...record, document_number: "2" });
    expect(updated).toMatchObject({ id, document_number: "2" });
  });

  test("lists records, page by page in both directions", async () => {
    const stripe = await connectAs(randomUUID());
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      gateway.clock.now = Date.UTC(2026, 0, 1) + i;
      ids.unshift((await stripe.rawRequest("POST", "/v1/kyc", PARAMS)).id);
    }
    gateway.clock.now = undefined;
    const list = async (query: string) => {
      const { data, has_more } = await stripe.rawRequest("GET", `/v1/kyc?${query}`);
      return [data.map((record: { id: string }) => record.id), has_more];
    };
    expect(await list("limit=2")).toEqual([ids.slice(0, 2), true]);
    expect(await list(`limit=2&starting_after=${ids[1]}`)).toEqual([ids.slice(2, 4), true]);
    expect(await list(`limit=2&starting_after=${ids[3]}`)).toEqual([ids.slice(4), false]);
    expect(await list(`limit=2&ending_before=${ids[3]}`)).toEqual([ids.slice(1, 3), true]);
    expect(await list(`limit=2&ending_before=${ids[1]}`)).toEqual([ids.slice(0, 1), false]);
    expect(await list("verification_status=failed&customer_id=cus_1")).toEqual([[], false]);
  });

  test("pages through everything by itself, given a resource of its own", async () => {
    const stripe = await connectAs(randomUUID());
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      gateway.clock.now = Date.UTC(2026, 0, 1) + i;
      ids.unshift((await stripe.rawRequest("POST", "/v1/kyc", PARAMS)).id);
    }
    gateway.clock.now = undefined;
    class Kycs extends Stripe.StripeResource {
      list(params: object): AsyncIterable<{ id: string }> {
        // @ts-expect-error The method is not in the declarations; the SDK's own resources are made with it.
        return this._makeRequest("GET", "/v1/kyc", params, undefined, { methodType: "list" });
      }
    }
    const kycs = new Kycs(stripe);
    const walk = async (params: object) => {
      const met: string[] = [];
      for await (const { id } of kycs.list(params)) met.push(id);
      return met;
    };
    expect(await walk({ limit: 2 })).toEqual(ids);
    expect(await walk({ limit: 2, ending_before: ids[4] })).toEqual(ids.slice(0, 4).reverse());
  });

  test("tells wrong input as an invalid request, with the field at fault and the request's id", async () => {
    const stripe = await connectAs(randomUUID());
    const failure = await failureOf(
      stripe.rawRequest("POST", "/v1/kyc", { ...PARAMS, verification_status: "done" }),
    );
    expect(failure).toBeInstanceOf(Stripe.errors.StripeInvalidRequestError);
    expect(failure).toMatchObject({
      statusCode: 400,
      rawType: "invalid_request_error",
      code: "parameter_invalid",
      param: "verification_status",
      message: expect.stringContaining("must be one of"),
      requestId: expect.stringMatching(/^req_/),
    });
    // The line of a request is written once its answer is on the way.
    await expect.poll(gateway.logged).toContain(failure.requestId);
  });

  test("names the parameters that it adds and nobody knows", async () => {
    const stripe = await connectAs(randomUUID());
    const failure = await failureOf(
      stripe.rawRequest("POST", "/v1/kyc", { ...PARAMS, expand: ["customer"], metadata: { a: "1" } }),
    );
    expect(failure).toMatchObject({ code: "parameter_unknown", param: "expand[0]" });
    expect(failure.message).toContain("metadata[a] is not a parameter");
  });

  test("tells a missing record as an invalid request", async () => {
    const stripe = await connectAs(randomUUID());
    for (const call of [
      () => stripe.rawRequest("GET", `/v1/kyc/${NEVER}`),
      () => stripe.rawRequest("POST", `/v1/kyc/${NEVER}`, { verification_status: "failed" }),
      () => stripe.rawRequest("DELETE", `/v1/kyc/${NEVER}`),
      () => stripe.rawRequest("GET", "/v1/unknown"),
    ]) {
      const failure = await failureOf(call());
      expect(failure).toBeInstanceOf(Stripe.errors.StripeInvalidRequestError);
      expect(failure).toMatchObject({ statusCode: 404, requestId: expect.stringMatching(/^req_/) });
    }
  });

  test("tells a wrong token as an authentication error", async () => {
    const stripe = connectWith(`kycgw_${"A".repeat(43)}`);
    const failure = await failureOf(stripe.rawRequest("GET", "/v1/kyc"));
    expect(failure).toBeInstanceOf(Stripe.errors.StripeAuthenticationError);
    expect(failure).toMatchObject({ statusCode: 401, requestId: expect.stringMatching(/^req_/) });
  });

  test("tells a missing scope as a permission error that names the scope", async () => {
    const stripe = await connectAs(randomUUID(), ["kyc:read"]);
    const failure = await failureOf(stripe.rawRequest("POST", "/v1/kyc", PARAMS));
    expect(failure).toBeInstanceOf(Stripe.errors.StripePermissionError);
    expect(failure).toMatchObject({
      statusCode: 403,
      message: expect.stringContaining("kyc:write"),
      requestId: expect.stringMatching(/^req_/),
    });
  });

  test("can make an update depend on the version", async () => {
    const stripe = await connectAs(randomUUID());
    const created = await stripe.rawRequest("POST", "/v1/kyc", PARAMS);
    const update = (verification_status: string) =>
      stripe.rawRequest(
        "POST",
        `/v1/kyc/${created.id}`,
        { verification_status },
        { additionalHeaders: { "If-Match": created.lastResponse.headers.etag } },
      );
    expect(await update("verified")).toMatchObject({ verification_status: "verified" });
    expect(await failureOf(update("failed"))).toMatchObject({
      statusCode: 412,
      rawType: "conflict_error",
      requestId: expect.stringMatching(/^req_/),
    });
  });

  test("does not repeat a request that is refused, though it may retry", async () => {
    const account = randomUUID();
    const token = await gateway.token(account);
    const reader = connectWith(await gateway.token(account, ["kyc:read"]), 3);
    const nobody = connectWith("nobody", 3);
    const stripe = connectWith(token, 3);
    const { id } = await stripe.rawRequest("POST", "/v1/kyc", PARAMS);
    const stale = { additionalHeaders: { "If-Match": '"9"' } };
    const refused = [
      () => stripe.rawRequest("GET", "/v1/kyc?limit=0"),
      () => stripe.rawRequest("POST", "/v1/kyc", {}),
      () => stripe.rawRequest("GET", `/v1/kyc/${NEVER}`),
      () => stripe.rawRequest("POST", `/v1/kyc/${id}`, {}, stale),
      () => stripe.rawRequest("POST", `/v1/kyc/${id}`, { document_number: "1".repeat(200_000) }),
      () => reader.rawRequest("DELETE", `/v1/kyc/${id}`),
      () => nobody.rawRequest("GET", "/v1/kyc"),
    ];
    for (const call of refused) expect(await countRequests(() => failureOf(call()))).toBe(1);
  });

  test("retries a failure of ours as often as it is told to, and then tells it without its cause", async () => {
    const account = randomUUID();
    const stripe = connectWith(await gateway.token(account), 1);
    await stripe.rawRequest("GET", "/v1/kyc");
    await administer(gateway.databaseUrl, "alter table kycs rename to hidden");
    try {
      const requests = await countRequests(async () => {
        const failure = await failureOf(stripe.rawRequest("GET", "/v1/kyc"));
        expect(failure).toBeInstanceOf(Stripe.errors.StripeAPIError);
        expect(failure).toMatchObject({
          statusCode: 500,
          rawType: "api_error",
          message: "Something went wrong on our side.",
          requestId: expect.stringMatching(/^req_/),
        });
        expect(gateway.logged()).toContain(failure.requestId);
      });
      expect(requests).toBe(2);
    } finally {
      await administer(gateway.databaseUrl, "alter table hidden rename to kycs");
    }
    expect((await stripe.rawRequest("GET", "/v1/kyc")).data).toEqual([]);
  });
});
