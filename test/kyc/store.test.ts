import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { OperationContext } from "../../src/context.ts";
import type { Executor } from "../../src/db/client.ts";
import type { Ordering } from "../../src/kyc/cursor.ts";
import * as erasures from "../../src/kyc/erasure/store.ts";
import { listHolds } from "../../src/kyc/holds/list-holds.ts";
import * as holds from "../../src/kyc/holds/store.ts";
import * as expiry from "../../src/kyc/lifecycle/expiry-store.ts";
import type { Kyc } from "../../src/kyc/record.ts";
import * as deletion from "../../src/kyc/store/deletion.ts";
import * as lists from "../../src/kyc/store/list.ts";
import * as ofCustomer from "../../src/kyc/store/of-customer.ts";
import * as records from "../../src/kyc/store/read.ts";
import * as retention from "../../src/kyc/store/retention.ts";
import { countSameNumber } from "../../src/kyc/store/same-number.ts";
import type { KycSelection } from "../../src/kyc/store/selection.ts";
import * as writes from "../../src/kyc/store/write.ts";
import { ORDER_NAMES, type OrderName } from "../../src/vocabulary.ts";
import { createTestDatabase } from "../support/database.ts";
import { type PlanNode, planOf } from "../support/plans.ts";
import { someEvent } from "../support/records.ts";

/** As many show the plans that a million has, which takes a few minutes. */
const RECORDS = Number(process.env.PLAN_RECORDS ?? 60_000);

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
  const indexes = await database.db.execute<{ name: string; definition: string }>(
    "select indexname as name, indexdef as definition from pg_indexes where tablename = 'kycs' and indexdef not like '%UNIQUE%'",
  );
  // One statement of a request would be late with so many. Indexes are made afterwards, which takes half of the time.
  const fill = async (tx: Executor) => {
    for (const { name } of indexes) await tx.execute(`drop index ${name}`);
    await tx.execute(`
    insert into kycs
    select 'account' || g % 40, lpad(g::text, 16, '0'), 'customer' || g % 90,
      (enum_range(null::verification_status))[1 + g % 5], (enum_range(null::document_type))[1 + g % 6],
      null, t, t, 1, 'test.N' || g, 'D' || g % 40 || '.' || g % 9000, null, t + interval '1 hour', 1,
      case when g % 3 = 0 then t + g % 700 * interval '1 day' end
    from generate_series(1, ${RECORDS}) g, lateral (select timestamptz '2025-01-01' + g / 7 * interval '1 second' as t) times`);
    for (const { definition } of indexes) await tx.execute(definition);
  };
  await database.db.transaction(fill, Number.POSITIVE_INFINITY);
  await database.db.execute("vacuum analyze kycs");
}, 60_000 + RECORDS);
afterAll(() => database.drop());

const here = { at: Date.parse("2025-01-01T00:30:00Z"), id: "0000000000012345" };
const earlier = { ...here, at: here.at - 600_000 };
const span = { from: earlier.at, to: here.at };
const customers: Partial<KycSelection>[] = [
  {},
  { customerIds: ["customer7"] },
  { customerIds: ["customer7", "customer8"] },
  { numberDigests: ["D1.1", "D1.41"] },
];
const kinds: Partial<KycSelection>[] = [
  {},
  { verificationStatuses: ["failed"] },
  { verificationStatuses: ["failed", "pending"] },
  { documentTypes: ["visa"] },
  { verificationStatuses: ["failed"], documentTypes: ["visa", "other"] },
];
const bounds: Partial<KycSelection>[] = [
  {},
  { olderThan: here },
  { newerThan: earlier, fromHereOlder: here },
  { fromHereNewer: earlier },
];
/** Spans of times that are not the order's own. */
const spansBeside = (by: OrderName): Partial<KycSelection>[] => {
  const others = ORDER_NAMES.filter((name) => name !== by);
  const spans = Object.fromEntries(others.map((name) => [name, span]));
  return [{}, { [others[0] as OrderName]: span }, spans];
};
const orderings = ORDER_NAMES.map((by, index) => ({ by, isDescending: index % 2 === 0 }));
const combined = (ordering: Ordering): KycSelection[] =>
  customers.flatMap((customer) =>
    kinds.flatMap((kind) =>
      spansBeside(ordering.by).flatMap((spans, index) =>
        // All bounds with one filter by times, to save time.
        (index === 0 ? bounds : bounds.slice(2, 3)).map(
          (bound): KycSelection => ({ ordering, ...customer, ...kind, ...spans, ...bound }),
        ),
      ),
    ),
  );
