import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

const VIEWER = "{ viewer { account token { name scopes expiresAt } } }";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

test("a token learns its account, its name, its scopes and when it ends, whatever its scopes are", async () => {
  const end = Math.floor(Date.now() / 1000 + 3600) * 1000;
  const ending = await gateway.token("acme", ["kyc:write"], end);
  expect((await gateway.graphql(ending, VIEWER)).data).toEqual({
    viewer: {
      account: "acme",
      token: { name: "test", scopes: ["kyc:write"], expiresAt: new Date(end).toISOString() },
    },
  });
  const lasting = await gateway.token("globex", []);
  expect((await gateway.graphql(lasting, VIEWER)).data.viewer).toEqual({
    account: "globex",
    token: { name: "test", scopes: [], expiresAt: null },
  });
});

test("without a token there is no viewer", async () => {
  const { data, errors } = await gateway.graphql(null, VIEWER);
  expect(data).toBeNull();
  expect(errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
});
