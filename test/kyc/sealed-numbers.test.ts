import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { sealedNumbers, sealPlainNumbers } from "../../src/kyc/number/sealed-numbers.ts";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { newKey } from "../support/keys.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let tokens: string[];
// The key that the gateway seals with, and the one that it sealed with before.
const [newest, older] = [newKey("2026"), newKey("2025")];
const before = new Keyring(parseKeys([older, newest]).keys);

beforeAll(async () => {
  gateway = await createTestApp({ ENCRYPTION_KEYS: `${newest},${older}` });
  tokens = [await gateway.token("acme"), await gateway.token("globex")];
});
afterAll(() => gateway.close());
beforeEach(async () => {
  // As a database is that an earlier release made.
  await gateway.db.execute(
    "delete from kycs; delete from milestones; alter table kycs drop constraint if exists kycs_number_is_bound",
  );
  gateway.keys.reached.clear();
});

const PLAIN = 450;
/** As an earlier release left them: more than a few steps of one account, and some of another. */
async function insertPlain(): Promise<void> {
  await gateway.db.execute(`
    insert into kycs (account_id, id, customer_id, verification_status, document_type, document_number,
      created_at, updated_at, version)
    select case when g % 5 = 0 then 'globex' else 'acme' end, lpad(g::text, 16, '0'), 'c', 'pending', 'visa',
      'OLD-' || g, '2025-01-01', '2025-01-02', 3
    from generate_series(1, ${PLAIN}) g`);
}

const readAll = () =>
  gateway.db.execute(
    "select account_id, id, document_number, sealed_number, version, updated_at::text from kycs order by account_id, id",
  ) as Promise<Record<string, string | number | null>[]>;
const numberOf = async (token: string, id: string) =>
  (await gateway.rest(token, "GET", `/v1/kyc/${id}`)).json().document_number;
const search = async (token: string, number: string) =>
  (await gateway.rest(token, "GET", `/v1/kyc?document_number=${number}`))
    .json()
    .data.map((row: { id: string }) => row.id);

test("plain numbers of an earlier release are shown, masked, found and changed", async () => {
  await insertPlain();
  const id = "0000000000000001";
  const token = tokens[0] as string;
  expect(await numberOf(token, id)).toBe("OLD-1");
  expect(await numberOf(await gateway.token("acme", ["kyc:read"]), id)).toBe("•••-1");
  expect(await search(token, "OLD-1")).toEqual([id]);
  const sealed = await createRecord(gateway, token, { documentNumber: "OLD-1" });
  expect(await search(token, "OLD-1")).toEqual([sealed, id]);
  expect(await search(tokens[1] as string, "OLD-1")).toEqual([]);
  const change = (form: Record<string, string>) => gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form });
  expect((await change({ verification_status: "verified" })).json().document_number).toBe("OLD-1");
  expect((await change({ document_number: "NEW-1" })).json().document_number).toBe("NEW-1");
  expect(await search(token, "OLD-1")).toEqual([sealed]);
  expect(await search(token, "NEW-1")).toEqual([id]);
  expect((await readAll()).find((row) => row.id === id)?.document_number).toBeNull();
});

test("they are sealed without a new version or time, by two replicas at once, and once", async () => {
  await insertPlain();
  const plain = await readAll();
  const replicas = await Promise.all([1, 2].map(() => sealPlainNumbers(gateway.db, gateway.keys)));
  expect(replicas.reduce((sum, { resealed }) => sum + resealed, 0)).toBe(PLAIN);
  const after = await readAll();
  expect(after.map(({ sealed_number, document_number, ...row }) => row)).toEqual(
    plain.map(({ sealed_number, document_number, ...row }) => row),
  );
  expect(after.filter((row) => row.document_number !== null || row.sealed_number === null)).toEqual([]);
  for (const n of [1, 5, 449, 450]) {
    const token = tokens[n % 5 === 0 ? 1 : 0] as string;
    expect(await numberOf(token, String(n).padStart(16, "0"))).toBe(`OLD-${n}`);
    expect(await search(token, `OLD-${n}`)).toEqual([String(n).padStart(16, "0")]);
  }
  expect(await sealPlainNumbers(gateway.db, gateway.keys)).toEqual({ resealed: 0, unreadable: [] });
});

