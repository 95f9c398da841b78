import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sweep } from "../../src/idempotency/sweep.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { aCreate, SURFACES, type SurfaceName, type Write, write } from "../support/once.ts";
import { createRecord, goodInput } from "../support/records.ts";

const START = Date.parse("2026-03-01T12:00:00Z");

let gateway: TestApp;
let account: string;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
});
beforeEach(async () => {
  gateway.clock.now = START;
  account = `a-${randomUUID()}`;
  token = await gateway.token(account);
});
afterAll(() => gateway.close());

const ask = (surface: SurfaceName, wanted: Write, key?: string) =>
  write(gateway, surface, token, wanted, key);

async function countRecords(): Promise<number> {
  return (await gateway.graphql(token, "{ kycs(first: 0) { totalCount } }")).data.kycs.totalCount;
}

async function readTrail(): Promise<string[]> {
  const rows = await gateway.db.execute<{ action: string }>(
    "select action from audit_events where account_id = $1 order by sequence",
    [account],
  );
  return rows.map(({ action }) => action);
}

const readLedger = () =>
  gateway.db.execute<{ kyc_id: string; request_digest: string | null; sealed_result: string | null }>(
    "select * from idempotency_keys where account_id = $1 order by created_at, key_hash",
    [account],
  );

/** Makes this account's keys so old, by the database's clock. */
const ageKeys = (age: string) =>
  gateway.db.execute("update idempotency_keys set created_at = now() - $2::interval where account_id = $1", [
    account,
    age,
  ]);

const ways = SURFACES.flatMap((first) => SURFACES.map((again) => [first, again] as const));

