import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { refuseUnboundNumbers } from "../../src/kyc/number/number-store.ts";
import { endPlainNumbers, sealedNumbers } from "../../src/kyc/number/sealed-numbers.ts";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { readMilestones, recordMilestone, watchMilestones } from "../../src/sealing/milestones.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { newKey } from "../support/keys.ts";

const KEY = newKey("own");
/** A gateway of this release that has not read yet what the database has reached. */
const newKeyring = () => new Keyring(parseKeys([KEY]).keys);

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp({ ENCRYPTION_KEYS: KEY });
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());
/** A database that release 0.2 has left. */
beforeEach(async () => {
  await gateway.db.execute(`
    delete from kycs; delete from milestones where starts_with(name, 'numbers_');
    alter table kycs drop constraint if exists kycs_number_is_bound`);
  gateway.keys.reached.clear();
});

const idOf = (n: number) => String(n).padStart(16, "0");
const COUNT = 450;

/** Writes a record as release 0.2 does: its number is bound to account and record, neither padded nor bound to a version. */
async function insertAs02(n: number, number: string, version = 2): Promise<void> {
  await gateway.db.execute(
    `insert into kycs (account_id, id, customer_id, verification_status, document_type, sealed_number, number_digest,
       created_at, updated_at, version)
     values ('acme', $1, 'c', 'pending', 'visa', $2, $3, '2025-01-01', '2025-01-02', $4)`,
    [
      idOf(n),
      gateway.keys.seal(number, `kycs acme ${idOf(n)}`),
      gateway.keys.digest("document_number", "acme", number),
      version,
    ],
  );
}

const read = async (n: number) => (await gateway.rest(token, "GET", `/v1/kyc/${idOf(n)}`)).json();
const change = (n: number, form: Record<string, string>) =>
  gateway.rest(token, "PUT", `/v1/kyc/${idOf(n)}`, { form });
const boundOf = async () =>
  (await gateway.db.execute("select count(sealed_version)::int as bound from kycs"))[0]?.bound;

async function bind(): Promise<void> {
  await recordMilestone(gateway.db, gateway.keys, "numbers_bind", Date.now());
  await gateway.db.transaction(refuseUnboundNumbers);
  expect((await sealedNumbers.reseal(gateway.db, gateway.keys, () => {})).unreadable).toEqual([]);
  expect(await endPlainNumbers(gateway.db, gateway.keys, Date.now())).toBe(true);
  await recordMilestone(gateway.db, gateway.keys, "numbers_bound", Date.now());
}

test("records of 0.2 are read, found and changed, and stay readable for its replicas until numbers are to be bound", async () => {
  await insertAs02(1, "OLD-1");
  expect((await read(1)).document_number).toBe("OLD-1");
  expect((await change(1, { verification_status: "verified" })).json().document_number).toBe("OLD-1");
  expect((await change(1, { document_number: "NEW-1" })).statusCode).toBe(200);
  const [row] = await gateway.db.execute<{ sealed_number: string; sealed_version: null }>(
    "select * from kycs",
  );
  expect(row?.sealed_version).toBeNull();
  expect(gateway.keys.open(String(row?.sealed_number), `kycs acme ${idOf(1)}`)).toBe("NEW-1");
});

test("binding while another gateway writes loses no number, and afterwards each opens at its version alone", async () => {
  for (let n = 1; n <= COUNT; n++) await insertAs02(n, `N-${n}`);
  let writing = true;
  const expected = new Map<number, string>();
  const writers = [0, 1].map(async (writer) => {
    for (let turn = 0; writing; turn++) {
      const n = 1 + writer + 2 * ((turn * 37) % (COUNT / 2));
      const number = `W${writer}-${turn}`;
      const form: Record<string, string> =
        turn % 3 === 0 ? { document_type: turn % 2 ? "visa" : "passport" } : { document_number: number };
      expect((await change(n, form)).statusCode).toBe(200);
      if (turn % 3 !== 0) expected.set(n, number);
    }
  });
  await bind();
  writing = false;
  await Promise.all(writers);
  expect(await boundOf()).toBe(COUNT);
  for (let n = 1; n <= COUNT; n += 7) {
    expect((await read(n)).document_number).toBe(expected.get(n) ?? `N-${n}`);
  }
  expect(await sealedNumbers.check(gateway.db, gateway.keys, () => {})).toEqual([]);
});

