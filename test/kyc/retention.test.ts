import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdJob, releaseJob } from "../../src/db/job-lease.ts";
import { prepareImport } from "../../src/kyc/import-kycs.ts";
import { findAccountsPastRetention } from "../../src/kyc/store/retention.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { importKycs } from "../support/imported.ts";
import { sealAll } from "../support/ledger.ts";
import { SURFACES, write } from "../support/once.ts";
import { createRecord } from "../support/records.ts";
import { eraseAll } from "../support/retention.ts";

let gateway: TestApp;
let replica: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp({ RETENTION: "5 years", RETENTION_ENFORCED: "true" });
  replica = await createTestApp({}, gateway);
  token = await gateway.token("acme");
});
afterAll(async () => {
  await replica.close();
  await gateway.close();
});

const DAY = 86_400_000;
const yearsAgo = (years: number, days = 0) => {
  const date = new Date();
  date.setUTCFullYear(date.getUTCFullYear() - years);
  return new Date(date.getTime() + days * DAY).toISOString();
};
const ended = (by: string, relationshipEndedAt: string | null, others: object = {}) =>
  createRecord(gateway, by, { relationshipEndedAt, ...others });
const mutate = async (text: string, input: object, headers = {}) => {
  const name = `${text.charAt(0).toUpperCase()}${text.slice(1).split(" ")[0]}Input`;
  const { data, errors } = await gateway.graphql(
    token,
    `mutation ($input: ${name}!) { ${text.replace(" ", "(input: $input) ")} }`,
    { input },
    headers,
  );
  return { data, extensions: errors?.[0]?.extensions as Record<string, unknown> | undefined, errors };
};
const hold = async (target: object) => {
  const { data } = await mutate("placeHold { hold { id } }", { reason: "a case", ...target });
  return data.placeHold.hold.id as string;
};
const release = (id: string) => mutate("releaseHold { hold { id } }", { id, reason: "it is over" });
const erase = (customerId: string) =>
  mutate("eraseCustomer { erasure { recordCount } }", { customerId, reason: "asked by mail" });
const present = async (ids: readonly string[]) =>
  (await gateway.db.execute<{ id: string }>("select id from kycs where id = any($1) order by id", [ids])).map(
    ({ id }) => id,
  );

/** Each way in which a record can be deleted, and one in which it can't. */
const PATHS = {
  "DELETE of REST": (id: string) =>
    write(gateway, "rest", token, { operation: "delete", id }).then(({ code }) => code),
  deleteKyc: (id: string) =>
    write(gateway, "graphql", token, { operation: "delete", id }).then(({ code }) => code),
  eraseCustomer: async (_id: string, customerId: string) => {
    const { extensions } = await erase(customerId);
    return extensions?.code ?? "OK";
  },
  "the job": async (id: string) => {
    await eraseAll(gateway);
    return (await present([id])).length === 0 ? "OK" : "kept";
  },
  psql: (id: string) =>
    gateway.db.execute("delete from kycs where id = $1", [id]).then(
      () => "OK",
      ({ code }) => (code === "55H01" ? "LEGAL_HOLD" : code),
    ),
  "an import of the same id": async (id: string, customerId: string) => {
    const ctx = {
      ...{ accountId: "acme", requestId: "cmd_1", keys: gateway.keys, idSecret: Buffer.alloc(32) },
      digestCustomer: gateway.digestCustomer,
    };
    const values = { id, customerId, verificationStatus: "failed", documentType: "visa" } as const;
    const one = prepareImport(ctx, { ...values, documentNumber: "N-1" }, Date.now());
    await gateway.db.transaction((tx) => importKycs(tx, ctx, [one])).catch(() => {});
    return (await present([id])).length === 0 ? "OK" : "kept";
  },
};
type Path = keyof typeof PATHS;
const refusedAs = (path: Path, code: string) =>
  path === "the job" || path === "an import of the same id" ? "kept" : code;