describe.each(ways)("a write over %s that is sent again over %s with its key", (first, again) => {
  test("makes one record, and answers it as it was, whatever has become of it", async () => {
    const made = await ask(first, aCreate("P-1"), "key");
    expect(made).toMatchObject({ code: "OK", replayed: false });
    gateway.clock.now = START + 5000;
    await ask(first, { operation: "update", id: made.id, input: { documentNumber: "P-2" } });
    expect(await ask(again, aCreate("P-1"), "key")).toEqual({ ...made, replayed: true });
    expect(await countRecords()).toBe(1);
  });

  test("changes a record once, and answers the version that it made then", async () => {
    const { id } = await ask(first, aCreate("P-1"));
    const change: Write = {
      operation: "update",
      id,
      input: { verificationStatus: "VERIFIED" },
      expectedVersion: 1,
    };
    const changed = await ask(first, change, "key");
    expect(changed).toMatchObject({ code: "OK", result: { version: 2 } });
    await ask(first, { operation: "update", id, input: { verificationStatus: "FAILED" } });
    expect(await ask(again, change, "key")).toEqual({ ...changed, replayed: true });
    const now = await ask(first, { operation: "update", id, input: {} });
    expect(now).toMatchObject({ result: { version: 3, verificationStatus: "FAILED" } });
  });

  test("deletes a record once, and answers its id again", async () => {
    const { id } = await ask(first, aCreate("P-1"));
    expect(await ask(first, { operation: "delete", id }, "key")).toMatchObject({ code: "OK", result: id });
    expect(await ask(again, { operation: "delete", id }, "key")).toEqual({
      code: "OK",
      replayed: true,
      result: id,
      id,
    });
    expect(await ask(again, { operation: "delete", id })).toMatchObject({ code: "NOT_FOUND" });
  });

  test("remembers a change that changed nothing", async () => {
    const { id } = await ask(first, aCreate("P-1"));
    const same: Write = { operation: "update", id, input: { documentNumber: "P-1" } };
    await ask(first, same, "key");
    await ask(first, { operation: "update", id, input: { documentNumber: "P-2" } });
    expect(await ask(again, same, "key")).toMatchObject({
      replayed: true,
      result: { version: 1, documentNumber: "P-1" },
    });
    expect(await ask(again, { operation: "update", id, input: {} })).toMatchObject({
      result: { version: 2 },
    });
  });

  test.each(["update", "delete"] as const)(
    "is refused again by its version, whatever has become of the record: %s",
    async (operation) => {
      const { id } = await ask(first, aCreate("P-1"));
      const input = { documentType: "VISA" };
      const early: Write =
        operation === "update"
          ? { operation, id, input, expectedVersion: 2 }
          : { operation, id, expectedVersion: 2 };
      const refused = await ask(first, early, "key");
      expect(refused).toMatchObject({ code: "VERSION_CONFLICT", replayed: false });
      expect(refused.message).toContain("version 1");
      await ask(first, { operation: "update", id, input: { verificationStatus: "FAILED" } });
      expect(await ask(again, early, "key")).toEqual({ ...refused, replayed: true });
      expect(await ask(first, { ...early, expectedVersion: 3 }, "key")).toMatchObject({
        code: "IDEMPOTENCY_MISMATCH",
        replayed: false,
      });
      const now = await ask(again, { operation: "update", id, input: {} });
      expect(now.result).toMatchObject({ version: 2, documentType: "PASSPORT" });
      expect(await readTrail()).toEqual(["created", "updated"]);
    },
  );

  test.each(["0000000000000000", "no-id", "no%00id"])(
    "is refused again where there is no record: %s",
    async (text) => {
      const idOn = (surface: SurfaceName) => (surface === "rest" ? text : decodeURIComponent(text));
      const writes = (surface: SurfaceName): Write[] => [
        { operation: "update", id: idOn(surface), input: { documentNumber: "P-1" } },
        { operation: "delete", id: idOn(surface) },
      ];
      for (const [n, wanted] of writes(first).entries()) {
        const refused = await ask(first, wanted, `key ${n}`);
        expect(refused).toMatchObject({ code: "NOT_FOUND", replayed: false });
        expect(await ask(again, writes(again)[n] as Write, `key ${n}`)).toEqual({
          ...refused,
          replayed: true,
        });
        expect(await ask(again, aCreate("P-1"), `key ${n}`)).toMatchObject({ code: "IDEMPOTENCY_MISMATCH" });
      }
      expect(await countRecords()).toBe(0);
    },
  );

  test("is not told of the version that it was refused for once its record is deleted", async () => {
    const { id } = await ask(first, aCreate("P-1"));
    const early: Write = { operation: "update", id, input: { documentNumber: "P-2" }, expectedVersion: 2 };
    await ask(first, early, "early");
    await ask(first, { operation: "delete", id }, "deleted");
    expect(await ask(again, early, "early")).toMatchObject({ code: "NOT_FOUND", replayed: false });
    const rows = await readLedger();
    expect(rows.filter((row) => row.sealed_result !== null || row.request_digest !== null)).toHaveLength(1);
    const late = await ask(first, { operation: "delete", id }, "late");
    expect(late).toMatchObject({ code: "NOT_FOUND", replayed: false });
    expect(await ask(again, { operation: "delete", id }, "late")).toEqual({ ...late, replayed: true });
  });

  test("is refused if it asks for something else", async () => {
    const { id } = await ask(first, aCreate("P-1"), "key");
    const others: Write[] = [
      aCreate("P-2"),
      { operation: "update", id, input: {} },
      { operation: "delete", id },
    ];
    for (const other of others) {
      expect(await ask(again, other, "key")).toMatchObject({ code: "IDEMPOTENCY_MISMATCH", replayed: false });
    }
    const version: Write = { operation: "update", id, input: { documentType: "VISA" }, expectedVersion: 1 };
    await ask(first, version, "other");
    for (const changes of [{ expectedVersion: 2 }, { input: {} }, { id: "0000000000000000" }]) {
      expect(await ask(again, { ...version, ...changes }, "other")).toMatchObject({
        code: "IDEMPOTENCY_MISMATCH",
      });
    }
    expect(await countRecords()).toBe(1);
  });

  test("answers NOT_FOUND once its record is deleted, and the ledger holds no more of it", async () => {
    const made = await ask(first, aCreate("P-1"), "created");
    const change: Write = { operation: "update", id: made.id, input: { documentType: "VISA" } };
    await ask(first, change, "updated");
    await ask(first, { operation: "delete", id: made.id }, "deleted");
    expect(await ask(again, aCreate("P-1"), "created")).toMatchObject({ code: "NOT_FOUND", replayed: false });
    expect(await ask(again, change, "updated")).toMatchObject({ code: "NOT_FOUND", replayed: false });
    const rows = await readLedger();
    expect(rows).toHaveLength(3);
    expect(rows.filter((row) => row.sealed_result !== null || row.request_digest !== null)).toHaveLength(1);
    expect(await countRecords()).toBe(0);
  });

  test("is new again a day after its first use, also if nothing was swept", async () => {
    const made = await ask(first, aCreate("P-1"), "key");
    await ageKeys("23 hours 59 minutes");
    expect(await ask(again, aCreate("P-1"), "key")).toEqual({ ...made, replayed: true });
    await ageKeys("24 hours");
    const other = await ask(again, aCreate("P-2"), "key");
    expect(other).toMatchObject({ code: "OK", replayed: false });
    expect(await ask(first, aCreate("P-2"), "key")).toEqual({ ...other, replayed: true });
    const change: Write = { operation: "update", id: made.id, input: { documentType: "VISA" } };
    await ageKeys("24 hours");
    expect(await ask(again, change, "key")).toMatchObject({ code: "OK", replayed: false });
    expect(await ask(first, change, "key")).toMatchObject({ code: "OK", replayed: true });
    expect(await readLedger()).toHaveLength(1);
  });

  test.each([
    ["a day ahead", 25],
    ["a day behind", -25],
    ["years ahead", 24 * 365 * 10],
  ])("is done once if the clock of one replica is %s", async (_name, hours) => {
    const now = Date.now();
    const clocks = [now, now + hours * 60 * 60 * 1000];
    for (const [key, [earlier, later]] of [clocks, clocks.toReversed()].entries()) {
      gateway.clock.now = earlier;
      const made = await ask(first, aCreate("P-1"), `key-${key}`);
      gateway.clock.now = later;
      await sweep(gateway.db, () => false);
      expect(await ask(again, aCreate("P-1"), `key-${key}`)).toEqual({ ...made, replayed: true });
      const change: Write = { operation: "update", id: made.id, input: { documentType: "VISA" } };
      const changed = await ask(first, change, `change-${key}`);
      gateway.clock.now = earlier;
      expect(await ask(again, change, `change-${key}`)).toEqual({ ...changed, replayed: true });
    }
    expect(await countRecords()).toBe(2);
  });
});

