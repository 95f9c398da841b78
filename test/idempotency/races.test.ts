import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { aCreate, SURFACES, type Write, type WriteAnswer, write, writePatiently } from "../support/once.ts";

let replicas: TestApp[];
beforeAll(async () => {
  const first = await createTestApp();
  replicas = [first, await createTestApp({}, first)];
});
afterAll(async () => {
  for (const replica of [...replicas].reverse()) await replica.close();
});

interface Ask {
  replica: number;
  surface: number;
  /** Which key, and which of the requests that are sent under it. */
  key: number;
  variant: number;
}

const asks = fc.array(
  fc.record({
    replica: fc.nat({ max: 1 }),
    surface: fc.nat({ max: 1 }),
    key: fc.nat({ max: 5 }),
    variant: fc.constantFrom(0, 0, 0, 0, 1),
  }),
  { minLength: 2, maxLength: 40 },
);

const send = (token: string, wanted: Write, key: string, { replica, surface }: Ask) =>
  writePatiently(replicas[replica] as TestApp, SURFACES[surface] as "rest", token, wanted, key);

/** The trail's events of an account's writes, in order. */
async function readTrail(account: string): Promise<string[]> {
  const rows = await (replicas[0] as TestApp).db.execute<{ action: string; id: string }>(
    "select action, kyc_ids[1] as id from audit_events where account_id = $1 order by sequence",
    [account],
  );
  return rows.map(({ action, id }) => `${action} ${id}`);
}

/** Of the answers under each key: one is the first, and every other repeats it or refuses another request. */
function expectOncePerKey(sent: { ask: Ask; answer: WriteAnswer }[]): void {
  for (const key of new Set(sent.map(({ ask }) => ask.key))) {
    const ofKey = sent.filter(({ ask }) => ask.key === key);
    const [first, ...more] = ofKey.filter(
      ({ answer }) => answer.code !== "IDEMPOTENCY_MISMATCH" && !answer.replayed,
    );
    expect(more).toEqual([]);
    for (const { ask, answer } of ofKey) {
      if (ask.variant !== first?.ask.variant) expect(answer.code).toBe("IDEMPOTENCY_MISMATCH");
      else expect({ ...answer, replayed: false }).toEqual(first.answer);
    }
  }
}

test("creates with equal keys, through any replica and surface, make one record for each key", async () => {
  await fc.assert(
    fc.asyncProperty(asks, async (wanted) => {
      const gateway = replicas[0] as TestApp;
      const account = `a-${randomUUID()}`;
      const token = await gateway.token(account);
      const sent = await Promise.all(
        wanted.map(async (ask) => ({
          ask,
          answer: await send(token, aCreate(`P-${ask.key}-${ask.variant}`), `key ${ask.key}`, ask),
        })),
      );
      expectOncePerKey(sent);
      const { data } = await gateway.graphql(token, "{ kycs(first: 100) { nodes { id } } }");
      const ids = new Set(sent.filter(({ answer }) => answer.code === "OK").map(({ answer }) => answer.id));
      expect(new Set(data.kycs.nodes.map((node: { id: string }) => node.id))).toEqual(ids);
      expect((await readTrail(account)).sort()).toEqual([...ids].map((id) => `created ${id}`).sort());
      expect(data.kycs.nodes).toHaveLength(new Set(wanted.map(({ key }) => key)).size);
    }),
    { numRuns: 25 },
  );
});

test("changes of one record with equal keys make one version for each key, and none is lost", async () => {
  await fc.assert(
    fc.asyncProperty(asks, async (wanted) => {
      const gateway = replicas[0] as TestApp;
      const account = `a-${randomUUID()}`;
      const token = await gateway.token(account);
      const { id } = await write(gateway, "rest", token, aCreate("P"));
      const sent = await Promise.all(
        wanted.map(async (ask) => {
          const input = { documentNumber: `P-${ask.key}-${ask.variant}` };
          return {
            ask,
            answer: await send(token, { operation: "update", id, input }, `key ${ask.key}`, ask),
          };
        }),
      );
      expectOncePerKey(sent);
      const written = sent.filter(({ answer }) => answer.code === "OK" && !answer.replayed);
      const versions = written.map(({ answer }) => (answer.result as { version: number }).version);
      expect(versions.sort((a, b) => a - b)).toEqual(written.map((_, n) => n + 2));
      expect(await readTrail(account)).toEqual([`created ${id}`, ...written.map(() => `updated ${id}`)]);
      const last = await write(gateway, "rest", token, { operation: "update", id, input: {} });
      expect(last.result).toEqual(
        written
          .map(({ answer }) => answer.result)
          .find((result) => (result as { version: number }).version === versions.at(-1)),
      );
    }),
    { numRuns: 15 },
  );
});

