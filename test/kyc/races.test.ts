import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashToken } from "../../src/auth/token-secret.ts";
import { findToken, revokeToken } from "../../src/auth/tokens.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import {
  aCreate,
  SURFACES,
  type SurfaceName,
  type Write,
  type WriteAnswer,
  writePatiently,
} from "../support/once.ts";

/** Each has two seconds at least, in which a revocation comes into force. */
const RUNS = 2;
/** Accounts that are busy at once. */
const ACCOUNTS = 5;
/** Of each the requests follow one another; those of different ones meet. */
const CLIENTS = 5;
const FIRST_RECORDS = 3;
/** How long a revoked token may be taken still. Milliseconds. */
const REVOKED_AFTER = 1000;

let replicas: [TestApp, TestApp];
beforeAll(async () => {
  const first = await createTestApp();
  replicas = [first, await createTestApp({}, first)];
  // A record's times must not go back if a replica whose clock is behind changes it.
  replicas[1].clock.now = Date.now() - 60_000;
});
afterAll(async () => {
  for (const replica of [...replicas].reverse()) await replica.close();
});

const anAsk = fc.record({
  client: fc.nat({ max: CLIENTS - 1 }),
  replica: fc.constantFrom<(0 | 1)[]>(0, 1),
  surface: fc.constantFrom(...SURFACES),
  token: fc.constantFrom<("lasting" | "revoked")[]>("lasting", "revoked"),
  operation: fc.constantFrom("create", "update", "update", "update", "update", "update", "delete"),
  target: fc.nat({ max: 99 }),
  /** A number is new each time; a status may be the record's already. */
  fields: fc.constantFrom("number", "number", "status", "both"),
  status: fc.constantFrom("PENDING", "IN_REVIEW", "VERIFIED", "FAILED", "EXPIRED"),
  /** Which version it expects: the latest that was answered, or the one before. */
  expects: fc.constantFrom("any", "any", "latest", "latest", "earlier"),
  /** Identifies the request except for its variant: requests with one key are repetitions. */
  key: fc.option(fc.nat({ max: 6 })),
  variant: fc.constantFrom(0, 0, 0, 0, 1),
});
type Ask = typeof anAsk extends fc.Arbitrary<infer T> ? T : never;

const aPlan = fc.record({
  asks: fc.array(anAsk, { minLength: 20, maxLength: 60 }),
  /** Answers before the token is revoked. */
  revokeAfter: fc.nat({ max: 50 }),
  /** The request that is sent with it the second time. */
  late: fc.array(anAsk, { minLength: 4, maxLength: 6 }),
});
type Plan = typeof aPlan extends fc.Arbitrary<infer T> ? T : never;

/** A request and its answer, from when to when by one clock. Milliseconds. */
interface Done {
  token: Ask["token"];
  wanted: Write;
  key: string | undefined;
  /** The record; empty for a creation without one. */
  id: string;
  answer: WriteAnswer;
  began: number;
  ended: number;
}

/** The requests and answers of one account. */
interface Story {
  account: string;
  log: Done[];
  /** When the revocation was asked for, and when it was acknowledged. */
  revoked: { began: number; ended: number };
}

interface Kyc {
  verificationStatus: string;
  documentNumber: string;
  version: number;
  updatedAt: number;
}

/** The records that clients know of, in the order of their creation, each with its latest version that was answered. */
type Known = Map<string, number>;

async function play({ asks, revokeAfter, late }: Plan): Promise<Story> {
  const [gateway] = replicas;
  const account = `a-${randomUUID()}`;
  const tokens = { lasting: await gateway.token(account), revoked: await gateway.token(account) };
  const story: Story = { account, log: [], revoked: { began: Number.POSITIVE_INFINITY, ended: 0 } };
  const known: Known = new Map();
  let revocation: Promise<void> | undefined;

  const revoke = async () => {
    story.revoked.began = performance.now();
    const token = await findToken(gateway.db, gateway.keys, hashToken(tokens.revoked));
    expect(await revokeToken(gateway.db, gateway.keys, String(token?.id), Date.now(), null)).toBe(true);
    story.revoked.ended = performance.now();
  };
  const perform = async ({ replica, surface, token }: Place, wanted: Write, key?: string) => {
    const began = performance.now();
    const answer = await writePatiently(replicas[replica], surface, tokens[token], wanted, key);
    const ended = performance.now();
    const id = wanted.operation === "create" ? answer.id : wanted.id;
    story.log.push({ token, wanted, key, id, answer, began, ended });
    if (answer.code === "OK" && wanted.operation !== "delete") {
      known.set(id, Math.max(known.get(id) ?? 0, (answer.result as Kyc).version));
    }
    if (story.log.length > revokeAfter) revocation ??= revoke();
  };
  const performAsk = (ask: Ask) => {
    const key = ask.key === null ? undefined : `key ${ask.key}`;
    return perform(ask, toWrite(ask, known, story.log.length), key);
  };

  for (let n = 0; n < FIRST_RECORDS; n++) {
    await perform({ replica: 0, surface: "rest", token: "lasting" }, aCreate(`first ${n}`));
  }
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      for (const ask of asks.filter((other) => other.client === client)) await performAsk(ask);
    }),
  );
  revocation ??= revoke();
  await revocation;
  await wait(story.revoked.ended + REVOKED_AFTER + 1 - performance.now());
  await Promise.all(late.map((ask) => performAsk({ ...ask, token: "revoked" })));
  return story;
}

