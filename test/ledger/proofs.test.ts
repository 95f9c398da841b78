import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/ledger/checkpoint.ts";
import type { NoteVerifier } from "../../src/ledger/note.ts";
import { parseProof } from "../../src/ledger/proof.ts";
import { proveConsistency } from "../../src/ledger/prove-consistency.ts";
import { findHead } from "../../src/ledger/sign-head.ts";
import { openLogKeys } from "../../src/ledger/signing-keys.ts";
import { loadHashes } from "../../src/ledger/stored-hashes.ts";
import {
  append,
  emptyFrontier,
  hashLeaf,
  inclusionRanges,
  isConsistent,
  rootByInclusion,
  rootOf,
  type TreeHead,
} from "../../src/ledger/tree.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { sealAll, writeEvents } from "../support/ledger.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
let origin: string;
let verifiers: NoteVerifier[];

beforeAll(async () => {
  gateway = await createTestApp();
  // Before there are accounts: each would have an event of the new key.
  const logKeys = await openLogKeys(gateway);
  token = await gateway.token("acme");
  origin = logKeys.originOf("acme");
  verifiers = logKeys.verifiersOf(origin);
});
afterAll(() => gateway.close());

/** What a proof proves: the lines of the event's text. Fails if it does not hold. */
function verify(text: string): string[] {
  const { extra = Buffer.alloc(0), index, hashes, checkpoint } = parseProof(text);
  const { size, root } = openCheckpoint(checkpoint, origin, verifiers);
  expect(rootByInclusion(index, size, hashLeaf(extra), hashes)).toEqual(root);
  return extra.toString().split("\n");
}
const PAGE =
  "query ($before: String) { auditEvents(last: 100, before: $before) { nodes { id position proof requestId } pageInfo { startCursor } } }";
const pageOf = async (before?: string) => {
  const { data, errors } = await gateway.graphql(token, PAGE, before === undefined ? {} : { before });
  expect(errors).toBeUndefined();
  return data.auditEvents;
};
const checkpointOf = async (ofToken = token): Promise<string> =>
  (await gateway.graphql(ofToken, "{ auditCheckpoint }")).data.auditCheckpoint;

test("an account without events has the checkpoint of an empty log", async () => {
  expect(openCheckpoint(await checkpointOf(), origin, verifiers).size).toBe(0);
});

test("a proof of an event that has no position yet waits for the sealer, and the position is null until then", async () => {
  await createRecord(gateway, token);
  const { data } = await gateway.graphql(token, "{ auditEvents { nodes { position } } }");
  expect(data.auditEvents.nodes).toEqual([{ position: null }]);
  const asked = gateway.graphql(token, "{ auditEvents { nodes { proof } } }");
  await sealAll(gateway.db);
  const [{ proof }] = (await asked).data.auditEvents.nodes;
  expect(verify(proof).slice(0, 3)).toEqual(["kyc-gateway event v1", "account acme", "position 0"]);
});

test("an answer has the position of the proof if the event gets its position while the answer is made", async () => {
  const initech = await gateway.token("initech");
  await sealAll(gateway.db);
  await createRecord(gateway, initech);
  const selections = [
    "nodes { position proof }",
    "nodes { theProof: proof position }",
    "nodes { position } edges { node { ... on AuditEvent { proof } } }",
    "nodes { proof } edges { node { position } }",
  ];
  const asked = selections.map((selection) =>
    gateway.graphql(initech, `{ auditEvents(first: 1) { ${selection} } }`),
  );
  const alone = await gateway.graphql(initech, "{ auditEvents(first: 1) { nodes { position } } }");
  expect(alone.data.auditEvents.nodes).toEqual([{ position: null }]);
  await sealAll(gateway.db);
  for (const { data, errors } of await Promise.all(asked)) {
    expect(errors).toBeUndefined();
    const { nodes, edges } = data.auditEvents;
    const event = { ...nodes[0], ...edges?.[0]?.node };
    expect(event.position).toBe(parseProof(event.proof ?? event.theProof).index);
  }
});

