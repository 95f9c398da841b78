import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { lockKyc } from "../../src/kyc/store/read.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

const FIELDS = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";

async function update(input: Record<string, unknown>) {
  const answer = await gateway.graphql(
    token,
    `mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { ${FIELDS} } } }`,
    { input },
  );
  return answer.errors?.[0]?.extensions.code ?? answer.data.updateKyc.kyc;
}

test("a change makes a new version and moves the time of the change, and nothing else", async () => {
  gateway.clock.now = 1_800_000_000_000;
  const id = await createRecord(gateway, token);
  gateway.clock.now = 1_800_000_005_123;
  const changed = await update({ id, verificationStatus: "VERIFIED" });
  gateway.clock.now = undefined;
  expect(changed).toEqual({
    id,
    customerId: "customer-1",
    verificationStatus: "VERIFIED",
    documentType: "PASSPORT",
    documentNumber: "X1234567",
    createdAt: "2027-01-15T08:00:00.000Z",
    updatedAt: "2027-01-15T08:00:05.123Z",
    version: 2,
  });
});

test("values that are the same already change neither version nor time", async () => {
  const id = await createRecord(gateway, token);
  const first = await update({ id });
  const again = await update({ id, verificationStatus: "PENDING", documentNumber: "  X1234567 " });
  expect(again).toEqual(first);
  expect(again.version).toBe(1);
});

test("the time of the change never goes back, even if the clock does", async () => {
  gateway.clock.now = 1_800_000_000_000;
  const id = await createRecord(gateway, token);
  gateway.clock.now = 1_700_000_000_000;
  const changed = await update({ id, documentNumber: "Y1" });
  gateway.clock.now = undefined;
  expect(changed).toMatchObject({ version: 2, updatedAt: "2027-01-15T08:00:00.000Z" });
});

test("any status may follow any other", async () => {
  const id = await createRecord(gateway, token);
  for (const verificationStatus of ["EXPIRED", "VERIFIED", "PENDING", "FAILED", "IN_REVIEW", "FAILED"]) {
    expect(await update({ id, verificationStatus })).toMatchObject({ verificationStatus });
  }
});

test("of many updates that expect the same version one wins, and the others change nothing", async () => {
  const id = await createRecord(gateway, token);
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, index) => update({ id, documentNumber: `N${index}`, expectedVersion: 1 })),
  );
  const won = answers.filter((answer) => typeof answer === "object");
  expect(won).toHaveLength(1);
  expect(answers.filter((answer) => answer === "VERSION_CONFLICT")).toHaveLength(11);
  expect(await update({ id })).toEqual(won[0]);
});

test("many updates at once are each a version of their own", async () => {
  const id = await createRecord(gateway, token);
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, index) => update({ id, documentNumber: `N${index}` })),
  );
  expect(answers.map((answer) => answer.version).sort((a, b) => a - b)).toEqual([
    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
  ]);
});

test("an update waits for whoever holds its record, and no other update waits with it", async () => {
  const [held, free] = [await createRecord(gateway, token), await createRecord(gateway, token)];
  const done: string[] = [];
  let updates: Promise<unknown>[] = [];
  await gateway.db.transaction(async (tx) => {
    await lockKyc(tx, "acme", held);
    updates = [held, free].map(async (id) => {
      expect(await update({ id, verificationStatus: "FAILED" })).toMatchObject({ version: 2 });
      done.push(id);
    });
    await updates[1];
    await wait(200);
    expect(done).toEqual([free]);
  });
  await Promise.all(updates);
  expect(done).toEqual([free, held]);
});

test("a record that is deleted keeps its account, id and time of creation, and nothing else", async () => {
  const id = await createRecord(gateway, token, { documentNumber: "GONE-1" });
  const remove = "mutation ($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }";
  expect((await gateway.graphql(token, remove, { input: { id } })).data).toEqual({
    deleteKyc: { deletedId: id },
  });
  expect((await gateway.graphql(token, remove, { input: { id } })).errors?.[0]?.extensions.code).toBe(
    "NOT_FOUND",
  );
  expect(await update({ id, documentNumber: "BACK" })).toBe("NOT_FOUND");
  const left = await gateway.db.execute(`select * from deleted_kycs where id = '${id}'`);
  expect(left).toEqual([{ account_id: "acme", id, created_at: expect.any(String) }]);
  expect(await gateway.db.execute(`select id from kycs where id = '${id}'`)).toEqual([]);
});