interface Place {
  replica: 0 | 1;
  surface: SurfaceName;
  token: Ask["token"];
}

function toWrite(ask: Ask, known: Known, n: number): Write {
  const ids = [...known.keys()];
  if (ask.key !== null) {
    const documentNumber = `key ${ask.key}, ${ask.variant}`;
    const id = ids[ask.key % FIRST_RECORDS] as string;
    if (ask.key < 2) return aCreate(documentNumber);
    if (ask.key === 6) return { operation: "delete", id };
    const expected = ask.key > 3 ? { expectedVersion: ask.key - 3 } : {};
    return { operation: "update", id, input: { documentNumber }, ...expected };
  }
  const documentNumber = `${n}, ${ask.client}`;
  if (ask.operation === "create") return aCreate(documentNumber);
  const id = ids[ask.target % ids.length] as string;
  const version = (known.get(id) as number) - (ask.expects === "earlier" ? 1 : 0);
  const expected = ask.expects === "any" ? {} : { expectedVersion: version };
  if (ask.operation === "delete") return { operation: "delete", id, ...expected };
  const input = {
    ...(ask.fields !== "status" && { documentNumber }),
    ...(ask.fields !== "number" && { verificationStatus: ask.status }),
  };
  return { operation: "update", id, input, ...expected };
}

const succeeded = ({ answer }: Done) => answer.code === "OK" && !answer.replayed;
/** The answer to a repeated key. */
const isKept = ({ answer }: Done) => ["OK", "VERSION_CONFLICT", "NOT_FOUND"].includes(answer.code);
const resultOf = ({ answer }: Done) => answer.result as Kyc;
const inputOf = ({ wanted }: Done) => (wanted as { input: Partial<Kyc> }).input;
const expectedOf = ({ wanted }: Done) => (wanted as { expectedVersion?: number }).expectedVersion;
const has = (state: Kyc, fields: Partial<Kyc>) => isDeepStrictEqual({ ...state, ...fields }, state);

/** Each answer is right for what had happened by then, whatever became of the records. */
function checkAnswers({ log, revoked }: Story): void {
  const deletionOf = (id: string) =>
    log.find((done) => done.wanted.operation === "delete" && done.id === id && succeeded(done));
  for (const done of log) {
    const { token, wanted, key, id, answer, began, ended } = done;
    const ofKey = log.filter((other) => key !== undefined && other.key === key);
    const kept = ofKey.filter((other) => isKept(other) && !other.answer.replayed);
    // After its record's deletion a key answers NOT_FOUND, and says of nothing that it was answered before.
    const [first = kept[0], ...more] = kept.filter(({ answer }) => answer.code !== "NOT_FOUND");
    expect(more).toEqual([]);
    if (key !== undefined && first?.answer.code === "NOT_FOUND") expect(kept).toHaveLength(1);
    if (token === "revoked" && began > revoked.ended + REVOKED_AFTER) {
      expect(answer.code).toBe("UNAUTHENTICATED");
    }
    if (answer.replayed) {
      expect({ wanted, answer }).toEqual({
        wanted: first?.wanted,
        answer: { ...first?.answer, replayed: true },
      });
    }
    switch (answer.code) {
      case "OK":
        break;
      case "UNAUTHENTICATED":
        expect(token).toBe("revoked");
        expect(ended).toBeGreaterThan(revoked.began);
        break;
      case "NOT_FOUND":
        expect(deletionOf(id || String(first?.id))?.began).toBeLessThan(ended);
        break;
      case "IDEMPOTENCY_MISMATCH":
        expect(ofKey.some((other) => isKept(other) && !isDeepStrictEqual(wanted, other.wanted))).toBe(true);
        break;
      default:
        expect(answer.code).toBe("VERSION_CONFLICT");
        expect(expectedOf(done)).toBeDefined();
    }
  }
}

