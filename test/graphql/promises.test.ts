import { createHook } from "node:async_hooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  const input = { verificationStatus: "PENDING", documentType: "VISA", documentNumber: "A1" };
  const create = "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }";
  for (let index = 0; index < 30; index += 1)
    await gateway.graphql(token, create, { input: { ...input, customerId: `c${index}` } });
});
afterAll(() => gateway.close());

const LIST = `query ($first: Int) { kycs(first: $first) {
  edges { cursor node { __typename id customerId verificationStatus documentType documentNumber createdAt updatedAt version } }
  nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`;

async function countPromises(first: number): Promise<number> {
  let count = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === "PROMISE") count += 1;
    },
  }).enable();
  const { data } = await gateway.graphql(token, LIST, { first });
  hook.disable();
  expect(data.kycs.edges).toHaveLength(first);
  return count;
}

// With a promise for each record, graphql-js makes some for each edge and list around it: a page took twice as long.
test("a page of thirty records takes hardly more promises than a page of one", async () => {
  await countPromises(1);
  expect((await countPromises(30)) - (await countPromises(1))).toBeLessThan(30);
});
