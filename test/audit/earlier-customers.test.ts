import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { sealAll, writeEvents } from "../support/ledger.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

const QUERY = `query ($customerId: String!) {
  auditEvents(first: 100, filter: { customerId: $customerId }) { nodes { requestId position } totalCount } }`;
/** The events of the customer that are named as a test named them, oldest first. */
async function eventsOf(customerId: string, by = token): Promise<string[]> {
  const { data, errors } = await gateway.graphql(by, QUERY, { customerId });
  expect(errors).toBeUndefined();
  const ids = data.auditEvents.nodes.map(({ requestId }: { requestId: string }) => requestId);
  return ids.filter((id: string) => /^[a-z]\d$/.test(id)).reverse();
}
const seal = (limit?: number) => sealAll(gateway.db, limit, async () => gateway.digestCustomer);

test("events of release 0.2 are found by customer once they have positions, as long as their records exist", async () => {
  const globex = await gateway.token("globex");
  const [ann, bob, gone] = [
    await createRecord(gateway, token, { customerId: "ann" }),
    await createRecord(gateway, token, { customerId: "bob" }),
    await createRecord(gateway, token, { customerId: "ann" }),
  ];
  const foreign = await createRecord(gateway, globex, { customerId: "ann" });
  await gateway.rest(token, "DELETE", `/v1/kyc/${gone}`);
  await writeEvents(gateway.db, "acme", ["a0", "a1"], { kycId: ann });
  await writeEvents(gateway.db, "acme", ["b0"], { kycId: bob });
  await writeEvents(gateway.db, "acme", ["g0"], { kycId: gone });
  await writeEvents(gateway.db, "globex", ["f0"], { kycId: foreign });
  // One that showed the numbers of two records, and one of an account that has no record with this id.
  await writeEvents(gateway.db, "acme", ["r0"], { kycId: ann });
  await gateway.db.execute("update audit_events set kyc_ids = kyc_ids || $1 where request_id = 'r0'", [
    [bob, bob],
  ]);
  await writeEvents(gateway.db, "globex", ["x0"], { kycId: ann });
  await gateway.db.execute("update audit_events set written_in = null where has_customers is null");
  await gateway.db.execute("update ledger_progress set old_done = false");
  expect(await eventsOf("ann")).toEqual([]);
  await seal(2);
  expect(await eventsOf("ann")).toEqual(["a0", "a1", "r0"]);
  expect(await eventsOf("bob")).toEqual(["b0", "r0"]);
  expect(await eventsOf("ann", globex)).toEqual(["f0"]);
});

test("events that replicas of release 0.2 write beside this one are found by customer, too", async () => {
  const id = await createRecord(gateway, token, { customerId: "cid" });
  await seal();
  await writeEvents(gateway.db, "acme", ["c0"], { kycId: id });
  await seal();
  expect(await eventsOf("cid")).toEqual(["c0"]);
});

test("a customer whose rows were deleted stays forgotten, and the keys are not needed if every event names its customer", async () => {
  await gateway.db.execute("delete from audit_event_customers");
  await createRecord(gateway, token, { customerId: "dan" });
  await sealAll(gateway.db, undefined, () => Promise.reject(new Error("the digests are not needed")));
  expect(await eventsOf("ann")).toEqual([]);
});

test("an event that names no customer waits for a sealer that has the keys", async () => {
  const id = await createRecord(gateway, token, { customerId: "eve" });
  await writeEvents(gateway.db, "acme", ["e0"], { kycId: id });
  await expect(sealAll(gateway.db, undefined, () => Promise.reject(new Error("no keys")))).rejects.toThrow(
    "no keys",
  );
  await seal();
  expect(await eventsOf("eve")).toEqual(["e0"]);
});