test("a gateway that does not know yet that numbers are bound reads them, and keeps them bound", async () => {
  await insertAs02(1, "OLD-1");
  await bind();
  gateway.keys.reached.clear();
  expect((await read(1)).document_number).toBe("OLD-1");
  expect((await change(1, { verification_status: "failed" })).json().document_number).toBe("OLD-1");
  expect((await change(1, { document_number: "NEW-1" })).json().document_number).toBe("NEW-1");
  expect(await boundOf()).toBe(1);
});

test("a number that is bound between a change's read and its write is not left under another version", async () => {
  await insertAs02(1, "OLD-1");
  const changes = Array.from({ length: 20 }, (_, n) =>
    change(1, { verification_status: n % 2 ? "failed" : "verified" }),
  );
  await bind();
  for (const answer of await Promise.all(changes)) expect(answer.statusCode).toBe(200);
  expect((await read(1)).document_number).toBe("OLD-1");
});

test("after binding, neither a number as 0.2 seals it nor a plain one is taken", async () => {
  await insertAs02(1, "OLD-1");
  const [old] = await gateway.db.execute<{ sealed_number: string }>("select sealed_number from kycs");
  await bind();
  await gateway.db.execute("alter table kycs drop constraint kycs_number_is_bound");
  await gateway.db.execute("update kycs set sealed_version = null, sealed_number = $1", [old?.sealed_number]);
  expect(JSON.stringify(await read(1))).not.toContain("OLD-1");
  await gateway.db.execute(
    "update kycs set sealed_number = null, number_digest = null, document_number = 'FORGED-1'",
  );
  expect(JSON.stringify(await read(1))).not.toContain("FORGED-1");
  expect(await sealedNumbers.reseal(gateway.db, gateway.keys, () => {})).toMatchObject({
    resealed: 0,
    unreadable: [{ kind: "record", id: idOf(1), why: "it is not sealed" }],
  });
});

test("plain numbers are not refused while there are any", async () => {
  await gateway.db.execute(`
    insert into kycs (account_id, id, customer_id, verification_status, document_type, document_number, created_at,
      updated_at, version)
    values ('acme', '${idOf(1)}', 'c', 'pending', 'visa', 'PLAIN-1', now(), now(), 1)`);
  expect(await endPlainNumbers(gateway.db, gateway.keys, Date.now())).toBe(false);
  expect((await read(1)).document_number).toBe("PLAIN-1");
});

test("every gateway learns what the database has reached, and does not forget it if somebody removes it", async () => {
  const keys = newKeyring();
  const missing: string[] = [];
  const stop = watchMilestones(gateway.db, keys, {
    onMissing: (name) => missing.push(name),
    onFailure: () => {},
  });
  await recordMilestone(gateway.db, gateway.keys, "numbers_sealed", Date.now());
  await expect.poll(() => keys.reached.has("numbers_sealed"), { timeout: 20_000 }).toBe(true);
  await gateway.db.execute("delete from milestones where name = 'numbers_sealed'");
  await expect.poll(() => missing, { timeout: 20_000 }).toEqual(["numbers_sealed"]);
  expect(keys.reached.has("numbers_sealed")).toBe(true);
  await stop();
  expect(await readMilestones(gateway.db, newKeyring())).toEqual([]);
});

test("a first start on an empty database binds at once, and one on a database with records does not", async () => {
  const settle = async () => {
    const keys = newKeyring();
    const start = { isFirst: true, now: Date.now(), onWarning: () => {} };
    await gateway.db.transaction(async (tx) => sealedNumbers.settle?.(tx, keys, start));
    return [...keys.reached].sort();
  };
  await insertAs02(1, "OLD-1");
  expect(await settle()).toEqual([]);
  await gateway.db.execute("delete from kycs");
  expect(await settle()).toEqual(["numbers_bind", "numbers_bound", "numbers_sealed"]);
});