const selections = orderings.flatMap(combined);
// While plain numbers are left: in the place of the digests alone.
const numberAnywhere = { digests: ["D1.1", "D1.41"], plain: "1" };
const searches: KycSelection[] = [{ numberAnywhere }, { customerIds: ["customer7"], numberAnywhere }];

/** The statements that `work` sends. */
async function sentBy(work: () => Promise<unknown>): Promise<string[]> {
  const sent = vi.spyOn(database.db, "send");
  await work();
  const texts = sent.mock.calls.map(([text]) => text);
  sent.mockRestore();
  return texts;
}

/** Checks the plans of the statements, each also with `more` if it is given. */
async function expectIndexRanges(texts: Iterable<string>, more?: (node: PlanNode, text: string) => void) {
  const differing = new Set(texts);
  expect(differing.size).toBeGreaterThan(0);
  for (const text of differing) {
    for (const node of await planOf(database.db, text)) {
      more?.(node, text);
      if (node["Relation Name"] === undefined || node["Node Type"] === "ModifyTable") continue;
      expect(node["Node Type"], text).toMatch(/^(Index Scan|Index Only Scan|Bitmap Heap Scan)$/);
      if (node["Node Type"] !== "Bitmap Heap Scan") expect(node["Index Cond"], text).toContain("account_id");
    }
  }
}

/** Pages read nothing that their ranges of an index do not have: a scan that leaves out records has no bound. */
async function expectBoundedPages(texts: string[]) {
  await expectIndexRanges(texts, (node, text) => {
    if (node["Relation Name"] !== "kycs" || text.includes("number_digest")) return;
    expect(node["Node Type"], text).not.toBe("Bitmap Heap Scan");
    expect(node.Filter, text).toBeUndefined();
  });
}

test("the filters of release 0.2 find a page behind more records than are looked through", async () => {
  await database.db.transaction(
    (tx) =>
      tx.execute(`
      insert into kycs
      select 'busy', lpad(g::text, 16, '0'), 'one', case when g < 3 then 'failed' else 'verified' end::verification_status,
        case when g < 3 then 'visa' else 'passport' end::document_type, null, t, t, 1, 'test.N', 'D', null, t, 1, null
      from generate_series(1, 10500) g, lateral (select timestamptz '2025-01-01' + g * interval '1 second' as t) times`),
    Number.POSITIVE_INFINITY,
  );
  const page = async (selection: KycSelection) =>
    (await lists.findPage(database.db, "busy", selection, { from: "newest", limit: 11 }))?.map(({ id }) =>
      Number(id),
    );
  for (const of of [{ customerIds: ["one"] }, { numberDigests: ["D", "D2"] }]) {
    expect(await page({ ...of, verificationStatuses: ["failed"] })).toEqual([2, 1]);
    expect(await page({ ...of, documentTypes: ["visa"], olderThan: { at: Date.now(), id: "" } })).toEqual([
      2, 1,
    ]);
    expect(await page({ ...of, verificationStatuses: ["verified"] })).toHaveLength(11);
  }
  expect(await page({ customerIds: ["one", "two"], verificationStatuses: ["failed"] })).toBeUndefined();
});