test("sealing that is ended early leaves whole records, and another one goes on", async () => {
  await insertPlain();
  const ending = new AbortController();
  const first = sealPlainNumbers(gateway.db, gateway.keys, ending.signal);
  setImmediate(() => ending.abort());
  const { resealed } = await first;
  expect(resealed).toBeLessThan(PLAIN);
  expect((await sealPlainNumbers(gateway.db, gateway.keys)).resealed).toBe(PLAIN - resealed);
});

test("an earlier release can't write a plain number beside a sealed one", async () => {
  const id = await createRecord(gateway, tokens[0] as string);
  await expect(
    gateway.db.execute(`update kycs set document_number = 'x' where id = '${id}'`),
  ).rejects.toThrow("23514");
});

test("during a rotation a number is found under both keys, and counts say what each seals", async () => {
  const token = tokens[0] as string;
  const old = await createRecord(gateway, token, { documentNumber: "TURN-1" });
  await sealedNumbers.reseal(gateway.db, before, () => {});
  const young = await createRecord(gateway, token, { documentNumber: "TURN-1" });
  expect(await sealedNumbers.countByKey(gateway.db)).toEqual(
    new Map([
      ["2025", 1],
      ["2026", 1],
    ]),
  );
  expect(await search(token, "TURN-1")).toEqual([young, old]);
  expect(await sealedNumbers.isSealedUnder(gateway.db, "2025")).toBe(true);

  let seen = 0;
  const count = (numbers: number) => {
    seen += numbers;
  };
  expect(await sealedNumbers.reseal(gateway.db, gateway.keys, count)).toEqual({
    resealed: 1,
    unreadable: [],
  });
  expect(seen).toBe(2);
  expect(await sealedNumbers.countByKey(gateway.db)).toEqual(new Map([["2026", 2]]));
  expect(await sealedNumbers.isSealedUnder(gateway.db, "2025")).toBe(false);
  expect(await search(token, "TURN-1")).toEqual([young, old]);
  expect(await numberOf(token, old)).toBe("TURN-1");
});

test("resealing back and forth loses no update, no deletion and no number", async () => {
  const token = tokens[0] as string;
  const ids: string[] = [];
  for (let n = 0; n < 12; n += 1) ids.push(await createRecord(gateway, token, { documentNumber: "N-0" }));
  let writing = true;
  const resealing = (async () => {
    let resealed = 0;
    for (let turn = 0; writing; turn += 1) {
      const keys = turn % 2 === 0 ? before : gateway.keys;
      resealed += (await sealedNumbers.reseal(gateway.db, keys, () => {})).resealed;
    }
    return resealed;
  })();
  const writes = ids.map(async (id, index) => {
    const url = `/v1/kyc/${id}`;
    for (let n = 1; n <= 15; n += 1) {
      const changed = await gateway.rest(token, "PUT", url, { form: { document_number: `N-${n}` } });
      expect(changed.headers.etag).toBe(`"${n + 1}"`);
    }
    if (index % 3 === 0) await gateway.rest(token, "DELETE", url);
  });
  await Promise.all(writes);
  writing = false;
  expect(await resealing).toBeGreaterThan(0);
  const left = ids.filter((_id, index) => index % 3 !== 0);
  expect((await readAll()).map((row) => row.id).sort()).toEqual([...left].sort());
  for (const id of left) expect(await numberOf(token, id)).toBe("N-15");
  expect((await search(token, "N-15")).sort()).toEqual([...left].sort());
});

test("a number that can't be opened is reported with its record, and the others are resealed", async () => {
  const token = tokens[0] as string;
  const [good, broken] = [await createRecord(gateway, token), await createRecord(gateway, token)];
  await gateway.db.execute(`update kycs set sealed_number =
    (select sealed_number from kycs where id = '${good}') where id = '${broken}'`);
  const { resealed, unreadable } = await sealedNumbers.reseal(gateway.db, before, () => {});
  expect({ resealed, unreadable }).toEqual({
    resealed: 1,
    unreadable: [
      { kind: "record", account: "acme", id: broken, why: expect.stringContaining("can't be opened") },
    ],
  });
  expect((await gateway.rest(token, "GET", `/v1/kyc/${broken}`)).statusCode).toBe(500);
});