interface Event {
  id: string;
  action: string;
  at: number;
  after: string | null;
}

/** A record's versions are one after another, each made by one change of what the one before was; so are its events. */
function checkRecord(id: string, log: Done[], events: Event[], stored: object | undefined): void {
  const own = log.filter((done) => done.id === id);
  const of = (operation: string) =>
    own.filter((done) => done.wanted.operation === operation && succeeded(done));
  const [creations, updates, deletions] = [of("create"), of("update"), of("delete")];
  expect([creations.length, deletions.length > 1]).toEqual([1, false]);
  const [deletion] = deletions;

  const states = [resultOf(creations[0] as Done)];
  const last = () => states.at(-1) as Kyc;
  const latest = Math.max(1, ...updates.map((done) => resultOf(done).version));
  for (let version = 1; version <= latest; version++) {
    const answers = updates.filter((done) => resultOf(done).version === version);
    const before = last();
    const makers = answers.filter((done) => {
      const { updatedAt } = resultOf(done);
      const made = { ...before, ...inputOf(done), version, updatedAt };
      return version > 1 && !has(before, inputOf(done)) && isDeepStrictEqual(made, resultOf(done));
    });
    const [maker] = makers;
    if (version > 1) states.push(resultOf(maker as Done));
    expect(last().updatedAt).toBeGreaterThanOrEqual(before.updatedAt);
    for (const done of answers) {
      expect(resultOf(done)).toEqual(last());
      expect(has(last(), inputOf(done))).toBe(true);
      // Of several that can have made the version the others found it.
      const expected = [
        ...(makers.includes(done) ? [version - 1] : []),
        ...(maker === done && makers.length === 1 ? [] : [version]),
      ];
      expect([undefined, ...expected]).toContain(expectedOf(done));
    }
  }
  if (deletion) expect([undefined, last().version]).toContain(expectedOf(deletion));

  const changes = [...creations, ...updates];
  for (const done of own) {
    const { answer, began, key } = done;
    // Under a key it may expect a version that is still to come.
    if (answer.code === "VERSION_CONFLICT" && key === undefined) {
      expect(expectedOf(done)).toBeLessThan(last().version);
    }
    if (deletion && began > deletion.ended && !answer.replayed) {
      const refusals = ["NOT_FOUND", "UNAUTHENTICATED", ...(key ? ["IDEMPOTENCY_MISMATCH"] : [])];
      expect(refusals).toContain(answer.code);
    }
    if (!updates.includes(done)) continue;
    const earlier = changes.filter(({ ended }) => ended < began).map((change) => resultOf(change).version);
    expect(Math.max(0, ...earlier)).toBeLessThanOrEqual(resultOf(done).version);
  }

  expect(events.map(({ action, after }) => [action, after])).toEqual([
    ...states.map(({ verificationStatus, version }) => [
      version === 1 ? "created" : "updated",
      verificationStatus,
    ]),
    ...deletions.map(() => ["deleted", null]),
  ]);
  const times = events.map(({ at }) => at);
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  const { version, verificationStatus } = last();
  expect(stored).toEqual(deletion ? undefined : { id, version, verificationStatus, updatedAt: times.at(-1) });
}

async function check(story: Story): Promise<void> {
  checkAnswers(story);
  const { db } = replicas[0];
  const events = await db.execute<Event>(
    `select kyc_ids[1] as id, action, upper(status_after::text) as after,
       (extract(epoch from at) * 1000)::float8 as at
     from audit_events where account_id = $1 order by sequence`,
    [story.account],
  );
  const stored = await db.execute<{ id: string }>(
    `select id, version, upper(verification_status::text) as "verificationStatus",
       (extract(epoch from updated_at) * 1000)::float8 as "updatedAt"
     from kycs where account_id = $1`,
    [story.account],
  );
  const made = story.log.filter((done) => done.wanted.operation === "create" && succeeded(done));
  const ids = new Set(made.map(({ id }) => id));
  expect(new Set(events.map(({ id }) => id))).toEqual(ids);
  expect(stored.filter(({ id }) => !ids.has(id))).toEqual([]);
  for (const id of ids) {
    const ofRecord = events.filter((event) => event.id === id);
    checkRecord(
      id,
      story.log,
      ofRecord,
      stored.find((row) => row.id === id),
    );
  }
}

test("whatever clients do at once, each change is one version and one event, and a revoked token does nothing", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(aPlan, { minLength: ACCOUNTS, maxLength: ACCOUNTS }), async (plans) => {
      for (const story of await Promise.all(plans.map(play))) await check(story);
    }),
    // A smaller case would meet another order of events.
    { numRuns: RUNS, endOnFailure: true },
  );
});