describe("each statement reads ranges of an index, and never the table", () => {
  test.each(["newest", "oldest"] as const)("pages from the %s end", async (from) => {
    const texts = await sentBy(async () => {
      for (const selection of selections)
        await lists.findPage(database.db, "account1", selection, { from, limit: 11 });
    });
    await expectBoundedPages(texts);
    await expectIndexRanges(
      await sentBy(async () => {
        for (const selection of searches)
          await lists.findPage(database.db, "account1", selection, { from, limit: 11 });
      }),
    );
  });

  test("pages of many at once", async () => {
    const texts = await sentBy(async () => {
      for (const selection of selections) {
        const other: KycSelection = { ...selection };
        if (other.customerIds) other.customerIds = other.customerIds.map((id) => `${id}0`);
        else if (other.numberDigests) other.numberDigests = ["D1.2"];
        else if (other.documentTypes) other.documentTypes = other.documentTypes.map(() => "passport");
        else if (other.verificationStatuses)
          other.verificationStatuses = other.verificationStatuses.map(() => "verified");
        else continue;
        await Promise.all(
          [selection, other].map((one) =>
            lists.findPage(database.db, "account1", one, { from: "newest", limit: 11 }),
          ),
        );
      }
    });
    const together = texts.filter((text) => text.includes("wanted.page_number"));
    expect(together.length).toBeGreaterThan(selections.length / 4);
    await expectBoundedPages(together);
  });

  test("counts, single records, places and writes", async () => {
    const kyc = {
      id: "zzzzzzzzzzzzzzzz",
      customerId: "c",
      verificationStatus: "pending",
      documentType: "visa",
      ...{ sealedNumber: "test.1", numberDigest: "D1", sealedVersion: null, plainNumber: null },
      createdAt: 1,
      ...{ updatedAt: 1, statusSince: 1, expiresAt: null, relationshipEndedAt: null },
      version: 1,
    } as const;
    const event = someEvent("account1", kyc.id);
    const texts = await sentBy(async () => {
      for (const kind of [...customers, ...kinds, ...spansBeside("created_at"), ...searches]) {
        await lists.countSelected(database.db, "account1", kind);
        await lists.countByStatus(database.db, "account1", kind);
      }
      await records.findKyc(database.db, "account1", here.id);
      await records.findKycs(database.db, "account1", [here.id, "0000000000000001"]);
      await records.lockKyc(database.db, "account1", here.id);
      await records.findPosition(database.db, "account1", here.id, "created_at");
      await writes.insertKyc(database.db, "account1", kyc, event);
      const change = { kyc: { ...kyc, version: 2 }, number: kyc, event };
      expect(await writes.updateKycAtVersion(database.db, "account1", change)).toBe(true);
      expect(await writes.updateKycAtVersion(database.db, "account1", change)).toBe(false);
      expect(await deletion.keepKyc(database.db, "account1", kyc.id)).toBeDefined();
      const [locked] = await deletion.lockForDeletion(database.db, "account1", [kyc.id]);
      const rules = { digestCustomer: () => Buffer.alloc(16), enforcedRetention: null };
      const removal = { kyc: locked ?? kyc, event };
      await deletion.deleteLockedKycs(database.db, "account1", [removal], rules);
      await ofCustomer.findSomeOfCustomer(database.db, "account1", "c", 10);
      await ofCustomer.excludeHolds(database.db, "account1", "c", 10);
    });
    await expectIndexRanges(texts.filter((text) => !text.includes('insert into "kycs"')));
  });

  test("the job that expires records, and counts of equal numbers", async () => {
    const group = { accountId: "account2", step: 2_147_483_647 };
    const kyc = (await records.findKyc(database.db, "account2", "0000000000000042")) as Kyc;
    const texts = await sentBy(async () => {
      const found = [];
      for await (const one of expiry.findGroups(database.db)) found.push(one.accountId);
      expect(found).toHaveLength(new Set(found).size);
      const within = { after: undefined, seconds: 3600, limit: 100 };
      expect((await expiry.findDueKycs(database.db, group, within)).length).toBeGreaterThan(0);
      await expiry.noteSteps(database.db, group, [{ kyc, step: 7, notices: "", event: undefined }]);
      await countSameNumber(database.db, { accountId: "account2", id: here.id, digests: ["D2.2", "D2.42"] });
    });
    expect(texts).toHaveLength(4);
    // The groups of all accounts are looked up one after another.
    await expectIndexRanges(texts.slice(1));
    const looks = (await planOf(database.db, texts[0] as string)).filter(
      (node) => node["Relation Name"] === "kycs",
    );
    for (const { "Node Type": type, "Index Cond": condition } of looks) {
      expect(type).toBe("Index Only Scan");
      if (condition) expect(condition).toMatch(/^\(ROW\((kycs|kycs_1)?\.?account_id/);
    }
    expect(looks.map((node) => node.Filter)).toEqual([undefined, undefined]);
  });

  test("the job that erases records after their time of retention, and its refusals", async () => {
    await database.db.execute(
      "update kycs set relationship_ended_at = created_at where account_id in ('account3', 'account4') and id < '0000000000001000'",
    );
    await database.db.execute("vacuum analyze kycs");
    const texts = await sentBy(async () => {
      expect(await retention.findAccountsPastRetention(database.db, "1 days")).toEqual([
        "account3",
        "account4",
      ]);
      const after = { relationshipEndedAt: Date.parse("2025-01-01T00:00:01Z"), id: here.id };
      const within = { after, retention: "1 days", limit: 20 };
      expect(await retention.findPastRetention(database.db, "account3", within)).toHaveLength(20);
      const ids = ["0000000000000003", here.id];
      expect(await retention.findRetained(database.db, "account3", ids, "1 days")).toEqual([]);
      await deletion.lockForDeletion(database.db, "account3", ids, { skipsLocked: true });
      await ofCustomer.findCustomersWithoutRecord(database.db, "account3", ["customer3", "customer4"]);
    });
    expect(texts).toHaveLength(5);
    await expectIndexRanges(texts.slice(1));
    const looks = (await planOf(database.db, texts[0] as string)).filter(
      (node) => node["Relation Name"] === "kycs",
    );
    for (const look of looks) expect(look["Node Type"]).toMatch(/^Index (Only )?Scan$/);
  });

  test("holds, erasures, and the texts that an erasure removes", async () => {
    await database.db.execute(`
      insert into legal_holds
      select 'account' || g % 40, 'hold_' || lpad(g::text, 16, '0'), case when g % 2 = 0 then lpad(g::text, 16, '0') end,
        case when g % 2 = 1 then 'customer' || g end, decode(md5((g % 9000)::text), 'hex'), 'a case', now(), null,
        case when g % 3 = 0 then now() end
      from generate_series(1, 20000) g`);
    await database.db.execute(`
      insert into erasures
      select 'account' || g % 40, 'erasure_' || lpad(g::text, 16, '0'), decode(md5(g::text), 'hex'), now(), g, '{}', '{}'
      from generate_series(1, 20000) g`);
    await database.db.execute("vacuum analyze legal_holds, erasures");
    const customerDigest = Buffer.alloc(16);
    const ctx = {
      db: database.db,
      viewer: { accountId: "account5", scopes: ["kyc:hold"] },
      digestCustomer: () => customerDigest,
    } as unknown as OperationContext;
    const filters = [{}, { kycId: here.id }, { customerId: "c" }, { isInForce: true }];
    const all = [...filters, { kycId: here.id, customerId: "c", isInForce: true }];
    const texts = await sentBy(async () => {
      for (const filter of all) {
        for (const page of [{ first: 10 }, { last: 10 }]) await listHolds(ctx, { ...page, filter }).page();
        await listHolds(ctx, { filter }).totalCount();
      }
      await holds.findHoldsOn(database.db, "account5", [{ id: here.id, customerDigest }]);
      await holds.findHold(database.db, "account5", "hold_1");
      await holds.releaseStored(database.db, "account5", "hold_1", "over");
      await holds.forgetCustomers(database.db, "account5", ["customer5"]);
      await erasures.findErasure(database.db, "account5", "erasure_1");
      await erasures.eraseTexts(database.db, "account5", [customerDigest], { kycIds: [here.id], below: 7 });
    });
    await expectIndexRanges([...new Set(texts.filter((text) => !text.includes("kyc_erase_reasons")))]);
  });

  test("a page is read in the order of its index: nothing is sorted but pages of many", async () => {
    const texts = await sentBy(() =>
      lists.findPage(database.db, "account1", { olderThan: here }, { from: "newest", limit: 11 }),
    );
    for (const text of texts)
      expect((await planOf(database.db, text)).map((node) => node["Node Type"])).not.toContain("Sort");
  });
});

test("reads that are asked for at once are one statement for each account, and each gets its own answer", async () => {
  const ids = Array.from({ length: 90 }, (_, index) => String(index + 1).padStart(16, "0"));
  const accounts = ["account0", "account1", "account2", "account3"];
  let answers: unknown[] = [];
  const texts = await sentBy(async () => {
    answers = await Promise.all(
      ids.flatMap((id) =>
        accounts.map(async (account) => (await records.findKyc(database.db, account, id))?.sealedNumber),
      ),
    );
  });
  expect(texts).toHaveLength(accounts.length);
  const expected = ids.flatMap((id) =>
    accounts.map((_, account) => (Number(id) % 40 === account ? `test.N${Number(id)}` : undefined)),
  );
  expect(answers).toEqual(expected);
});

test("pages that are asked for at once are those that each would be alone", async () => {
  const requests = Array.from({ length: 40 }, (_, index) => ({
    account: `account${index % 3}`,
    selection: {
      customerIds: [`customer${index % 9}`],
      ...(index % 2 === 0 && { olderThan: { ...here, id: String(index).padStart(16, "0") } }),
    },
    from: index % 5 === 0 ? ("oldest" as const) : ("newest" as const),
  }));
  const read = ({ account, selection, from }: (typeof requests)[number]) =>
    lists.findPage(database.db, account, selection, { from, limit: 4 });
  const together = await Promise.all(requests.map(read));
  const alone = [];
  for (const request of requests) alone.push(await read(request));
  expect(together).toEqual(alone);
  expect(together.flat().length).toBeGreaterThan(50);
});

test("a read that starts after a write was acknowledged sees the write", async () => {
  const reading = Array.from({ length: 200 }, async (_, index) => {
    const id = `W${String(index).padStart(15, "0")}`;
    const kyc = {
      ...({
        id,
        customerId: "w",
        verificationStatus: "pending",
        documentType: "visa",
        ...{ sealedNumber: id, numberDigest: id, sealedVersion: null, plainNumber: null },
      } as const),
      ...{
        createdAt: index,
        updatedAt: index,
        statusSince: index,
        expiresAt: null,
        relationshipEndedAt: null,
        version: 1,
      },
    };
    await writes.insertKyc(database.db, "writers", kyc, someEvent("writers", id));
    return records.findKyc(database.db, "writers", id);
  });
  for (const [index, kyc] of (await Promise.all(reading)).entries()) {
    expect(kyc?.sealedNumber).toBe(`W${String(index).padStart(15, "0")}`);
  }
});

describe("changes that are asked for at once", () => {
  const account = "changers";
  const record = (id: string) =>
    ({
      id: id.padEnd(16, "0"),
      customerId: "c",
      verificationStatus: "pending",
      documentType: "visa",
      ...{ sealedNumber: `test.${id}`, numberDigest: `D.${id}`, sealedVersion: null, plainNumber: null },
      ...{
        createdAt: 1,
        updatedAt: 1,
        statusSince: 1,
        expiresAt: null,
        relationshipEndedAt: null,
        version: 1,
      },
    }) as const;
  const insert = async (...ids: string[]) => {
    for (const kyc of ids.map(record))
      await writes.insertKyc(database.db, account, kyc, someEvent(account, kyc.id));
  };
  const change = (id: string, version: number, verificationStatus: Kyc["verificationStatus"]) => ({
    kyc: { ...record(id), version, verificationStatus },
    number: undefined,
    event: { ...someEvent(account, record(id).id), reason: verificationStatus },
  });
  const ask = (changes: writes.KycChange[]) =>
    Promise.all(changes.map((one) => writes.updateKycAtVersion(database.db, account, one)));
  const reasonsOf = async (id: string) => {
    const written = await database.db.execute<{ reason: string }>(
      `select reason from audit_events where kyc_ids = '{${record(id).id}}' and reason <> '' order by sequence`,
    );
    return written.map(({ reason }) => reason);
  };

  test("are one statement, and each is done or not for itself, with its event", async () => {
    await insert("A", "B", "C");
    let done: boolean[] = [];
    const texts = await sentBy(async () => {
      const verified = change("C", 2, "verified");
      done = await ask([
        change("A", 2, "failed"),
        change("B", 3, "failed"),
        verified,
        change("C", 2, "expired"),
      ]);
    });
    expect(texts).toHaveLength(1);
    expect(done).toEqual([true, false, true, false]);
    for (const [id, version, status, reasons] of [
      ["A", 2, "failed", ["failed"]],
      ["B", 1, "pending", []],
      ["C", 2, "verified", ["verified"]],
    ] as const) {
      const expected = { version, verificationStatus: status, sealedNumber: `test.${id}` };
      expect(await records.findKyc(database.db, account, record(id).id)).toMatchObject(expected);
      expect(await reasonsOf(id)).toEqual(reasons);
    }
  });

  test("do not wait for a record that a transaction holds, and leave it as it is", async () => {
    await insert("D", "E");
    await database.db.transaction(async (tx) => {
      await records.lockKyc(tx, account, record("D").id);
      expect(await ask([change("D", 2, "failed"), change("E", 2, "failed")])).toEqual([false, true]);
    });
    expect(await reasonsOf("D")).toEqual([]);
  });

  test("touch no record of another account", async () => {
    await insert("F");
    expect(await writes.updateKycAtVersion(database.db, "others", change("F", 2, "failed"))).toBe(false);
    expect(await records.findKyc(database.db, account, record("F").id)).toMatchObject({ version: 1 });
  });
});