test("of changes of one version with differing keys one is made, and each key answers what it answered first", async () => {
  await fc.assert(
    fc.asyncProperty(asks, async (wanted) => {
      const gateway = replicas[0] as TestApp;
      const account = `a-${randomUUID()}`;
      const token = await gateway.token(account);
      const { id } = await write(gateway, "rest", token, aCreate("P"));
      const ask = async (one: Ask) => {
        const input = { documentNumber: `P-${one.key}-${one.variant}` };
        const change: Write = { operation: "update", id, input, expectedVersion: 1 };
        return { ask: one, answer: await send(token, change, `key ${one.key}`, one) };
      };
      const sent = await Promise.all(wanted.map(ask));
      const late = await Promise.all(wanted.map(ask));
      expectOncePerKey([...sent, ...late]);
      const written = sent.filter(({ answer }) => answer.code === "OK" && !answer.replayed);
      expect(written).toHaveLength(1);
      const conflicts = sent.filter(({ answer }) => answer.code === "VERSION_CONFLICT" && !answer.replayed);
      expect(conflicts).toHaveLength(new Set(wanted.map(({ key }) => key)).size - 1);
      expect(await readTrail(account)).toEqual([`created ${id}`, `updated ${id}`]);
    }),
    { numRuns: 15 },
  );
});

test("deletes with equal keys, while others change and repeat, leave nothing of the record in the ledger", async () => {
  await fc.assert(
    fc.asyncProperty(asks, async (wanted) => {
      const gateway = replicas[0] as TestApp;
      const account = `a-${randomUUID()}`;
      const token = await gateway.token(account);
      const made = await write(gateway, "rest", token, aCreate("P"), "made");
      const { id } = made;
      const operationOf = ({ key, variant }: Ask): Write =>
        key === 0
          ? { operation: "delete", id }
          : { operation: "update", id, input: { documentNumber: `P-${key}-${variant}` } };
      const answers = await Promise.all(
        [...wanted, { replica: 0, surface: 0, key: 0, variant: 0 }].map(async (ask) => ({
          ask,
          answer: await send(token, operationOf(ask), `key ${ask.key}`, ask),
        })),
      );
      const deletions = answers.filter(({ ask }) => ask.key === 0);
      for (const { answer } of deletions) expect(answer).toMatchObject({ code: "OK", result: id });
      expect(deletions.filter(({ answer }) => !answer.replayed)).toHaveLength(1);
      const codes = new Set(answers.map(({ answer }) => answer.code));
      for (const code of codes) expect(["OK", "NOT_FOUND", "IDEMPOTENCY_MISMATCH"]).toContain(code);
      const keysWith = (code: string) =>
        new Set(answers.filter(({ answer }) => answer.code === code).map(({ ask }) => ask.key));
      // A request that came after the deletion has kept no result.
      const tooLate = [...keysWith("NOT_FOUND")].filter((key) => !keysWith("OK").has(key));
      expectOncePerKey(answers.filter(({ ask }) => tooLate.includes(ask.key)));
      expect(await write(gateway, "graphql", token, aCreate("P"), "made")).toMatchObject({
        code: "NOT_FOUND",
      });
      const held = await gateway.db.execute(
        "select key_hash from idempotency_keys where account_id = $1 and sealed_result is not null",
        [account],
      );
      expect(held).toHaveLength(1 + tooLate.length);
    }),
    { numRuns: 15 },
  );
});
