import { afterAll, beforeAll, expect, test } from "vitest";
import { fillDemo } from "../../src/demo/fill-demo.ts";
import { VERIFICATION_STATUSES } from "../../src/vocabulary.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

const DAY = 24 * 60 * 60 * 1000;
const ALL = `query ($after: String) {
  kycs(first: 100, after: $after) {
    nodes { customerId verificationStatus documentType documentNumber createdAt updatedAt version }
    pageInfo { hasNextPage endCursor }
  }
}`;

interface Shown {
  customerId: string;
  verificationStatus: string;
  documentType: string;
  documentNumber: string;
  createdAt: string;
  updatedAt: string;
  version: number;
}

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const fill = (account: string, records: number, again = false) =>
  fillDemo(gateway, { account, records, again, now: Date.now() }, () => {});

async function everyRecord(account: string): Promise<Shown[]> {
  const token = await gateway.token(account, ["kyc:read", "kyc:pii"]);
  const shown: Shown[] = [];
  let after: string | null = null;
  do {
    const { data } = await gateway.graphql(token, ALL, { after });
    shown.push(...data.kycs.nodes);
    after = data.kycs.pageInfo.hasNextPage ? data.kycs.pageInfo.endCursor : null;
  } while (after !== null);
  return shown;
}

test("an account gets as many records as it should, of many kinds and over months, as if they had been worked on", async () => {
  const before = Date.now();
  expect(await fill("full", 150)).toBe(true);
  const records = await everyRecord("full");
  expect(records).toHaveLength(150);
  expect(new Set(records.map((record) => record.documentType)).size).toBeGreaterThanOrEqual(3);
  expect(new Set(records.map((record) => record.verificationStatus)).size).toBeGreaterThanOrEqual(3);
  expect(new Set(records.map((record) => record.customerId)).size).toBeGreaterThan(50);
  expect(new Set(records.map((record) => record.documentNumber)).size).toBe(150);

  const times = records.map((record) => Date.parse(record.createdAt));
  expect(Math.min(...times)).toBeLessThan(before - 30 * DAY);
  expect(Math.max(...times)).toBeLessThanOrEqual(before);
  for (const { createdAt, updatedAt, version, verificationStatus } of records) {
    const changes = VERIFICATION_STATUSES.indexOf(verificationStatus.toLowerCase() as never);
    expect(version).toBe(1 + Math.min(changes, 2) + (verificationStatus === "EXPIRED" ? 1 : 0));
    expect(Date.parse(updatedAt) > Date.parse(createdAt)).toBe(version > 1);
    expect(Date.parse(updatedAt)).toBeLessThanOrEqual(before + 1000);
  }
});

test("an account that has records is left as it is, unless it is asked for again", async () => {
  expect(await fill("twice", 2)).toBe(true);
  expect(await fill("twice", 2)).toBe(false);
  expect(await everyRecord("twice")).toHaveLength(2);
  expect(await fill("twice", 1, true)).toBe(true);
  expect(await everyRecord("twice")).toHaveLength(3);
});

test("no other account gets any", async () => {
  await fill("mine", 1);
  expect(await everyRecord("yours")).toEqual([]);
});