test("a proof fails with UNAVAILABLE if no sealer runs, and the rest of the answer is there", async () => {
  const other = await gateway.token("globex");
  const id = await createRecord(gateway, other);
  const { errors } = await gateway.graphql(
    other,
    "{ auditEvents(first: 1) { nodes { kycId position proof } } }",
  );
  expect(errors?.map(({ extensions }) => extensions.code)).toEqual(["UNAVAILABLE"]);
  expect(errors?.[0]?.message).toContain("no position");
  await sealAll(gateway.db);
  const { data } = await gateway.graphql(other, "{ auditEvents(first: 1) { nodes { kycId proof } } }");
  expect(data.auditEvents.nodes[0]).toMatchObject({ kycId: id, proof: expect.stringContaining("globex") });
});

test("checkpoints and proofs need audit:read, and are of the token's account", async () => {
  const blind = await gateway.token("acme", ["kyc:read", "kyc:write", "kyc:pii"]);
  for (const query of ["{ auditCheckpoint }", "{ auditEvents { nodes { proof } } }"]) {
    const { errors } = await gateway.graphql(blind, query);
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual(["FORBIDDEN"]);
  }
  const foreign = await checkpointOf(await gateway.token("globex"));
  expect(() => openCheckpoint(foreign, origin, verifiers)).toThrow();
});

describe("in a log of 600 events", () => {
  beforeAll(async () => {
    const ids = Array.from({ length: 599 }, (_, n) => `r${n + 1}`);
    await writeEvents(gateway.db, "acme", ids, { reason: "a reason" });
    await sealAll(gateway.db);
  });

  test("every event of a page has a proof that holds, whatever its position", async () => {
    let before: string | undefined;
    for (const turn of [0, 1, 2]) {
      const { nodes, pageInfo } = await pageOf(before);
      for (const { position, proof, requestId } of nodes) {
        const lines = verify(proof);
        expect(lines[2]).toBe(`position ${position}`);
        if (position > 0) expect(lines).toContain(`request ${requestId}`);
        expect(parseProof(proof)).toMatchObject({ index: position });
      }
      expect(nodes.map(({ position }: { position: number }) => position)).toEqual(
        Array.from({ length: 100 }, (_, n) => 100 * turn + 99 - n),
      );
      before = pageInfo.startCursor;
    }
    expect(openCheckpoint(await checkpointOf(), origin, verifiers).size).toBe(600);
  });

  test("a page of proofs takes as many statements as one proof, and fits into the default limits", async () => {
    const statements: string[] = [];
    gateway.db.observe({ statementEnded: ({ text }) => statements.push(text), waited: () => {} });
    const count = async (first: number) => {
      statements.length = 0;
      const { errors } = await gateway.graphql(
        token,
        `{ auditEvents(first: ${first}) { nodes { proof position } } }`,
      );
      expect(errors).toBeUndefined();
      return statements.length;
    };
    await count(1);
    expect(await count(1)).toBeLessThan(10);
    expect(await count(100)).toBeLessThan(10);
  });

  test("no proof is given of an event that was changed, nor with a stored hash that was", async () => {
    const ask = () => gateway.graphql(token, "{ auditEvents(first: 2) { nodes { position proof } } }");
    await gateway.db.execute("update audit_events set status_after = 'verified' where request_id = 'r599'");
    const { data, errors } = await ask();
    expect(data).toBeNull();
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual(["INTERNAL"]);
    expect(gateway.logged()).toContain("the event 599 of the log of acme is not what was sealed");
    await gateway.db.execute("update audit_events set status_after = 'failed' where request_id = 'r599'");
    expect((await ask()).errors).toBeUndefined();
  });
});

