import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../src/db/pool/pool.ts";
import { sealedResults, sealResult } from "../../src/idempotency/sealed-results.ts";
import { sealedNumbers } from "../../src/kyc/number/sealed-numbers.ts";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { newKey } from "../support/keys.ts";
import { aCreate, SURFACES, type WriteAnswer, write } from "../support/once.ts";
import { createRecord } from "../support/records.ts";

const RECORDS = 40;
/** Of each record: together they are several steps of a rotation. */
const KEYS = 40;

let gateway: TestApp;
let token: string;
/** Restores the rows that were resealed under the new keys. */
let before: Keyring;
beforeAll(async () => {
  const [newest, older] = [newKey("2026"), newKey("2025")];
  gateway = await createTestApp({ ENCRYPTION_KEYS: `${newest},${older}` });
  before = new Keyring(parseKeys([older, newest]).keys);
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

/** Answers of earlier writes on each of the records, stored against the order of their keys. */
async function addAnswers(ids: readonly string[]): Promise<void> {
  const rows = ids.flatMap((id) => Array.from({ length: KEYS }, () => ({ id, hash: randomUUID() })));
  rows.sort((a, b) => (a.hash < b.hash ? 1 : -1));
  await gateway.db.send(
    `insert into idempotency_keys (account_id, key_hash, kyc_id, request_digest, sealed_result, created_at)
     select 'acme', hash, id, 'digest', sealed, now()
     from unnest($1::text[], $2::text[], $3::text[]) as new(hash, id, sealed)`,
    [
      rows.map(({ hash }) => hash),
      rows.map(({ id }) => id),
      rows.map(({ hash }) => sealResult(before, "acme", hash, '["the answer"]')),
    ],
  );
}

test("rotations beside keyed writes and deletions fail for nobody, and lose nothing", async () => {
  const ids = await Promise.all(Array.from({ length: RECORDS }, () => createRecord(gateway, token)));
  const kept = await createRecord(gateway, token);
  await addAnswers([...ids, kept]);
  let writing = true;
  const rotating = [before, gateway.keys].map(async (first) => {
    for (let turn = 0; writing; turn++) {
      const keys = turn % 2 === 0 ? first : first === before ? gateway.keys : before;
      for (const place of [sealedResults, sealedNumbers]) {
        expect((await place.reseal(gateway.db, keys, () => {})).unreadable).toEqual([]);
      }
    }
  });
  const answers: WriteAnswer[] = [];
  const send = async (n: number, ...[wanted, key]: [Parameters<typeof write>[3], string?]) => {
    answers.push(await write(gateway, SURFACES[n % 2] as "rest", token, wanted, key));
  };
  const writers = [0, 1, 2, 3].map(async (writer) => {
    for (let n = writer; n < ids.length; n += 4) {
      const id = ids[n] as string;
      await send(n, { operation: "update", id, input: { documentNumber: `N-${n}` } }, `change ${n}`);
      await send(n, aCreate(`M-${n}`), `made ${n}`);
      await send(n, { operation: "delete", id });
    }
  });
  const written = Promise.all(writers).finally(() => {
    writing = false;
  });
  await Promise.all([written, ...rotating]);
  expect(new Set(answers.map(({ code }) => code))).toEqual(new Set(["OK"]));

  const [ledger] = await gateway.db.execute(
    `select count(*) filter (where kyc_id = $1)::int as kept, count(*) filter (where kyc_id = any($2))::int as spent
     from idempotency_keys where sealed_result is not null`,
    [kept, ids],
  );
  expect(ledger).toEqual({ kept: KEYS, spent: 0 });
  expect((await sealedResults.reseal(gateway.db, gateway.keys, () => {})).unreadable).toEqual([]);
  expect(await sealedResults.isSealedUnder(gateway.db, "2025")).toBe(false);
});

test("a rotation that finds rows locked for longer than a statement may take tries again", async () => {
  const id = await createRecord(gateway, token);
  await addAnswers([id]);
  const limits = { statementTimeout: 600, tellTimeout: true };
  const hasty = connect({ address: { url: gateway.databaseUrl }, poolSize: 1, prepare: true, ...limits });
  for (const [place, table, column] of [
    [sealedNumbers, "kycs", "id"],
    [sealedResults, "idempotency_keys", "kyc_id"],
  ] as const) {
    await place.reseal(gateway.db, before, () => {});
    let resealing: ReturnType<typeof place.reseal> | undefined;
    await gateway.db.transaction(async (tx) => {
      await tx.execute(`select 1 from ${table} where ${column} = $1 for update`, [id]);
      resealing = place.reseal(hasty, gateway.keys, () => {});
      await Promise.race([resealing, wait(900)]);
    });
    expect((await resealing)?.unreadable).toEqual([]);
    expect(await place.isSealedUnder(gateway.db, "2025")).toBe(false);
  }
  await hasty.close();
});