describe.each(SURFACES)("over %s", (surface) => {
  test("what is wrong or not allowed does not use its key up", async () => {
    const { id } = await ask(surface, aCreate("P-123456"));
    const reader = await gateway.token(account, ["kyc:read"]);
    const writer = await gateway.token(account, ["kyc:read", "kyc:write"]);
    const failures: [string, string | null, Write][] = [
      ["BAD_USER_INPUT", token, aCreate(" ")],
      ["BAD_USER_INPUT", token, { operation: "update", id, input: { documentNumber: "" } }],
      ["BAD_USER_INPUT", token, { operation: "update", id: "no-id", input: { documentNumber: "" } }],
      ["BAD_USER_INPUT", writer, { operation: "update", id, input: { documentNumber: "••••9999" } }],
      ["FORBIDDEN", reader, aCreate("P-2")],
      ["FORBIDDEN", reader, { operation: "delete", id }],
      ["UNAUTHENTICATED", null, aCreate("P-2")],
    ];
    for (const [code, asker, wanted] of failures) {
      expect(await write(gateway, surface, asker, wanted, "key")).toMatchObject({ code, replayed: false });
    }
    expect(await readLedger()).toEqual([]);
    expect(await ask(surface, aCreate("P-3"), "key")).toMatchObject({ code: "OK", replayed: false });
  });

  test("a replay needs what the operation needs now, and shows what that shows", async () => {
    await ask(surface, aCreate("P-1"), "key");
    const reader = await gateway.token(account, ["kyc:read"]);
    expect(await write(gateway, surface, reader, aCreate("P-1"), "key")).toMatchObject({ code: "FORBIDDEN" });
    const writer = await gateway.token(account, ["kyc:write", "kyc:read"]);
    expect(await write(gateway, surface, writer, aCreate("P-1"), "key")).toMatchObject({
      code: "OK",
      replayed: true,
    });
  });

  test("a replay masks the number for a token that may not see it, whoever sent the first", async () => {
    const made = await ask(surface, aCreate("P-123456789"), "key");
    const writer = await gateway.token(account, ["kyc:read", "kyc:write"]);
    const masked = { ...(made.result as object), documentNumber: "•••••••6789" };
    expect(await write(gateway, surface, writer, aCreate("P-123456789"), "key")).toEqual({
      ...made,
      replayed: true,
      result: masked,
    });
    const change: Write = { operation: "update", id: made.id, input: { documentNumber: "Q-987654321" } };
    const first = await write(gateway, surface, writer, change, "change");
    expect(first.result).toMatchObject({ documentNumber: "•••••••4321" });
    expect((await ask(surface, change, "change")).result).toMatchObject({ documentNumber: "Q-987654321" });
  });

  test("a token that may not see the number can't try guesses with the key of someone who may", async () => {
    const made = await ask(surface, aCreate("P-123456789"), "key");
    const change: Write = { operation: "update", id: made.id, input: { documentNumber: "Q-123456789" } };
    await ask(surface, change, "change");
    const clerk = await gateway.token(account, ["kyc:read", "kyc:write", "kyc:delete"]);
    const guess = (wanted: Write, key: string) => write(gateway, surface, clerk, wanted, key);
    const right = await guess(aCreate("P-123456789"), "key");
    expect(right).toMatchObject({ replayed: true, result: { documentNumber: "•••••••6789" } });
    expect(await guess(aCreate("X-999996789"), "key")).toEqual(right);
    const changed = await guess(change, "change");
    expect(changed).toMatchObject({ replayed: true, result: { documentNumber: "•••••••6789" } });
    expect(await guess({ ...change, input: { documentNumber: "X-999996789" } }, "change")).toEqual(changed);
    const others = [aCreate("P-123456780"), aCreate("P-1234-56789"), { operation: "delete", id: made.id }];
    for (const other of others as Write[]) {
      expect(await guess(other, "key")).toMatchObject({ code: "IDEMPOTENCY_MISMATCH", replayed: false });
    }
    expect(await ask(surface, aCreate("X-999996789"), "key")).toMatchObject({ code: "IDEMPOTENCY_MISMATCH" });
  });

  test("a key is an account's own", async () => {
    const made = await ask(surface, aCreate("P-1"), "key");
    const stranger = await gateway.token(`${account}-2`);
    const other = await write(gateway, surface, stranger, aCreate("P-1"), "key");
    expect(other).toMatchObject({ code: "OK", replayed: false });
    expect(other.id).not.toBe(made.id);
  });

  test("space around a number makes no other request", async () => {
    const made = await ask(surface, aCreate(" P-1 "), "key");
    expect(await ask(surface, aCreate("P-1"), "key")).toEqual({ ...made, replayed: true });
  });

  test("a request whose first is still running is told so at once, and succeeds when it has ended", async () => {
    const id = await createRecord(gateway, token);
    const change: Write = { operation: "update", id, input: { documentType: "VISA" } };
    const { unlock, isWaitedFor } = await lockRecord(id);
    const first = ask(surface, change, "key");
    await expect.poll(isWaitedFor).toBe(true);
    const askedAt = performance.now();
    expect(await ask(surface, change, "key")).toMatchObject({
      code: "IDEMPOTENCY_IN_PROGRESS",
      replayed: false,
      retryAfter: "1",
    });
    expect(await ask(surface, aCreate("P-1"), "key")).toMatchObject({ code: "IDEMPOTENCY_IN_PROGRESS" });
    expect(performance.now() - askedAt).toBeLessThan(2000);
    expect(await ask(surface, aCreate("P-1"), "another key")).toMatchObject({ code: "OK" });
    await unlock();
    const changed = await first;
    expect(changed).toMatchObject({ code: "OK", replayed: false });
    expect(await ask(surface, change, "key")).toEqual({ ...changed, replayed: true });
  });

  test("of many with one key at once, one writes, and every answer is its", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(surface, aCreate("P-1"), "key")));
    const good = answers.filter(({ code }) => code === "OK");
    expect(good.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(new Set(good.map(({ id }) => id)).size).toBe(1);
    const others = answers.filter(({ code }) => code !== "OK");
    expect(others.filter(({ code }) => code !== "IDEMPOTENCY_IN_PROGRESS")).toEqual([]);
    expect(await countRecords()).toBe(1);
  });
});