describe("in a log of 70,000 entries", () => {
  const leaves = Array.from({ length: 70_000 }, (_, n) => hashLeaf(`leaf ${n}`));
  const frontier = emptyFrontier();
  /** The heads of some sizes. */
  const heads = new Map<number, TreeHead>();
  const SIZES = [0, 1, 2, 255, 256, 257, 4096, 65_535, 65_536, 65_537, 69_999, 70_000];

  beforeAll(async () => {
    const nodes: [level: number, index: number, hash: string][] = [];
    heads.set(0, { size: 0, root: rootOf(frontier) });
    for (const leaf of leaves) {
      append(frontier, leaf, ({ level, index }, hash) => {
        if (level > 0 && level % 8 === 0) nodes.push([level, index, hash.toString("hex")]);
      });
      if (SIZES.includes(frontier.size))
        heads.set(frontier.size, { size: frontier.size, root: rootOf(frontier) });
    }
    await gateway.db.execute(
      `insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt)
       select 'big', n - 1, n, decode(hash, 'hex'), '' from unnest($1::text[]) with ordinality as given(hash, n)`,
      [leaves.map((leaf) => leaf.toString("hex"))],
    );
    await gateway.db.execute(
      `insert into ledger_nodes (account_id, level, index, hash)
       select 'big', level, index, decode(hash, 'hex') from unnest($1::int[], $2::int[], $3::text[]) as given(level, index, hash)`,
      [nodes.map(([level]) => level), nodes.map(([, index]) => index), nodes.map(([, , hash]) => hash)],
    );
    await gateway.db.execute("insert into ledger_heads values ('big', 70000, decode($1, 'hex'))", [
      Buffer.concat(frontier.hashes).toString("hex"),
    ]);
  }, 60_000);

  test("scattered events are proven by two statements, with one row for each tile of 256 hashes", async () => {
    const head = await findHead(gateway.db, "big");
    const rows: number[] = [];
    const send = async (text: string, values: readonly unknown[]) => {
      const found = await gateway.db.send(text, values);
      rows.push(found.length);
      return found;
    };
    const indexes = [0, 1, 255, 256, 40_000, 65_535, 65_536, 69_999];
    const ranges = indexes.map((index) => inclusionRanges(index, head.size));
    const hashOf = await loadHashes({ ...gateway.db, send }, head, ranges.flat());
    for (const [n, index] of indexes.entries()) {
      const proof = (ranges[n] ?? []).map(hashOf);
      expect(rootByInclusion(index, head.size, leaves[index] as Buffer, proof)).toEqual(rootOf(frontier));
    }
    expect(rows).toHaveLength(2);
    expect(Math.max(...rows)).toBeLessThanOrEqual(indexes.length);
  });

  test("the log is proven to continue each of its earlier sizes", async () => {
    const source = { db: gateway.db, keys: gateway.keys };
    const logKeys = await openLogKeys(source);
    const ask = (since: number) => proveConsistency({ db: gateway.db, logKeys, accountId: "big", since });
    const name = logKeys.originOf("big");
    const last = heads.get(70_000) as TreeHead;
    for (const since of SIZES) {
      const text = await ask(since);
      const end = text.indexOf("\n\n");
      const [old, ...hashes] = text.slice(0, end).split("\n");
      expect(old).toBe(`old ${since}`);
      expect(openCheckpoint(text.slice(end + 2), name, logKeys.verifiersOf(name))).toMatchObject(last);
      const proof = hashes.map((hash) => Buffer.from(hash, "base64"));
      expect(isConsistent(heads.get(since) as TreeHead, last, proof), `since ${since}`).toBe(true);
    }
    await expect(ask(70_001)).rejects.toThrow("70000");
  });

  test("a stored hash that is missing fails a proof instead of falsifying it", async () => {
    const head = await findHead(gateway.db, "big");
    await gateway.db.execute("delete from ledger_nodes where account_id = 'big' and level = 8 and index = 3");
    await expect(
      loadHashes(gateway.db, head, [{ from: 256, to: 512 }]).then((hashOf) =>
        hashOf({ from: 512, to: 1024 }),
      ),
    ).rejects.toThrow("missing");
  });
});