test.each(Object.keys(PATHS) as Path[])(
  "%s deletes neither what is held nor what is retained",
  async (path) => {
    const remove = PATHS[path];
    const customerId = `by ${path}`;
    for (const end of [yearsAgo(5, 2), null]) {
      const customer = `${customerId}, ${end}`;
      const kept = await ended(token, end, { customerId: customer });
      // The time is a setting of the gateway: the database alone doesn't know it.
      expect(await remove(kept, customer)).toBe(path === "psql" ? "OK" : refusedAs(path, "RETENTION"));
    }
    const due = await ended(token, yearsAgo(6), { customerId });
    for (const target of [{ kycId: due }, { customerId }]) {
      const id = await hold(target);
      expect(await remove(due, customerId)).toBe(refusedAs(path, "LEGAL_HOLD"));
      await release(id);
    }
    expect(await present([due])).toEqual([due]);
    expect(await remove(due, customerId)).toBe(path === "an import of the same id" ? "kept" : "OK");
  },
);

test("the sources have no other way to delete a record", async () => {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  const matching = (pattern: RegExp) =>
    files.filter((name) => pattern.test(readFileSync(`src/${name}`, "utf8"))).sort();
  expect(
    matching(/\.delete\(kycs\)|delete from (only )?("?kycs"?\b|\$\{kycs\})|truncate (table )?"?kycs/i),
  ).toEqual(["kyc/store/deletion.ts"]);
  expect(matching(/deleteLockedKycs\(/)).toEqual([
    "kyc/delete-kyc.ts",
    "kyc/erasure/erase-customer.ts",
    "kyc/lifecycle/erase-batch.ts",
    "kyc/store/deletion.ts",
  ]);
});

test.each(SURFACES)(
  "%s says until when a record is retained, and uses no idempotency key up",
  async (surface) => {
    const id = await ended(token, "2025-01-31T10:00:00.000Z");
    const remove = () => write(gateway, surface, token, { operation: "delete", id }, `retained ${surface}`);
    const until = "2030-01-31T10:00:00.000Z";
    expect(await remove()).toMatchObject({ code: "RETENTION", message: expect.stringContaining(until) });
    await mutate("updateKyc { kyc { id } }", { id, relationshipEndedAt: yearsAgo(6) });
    expect(await remove()).toMatchObject({ code: "OK", replayed: false });
  },
);

test("an erasure says the latest end of retention, or that the relationship has not ended", async () => {
  const customerId = "with several";
  await ended(token, yearsAgo(9), { customerId });
  await ended(token, "2024-02-29T00:00:00.000Z", { customerId });
  await ended(token, "2023-05-03T00:00:00.000Z", { customerId });
  const refused = await erase(customerId);
  expect(refused.extensions).toMatchObject({ code: "RETENTION", retainedUntil: "2029-02-28T00:00:00.000Z" });
  await ended(token, null, { customerId });
  const { extensions, errors } = await erase(customerId);
  expect(extensions).toMatchObject({ code: "RETENTION", retainedUntil: null });
  expect(errors?.[0]?.message).toContain("has not ended");
  expect((await erase("without records")).data.eraseCustomer.erasure.recordCount).toBe(0);
});

test("without RETENTION_ENFORCED, records can be deleted at any time", async () => {
  const id = await ended(token, null);
  const { code } = await write(replica, "graphql", token, { operation: "delete", id });
  expect(code).toBe("OK");
});

test("a record is erased once its time has passed after the end as it is now, with one event", async () => {
  await eraseAll(gateway);
  const by = await gateway.token("times");
  const due = await ended(by, yearsAgo(5, -1), { verificationStatus: "VERIFIED" });
  const later = await ended(by, yearsAgo(5, 1));
  const open = await ended(by, null);
  const future = await ended(by, yearsAgo(-1));
  const moved = await ended(by, yearsAgo(7));
  const move = (id: string, relationshipEndedAt: string | null) =>
    gateway.graphql(by, "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id } } }", {
      input: { id, relationshipEndedAt },
    });
  await move(moved, null);
  expect(await eraseAll(gateway)).toEqual([1]);
  expect(await present([due, later, open, future, moved])).toEqual([later, open, future, moved].sort());
  const { data } = await gateway.graphql(
    by,
    `{ auditEvents(filter: { action: DELETED }) { nodes { kycId surface tokenId reason statusBefore } } }`,
  );
  expect(data.auditEvents.nodes).toEqual([
    { kycId: due, surface: "GATEWAY", tokenId: "gateway", reason: "retention", statusBefore: "VERIFIED" },
  ]);
  await sealAll(gateway.db);
  const feed = await gateway.rest(by, "GET", "/v1/events");
  expect(feed.json().data.at(-1)).toMatchObject({ type: "kyc.deleted" });
  await move(moved, yearsAgo(6));
  expect(await eraseAll(gateway)).toEqual([1]);
  expect(await eraseAll(gateway)).toEqual([]);
});

test("months count as the calendar has them", async () => {
  const { db } = gateway;
  const by = await gateway.token("calendar");
  await ended(by, new Date(Date.now() - 27 * DAY).toISOString());
  for (const retention of ["1 months", "28 days", "4 weeks"])
    expect(await findAccountsPastRetention(db, retention)).not.toContain("calendar");
  expect(await findAccountsPastRetention(db, "26 days")).toContain("calendar");
  await ended(by, new Date(Date.now() - 32 * DAY).toISOString());
  expect(await findAccountsPastRetention(db, "1 months")).toContain("calendar");
});

test("of more than a batch, held and locked records stay without delaying the others, each of which goes once", async () => {
  const ctx = (accountId: string) => ({
    ...{ accountId, requestId: "cmd_1", keys: gateway.keys, idSecret: Buffer.alloc(32) },
    digestCustomer: gateway.digestCustomer,
  });
  const idOf = (account: number, n: number) => `R${account}${String(n).padStart(14, "0")}`;
  const endsAt = Date.parse(yearsAgo(8));
  for (const account of [1, 2]) {
    const records = Array.from({ length: 130 }, (_, n) => ({
      ...{ id: idOf(account, n), customerId: `c${n % 70}`, documentNumber: `N-${n}` },
      ...({ verificationStatus: "verified", documentType: "visa" } as const),
      relationshipEndedAt: endsAt + (n % 50) * DAY,
    }));
    const scene = ctx(`many-${account}`);
    const prepared = records.map((record) => prepareImport(scene, record, Date.now()));
    await gateway.db.transaction((tx) => importKycs(tx, scene, prepared));
  }
  // The first batch of the first account is held as a whole; of the second account, a customer is.
  const held = Array.from({ length: 130 }, (_, n) => n).filter((n) => n % 50 < 35);
  await gateway.db.execute(
    `insert into legal_holds (account_id, id, kyc_id, customer_digest, placed_at)
     select 'many-1', 'hold_' || id, id, '\\x00', now() from unnest($1::text[]) id`,
    [held.map((n) => idOf(1, n))],
  );
  await gateway.db.execute(
    `insert into legal_holds (account_id, id, customer_id, customer_digest, placed_at)
     values ('many-2', 'hold_c7', 'c7', $1, now())`,
    [gateway.digestCustomer("many-2", "c7")],
  );
  const kept = [...held.map((n) => idOf(1, n)), idOf(2, 7), idOf(2, 77)].sort();
  let unlock = () => {};
  const isUnlocked = new Promise<void>((resolve) => {
    unlock = resolve;
  });
  let isLocked = false;
  const locking = gateway.db.transaction(async (tx) => {
    await tx.execute("select from kycs where id = $1 for update", [idOf(2, 0)]);
    isLocked = true;
    await isUnlocked;
  });
  while (!isLocked) await wait(5);
  const runs = Promise.all([eraseAll(gateway), eraseAll(replica)]);
  const isOthersGone = async () => (await present([idOf(2, 129), idOf(1, 99)])).length === 0;
  for (let n = 0; n < 400 && !(await isOthersGone()); n++) await wait(10);
  expect(await present([idOf(2, 0)])).toEqual([idOf(2, 0)]);
  unlock();
  await locking;
  const sizes = (await runs).flat();
  expect(Math.max(...sizes)).toBeLessThanOrEqual(100);
  expect(sizes.reduce((a, b) => a + b)).toBe(260 - kept.length);
  const left = await gateway.db.execute<{ id: string }>("select id from kycs where account_id like 'many-%'");
  expect(left.map(({ id }) => id).sort()).toEqual(kept);
  const [events] = await gateway.db.execute<{ n: number; ids: number }>(
    `select count(*)::int as n, count(distinct kyc_ids)::int as ids from audit_events
     where account_id like 'many-%' and action = 'deleted'`,
  );
  expect(events).toEqual({ n: 260 - kept.length, ids: 260 - kept.length });
  await gateway.db.execute("update legal_holds set released_at = now() where account_id like 'many-%'");
  expect((await eraseAll(gateway)).reduce((a, b) => a + b)).toBe(kept.length);
});

test("with a customer's last record go the reasons of its events, its holds' texts and the results of its keys", async () => {
  await eraseAll(gateway);
  const customerId = "cAnArY-customer";
  const reason = "the cAnArY said so";
  const make = (key: string, relationshipEndedAt: string) =>
    mutate(
      "createKyc { kyc { id } }",
      {
        ...{
          customerId,
          documentNumber: `cAnArY-${key}`,
          verificationStatus: "PENDING",
          documentType: "VISA",
        },
        ...{ reason, relationshipEndedAt },
      },
      { "idempotency-key": key },
    );
  const first = (await make("first", yearsAgo(6))).data.createKyc.kyc.id;
  const second = (await make("second", yearsAgo(5, 1))).data.createKyc.kyc.id;
  await release(await hold({ customerId, reason: "a case of cAnArY" }));
  await sealAll(gateway.db);
  const everything = async () => {
    const tables = await gateway.db.execute<{ name: string }>(
      "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')",
    );
    const rows = [];
    for (const { name } of tables)
      rows.push(...(await gateway.db.execute<{ row: string }>(`select t::text as row from "${name}" t`)));
    return rows.map(({ row }) => row).filter((row) => /canary/i.test(row));
  };
  expect(await eraseAll(gateway)).toEqual([1]);
  expect(await present([first, second])).toEqual([second]);
  expect((await everything()).join()).toContain(reason);
  await mutate("updateKyc { kyc { id } }", { id: second, relationshipEndedAt: yearsAgo(6), reason });
  expect(await eraseAll(gateway)).toEqual([1]);
  expect(await everything()).toEqual([]);
  const [results] = await gateway.db.execute<{ n: number }>(
    "select count(*)::int as n from idempotency_keys where sealed_result is not null and kyc_id = any($1)",
    [[first, second]],
  );
  expect(results?.n).toBe(0);
  const { data, errors } = await gateway.graphql(
    token,
    `{ auditEvents(filter: { customerId: "${customerId}" }, first: 50) { nodes { action reason } } }`,
  );
  expect(errors).toBeUndefined();
  const texts = data.auditEvents.nodes.map(({ reason: text }: { reason: string | null }) => text);
  expect(texts[0]).toBe("retention");
  expect(new Set(texts.slice(1))).toEqual(new Set([null]));
});

test("another gateway goes on where one has died between two batches", async () => {
  const lease = { job: "retention", owner: "dead", leaseMs: 500 };
  const id = await ended(token, yearsAgo(6));
  expect(await holdJob(gateway.db, lease)).toBe(true);
  expect(await eraseAll(replica)).toEqual([1]);
  expect(await present([id])).toEqual([]);
  await releaseJob(gateway.db, lease);
});

test("without a record whose time has passed, a look is one statement", async () => {
  let statements = 0;
  const counting = {
    ...gateway.db,
    send: (...args: Parameters<typeof gateway.db.send>) => {
      statements += 1;
      return gateway.db.send(...args);
    },
  };
  expect(await findAccountsPastRetention(counting, "5 years")).toEqual([]);
  expect(statements).toBe(1);
});