/** Holds a record as a transaction of someone else's would. */
async function lockRecord(id: string) {
  let unlock: (() => void) | undefined;
  let locked: (() => void) | undefined;
  const isLocked = new Promise<void>((resolve) => {
    locked = resolve;
  });
  const until = new Promise<void>((resolve) => {
    unlock = resolve;
  });
  const held = gateway.db.transaction(async (tx) => {
    await tx.execute("select 1 from kycs where id = $1 for update", [id]);
    locked?.();
    await until;
  });
  await isLocked;
  return {
    unlock: () => {
      unlock?.();
      return held;
    },
    isWaitedFor: async () =>
      (
        await gateway.db.execute(
          "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
      ).length > 0,
  };
}

test("the ledger holds no number, no key and no request in the clear", async () => {
  const canary = "CANARY-7391-NUMBER";
  const { id } = await ask("rest", aCreate(canary), `key of ${canary}`);
  const change: Write = { operation: "update", id, input: { documentNumber: `${canary}-2` } };
  await ask("graphql", change, `change of ${canary}`);
  const rows = await readLedger();
  expect(rows).toHaveLength(2);
  for (const row of rows) expect(row.sealed_result).toBeTruthy();
  const dump = JSON.stringify(rows);
  expect(dump).not.toContain("CANARY");
  expect(dump).not.toContain("customer-1");
  expect(dump).not.toContain(Buffer.from(canary).toString("base64").slice(0, 12));
  expect(gateway.logged()).not.toContain("CANARY");
});

test("equal requests of different keys can't be matched by what is stored of them", async () => {
  await ask("rest", aCreate("P-1"), "one");
  await ask("rest", aCreate("P-1"), "two");
  const rows = await readLedger();
  expect(new Set(rows.map((row) => row.request_digest)).size).toBe(2);
});

test("a result that was moved to another key is not answered", async () => {
  await ask("rest", aCreate("P-1"), "one");
  await ask("rest", aCreate("P-1"), "two");
  await gateway.db.execute(
    `update idempotency_keys set sealed_result = (select max(sealed_result) from idempotency_keys where account_id = $1)
     where account_id = $1`,
    [account],
  );
  const answers = [await ask("rest", aCreate("P-1"), "one"), await ask("rest", aCreate("P-1"), "two")];
  expect(answers.map(({ code }) => code).sort()).toEqual(["INTERNAL", "OK"]);
});

test("another reason makes another request, the same one over the other surface does not", async () => {
  const fields = {
    customer_id: "c",
    verification_status: "pending",
    document_type: "passport",
    document_number: "P-1",
  };
  const create = (reason: string) =>
    gateway.rest(token, "POST", "/v1/kyc", {
      form: fields,
      headers: { "idempotency-key": "key", "kyc-reason": reason },
    });
  expect((await create("asked for")).statusCode).toBe(201);
  expect((await create("asked for")).headers["idempotent-replayed"]).toBe("true");
  expect((await create("not asked for")).json().error.type).toBe("idempotency_error");
  const input = { ...goodInput, customerId: "c", documentNumber: "P-1", reason: "asked for" };
  const query = "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }";
  const answer = await gateway.graphql(token, query, { input }, { "idempotency-key": "key" });
  expect(answer.headers["idempotent-replayed"]).toBe("true");
});

describe("on REST", () => {
  const create = (headers: Record<string, string>, path = "/v1/kyc") =>
    gateway.rest(token, "POST", path, {
      form: {
        customer_id: "c",
        verification_status: "pending",
        document_type: "passport",
        document_number: "1",
      },
      headers,
    });

  test("a replay has the first answer's status, headers and body, to the byte", async () => {
    const first = await create({ "idempotency-key": "key" });
    const again = await create({ "idempotency-key": "key" });
    expect(again.statusCode).toBe(201);
    expect(again.body).toBe(first.body);
    for (const name of ["location", "etag", "content-type", "cache-control"]) {
      expect(again.headers[name]).toBe(first.headers[name]);
    }
    expect(first.headers["idempotent-replayed"]).toBeUndefined();
    expect(again.headers["idempotent-replayed"]).toBe("true");
  });

  test("a refusal that comes again has the first one's status and body, to the byte", async () => {
    const { id } = (await create({})).json();
    const missing = "/v1/kyc/0000000000000000";
    const requests: [number, string, Record<string, string>][] = [
      [412, `/v1/kyc/${id}`, { "idempotency-key": "early", "if-match": '"7"' }],
      [404, missing, { "idempotency-key": "missing" }],
    ];
    for (const [status, url, headers] of requests) {
      const put = () => gateway.rest(token, "PUT", url, { form: { document_type: "visa" }, headers });
      const first = await put();
      expect(first.statusCode).toBe(status);
      expect(first.headers["idempotent-replayed"]).toBeUndefined();
      await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { verification_status: "failed" } });
      const again = await put();
      expect(again.statusCode).toBe(status);
      expect(again.body).toBe(first.body);
      expect(again.headers["idempotent-replayed"]).toBe("true");
    }
  });

  test("another request under the key is a 400, and one while the first runs a 409 that says when to retry", async () => {
    const { id } = (await create({ "idempotency-key": "key" })).json();
    const other = await gateway.rest(token, "DELETE", `/v1/kyc/${id}`, {
      headers: { "idempotency-key": "key" },
    });
    expect(other.statusCode).toBe(400);
    expect(other.json()).toEqual({
      error: {
        type: "idempotency_error",
        code: "idempotency_mismatch",
        message: "The key was used with another request. Use a new key.",
      },
    });
    const { unlock, isWaitedFor } = await lockRecord(id);
    const remove = () =>
      gateway.rest(token, "DELETE", `/v1/kyc/${id}`, { headers: { "idempotency-key": "other" } });
    const first = remove();
    await expect.poll(isWaitedFor).toBe(true);
    const running = await remove();
    expect(running.statusCode).toBe(409);
    expect(running.headers["retry-after"]).toBe("1");
    expect(running.json()).toMatchObject({
      error: { type: "idempotency_error", code: "idempotency_in_progress" },
    });
    await unlock();
    expect((await first).statusCode).toBe(200);
  });

  test.each(["", "k".repeat(256), "a\tb"])(
    "a bad key is reported with every other fault: %j",
    async (key) => {
      const answer = await gateway.rest(token, "POST", "/v1/kyc", {
        form: { customer_id: "" },
        headers: { "idempotency-key": key },
      });
      expect(answer.statusCode).toBe(400);
      const { error } = answer.json();
      expect(error).toMatchObject({
        type: "invalid_request_error",
        code: "parameter_invalid",
        param: "Idempotency-Key",
      });
      expect(error.message).toContain(
        "Idempotency-Key must have 1 to 255 printable characters; customer_id ",
      );
      expect(error.message).toContain("document_number");
    },
  );

  test("what only reads ignores the key, however bad it is", async () => {
    expect(
      (await gateway.rest(token, "GET", "/v1/kyc", { headers: { "idempotency-key": "" } })).statusCode,
    ).toBe(200);
  });

  test("a whole record that was sent back is changed once, though its times are no longer the stored ones", async () => {
    const record = (await create({})).json();
    gateway.clock.now = START + 60_000;
    const put = () =>
      gateway.rest(token, "PUT", `/v1/kyc/${record.id}`, {
        json: { ...record, verification_status: "verified" },
        headers: { "idempotency-key": "key" },
      });
    const first = await put();
    expect(first.statusCode).toBe(200);
    const again = await put();
    expect(again.statusCode).toBe(200);
    expect(again.body).toBe(first.body);
    expect(again.headers).toMatchObject({ etag: '"2"', "idempotent-replayed": "true" });
  });

  test("a fixed field that was given is part of the request, whichever way its body is written", async () => {
    const record = (await create({})).json();
    const put = (fixed: Record<string, unknown>, form = false) => {
      const fields = { ...fixed, verification_status: "verified" };
      const texts = Object.entries(fields).map(([name, value]) => [name, String(value)]);
      return gateway.rest(token, "PUT", `/v1/kyc/${record.id}`, {
        ...(form ? { form: Object.fromEntries(texts) } : { json: fields }),
        headers: { "idempotency-key": "key" },
      });
    };
    const { id, customer_id, created_at, updated_at } = record;
    const first = await put({ id, customer_id, created_at, updated_at });
    expect(first.statusCode).toBe(200);
    const again = await put({ updated_at, created_at, customer_id, id }, true);
    expect(again.body).toBe(first.body);
    expect(again.headers["idempotent-replayed"]).toBe("true");
    for (const other of [
      { id, customer_id: "another", created_at, updated_at },
      { id: "0000000000000000", customer_id, created_at, updated_at },
      { id, customer_id, created_at: created_at + 1, updated_at },
      { id, customer_id, created_at, updated_at: updated_at + 1 },
      { id, customer_id, created_at },
      {},
    ]) {
      expect((await put(other)).json().error.code).toBe("idempotency_mismatch");
    }
  });
});
