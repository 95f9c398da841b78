import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Checkpoint, signCheckpoint } from "../../src/ledger/checkpoint.ts";
import { type LeafEvent, type LeafSeal, saltedHash, toLeaf } from "../../src/ledger/event-leaf.ts";
import { formatVerifier, type NoteSigner, openNote, signerOf, signNote } from "../../src/ledger/note.ts";
import { formatProof } from "../../src/ledger/proof.ts";
import { hashLeaf, isConsistent, rootByInclusion, type TreeHead } from "../../src/ledger/tree.ts";
import { keyPairOf } from "../../src/lib/ed25519.ts";
import { grow, leavesOf } from "../support/grown-tree.ts";
import { createClient, kycFields } from "./support/client.ts";
import { freshEnv, fullToken, later, runCli, startGateway, tidyUp } from "./support/gateway.ts";

type LeafValues = LeafEvent & LeafSeal;
const leafOf = (values: LeafValues) => toLeaf(values, values);

const PACKAGES = "/usr/share/gocode";
const PROGRAM = "test/system/support/tlog/main.go";

afterAll(tidyUp);

interface Case {
  note?: string;
  keys?: string[];
  proof?: Buffer[];
  index?: number;
  leaf?: Buffer;
  first?: TreeHead;
  second?: TreeHead;
}

/** Runs a program to its end. Resolves with its output, and fails with what it says of its failure. */
function run(
  program: string,
  args: string[],
  { input = "", ...options }: { input?: string; cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 1e8, ...options }, (error, stdout, stderr) =>
      error ? reject(new Error(`${stdout}${stderr}`)) : resolve(stdout),
    );
    child.stdin?.end(input);
  });
}

/** The folder of what Go has compiled. */
let compiled: Promise<string> | undefined;

/** The result of Go's implementation for each case: the text of a note, "ok" for a proof, or "" if it refuses it. */
async function judgeByGo(cases: readonly Case[]): Promise<string[]> {
  if (!existsSync(`${PACKAGES}/src/golang.org/x/mod/sumdb/note`)) {
    throw new Error("the packages golang-go and golang-golang-x-mod-dev are not installed: see .ci/run");
  }
  const base64 = (_key: string, value: unknown) => {
    const { type, data } = (value ?? {}) as { type?: string; data?: number[] };
    return type === "Buffer" && data ? Buffer.from(data).toString("base64") : value;
  };
  const env = { ...process.env, GO111MODULE: "off", GOPATH: PACKAGES, GOFLAGS: "", GOTOOLCHAIN: "local" };
  compiled ??= mkdtemp(join(tmpdir(), "kyc-go-"));
  const cache = await compiled;
  later(() => rm(cache, { recursive: true, force: true }));
  const options = { input: JSON.stringify(cases, base64), env: { ...env, GOCACHE: cache } };
  return JSON.parse(await run("go", ["run", PROGRAM], options));
}

const signers = ["kyc-gateway/0123/acme", "kyc-gateway/0123/a%20b", "日本"].map((name) =>
  signerOf(name, keyPairOf(randomBytes(32))),
);

/** The result of `openNote` for a case. */
function judgeNote({ note = "", keys = [] }: Case): string {
  try {
    return openNote(
      note,
      signers.filter((signer) => keys.includes(formatVerifier(signer))),
    ).text;
  } catch {
    return "";
  }
}

/** Notes as they are signed, and changed in many ways. */
function noteCases(): Case[] {
  const texts = ["a\n", "\n", "a\n\nb\n", "ü 😀\n", "kyc-gateway/0123/acme\n5\nabc=\n"];
  const cases: Case[] = [];
  for (const text of texts) {
    for (const count of [1, 2, 3]) {
      const note = signNote(text, signers.slice(0, count));
      const changed = [
        note,
        note.slice(0, -1),
        note.slice(1),
        `${note}\n`,
        `x${note}`,
        note.replace("— ", "- "),
        note.replace("\n\n", "\n"),
        note.replace(/ \S+\n$/, " AAAA\n"),
        note.replace(/ \S+\n$/, ` ${randomBytes(68).toString("base64")}\n`),
        note.split("\n").reverse().join("\n"),
        note.replaceAll("\n", "\r\n"),
        note.replace("acme", "acme2"),
      ];
      for (const one of changed) {
        cases.push({ note: one, keys: signers.map(formatVerifier) });
        cases.push({ note: one, keys: signers.slice(2).map(formatVerifier) });
      }
    }
  }
  return cases;
}

/** Proofs of trees of many sizes, and the same with a hash, an index or a size that is another. */
function proofCases(): Case[] {
  const cases: Case[] = [];
  for (const size of [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100]) {
    const leaves = leavesOf(size);
    const tree = grow(leaves);
    for (const index of new Set([0, 1, size >> 1, size - 1].filter((one) => one < size))) {
      const [proof, leaf] = [tree.inclusion(index), leaves[index] as Buffer];
      const right = { proof, index, leaf, second: tree.head };
      cases.push(right, { ...right, leaf: Buffer.from("another") }, { ...right, index: (index + 1) % size });
      cases.push({ ...right, proof: [...proof, leaf] }, { ...right, proof: proof.slice(1) });
      cases.push({ ...right, second: { ...tree.head, size: size + 1 } });
    }
    for (const from of new Set([1, 2, size >> 1, size - 1, size].filter((one) => one > 0 && one <= size))) {
      const first = grow(leaves.slice(0, from)).head;
      const right = { proof: tree.consistency(from), first, second: tree.head };
      cases.push(
        right,
        { ...right, proof: right.proof.toReversed() },
        { ...right, proof: right.proof.slice(1) },
      );
      cases.push({ ...right, first: { size: from, root: randomBytes(32) } });
      cases.push({ ...right, second: { size, root: randomBytes(32) } });
    }
  }
  return cases;
}

function judgeProof({ proof = [], index = 0, leaf, first, second }: Case): string {
  const head = second as TreeHead;
  const holds = first
    ? isConsistent(first, head, proof)
    : rootByInclusion(index, head.size, hashLeaf(leaf as Buffer), proof)?.equals(head.root);
  return holds ? "ok" : "";
}

test("Go's sumdb/note and tlog accept and refuse the same notes and proofs", async () => {
  const [notes, proofs] = [noteCases(), proofCases()];
  const expected = [...notes.map(judgeNote), ...proofs.map(judgeProof)];
  expect(expected.filter((verdict) => verdict !== "").length).toBeGreaterThan(80);
  expect(expected.filter((verdict) => verdict === "").length).toBeGreaterThan(200);
  expect(await judgeByGo([...notes, ...proofs])).toEqual(expected);
});

const fromBase64 = (text: string) => Buffer.from(text, "base64");

/** The head in a checkpoint, as its form says and without the gateway's own parser. */
function headIn(note: string): TreeHead {
  const [, size, root = ""] = note.split("\n");
  return { size: Number(size), root: fromBase64(root) };
}

test("Go's tlog accepts the checkpoints and proofs that a gateway answers with", async () => {
  const env = await freshEnv("a real database");
  const gateway = await startGateway(env);
  const client = createClient(gateway.url, await fullToken(env));
  const ask = async (query: string) =>
    (await client.graphql(query)).json.data as {
      auditCheckpoint: string;
      auditEvents: { nodes: { proof: string }[] };
    };
  // A proof waits for the event's position: Go's tlog proves nothing of an empty log.
  await ask("{ auditEvents(first: 1) { nodes { proof } } }");
  const { auditCheckpoint: first } = await ask("{ auditCheckpoint }");
  for (let n = 0; n < 5; n++) await client.form("POST", "/v1/kyc", kycFields("customer", `${n}`));
  const { auditEvents } = await ask("{ auditEvents(first: 20) { nodes { proof } } }");
  const { auditCheckpoint: second } = await ask("{ auditCheckpoint }");
  const keys = (await runCli(["audit", "key", "--account=demo"], env)).stdout.trimEnd().split("\n");
  const since = String(headIn(first).size);
  const continued = await runCli(["audit", "checkpoint", "--account=demo", `--since=${since}`], env);

  const proofs = auditEvents.nodes.map(({ proof }): [note: string, Case] => {
    const [head = "", note = ""] = proof.split(/\n\n(.*)/s);
    const [, extra = "", index = "", ...hashes] = head.split("\n");
    const leaf = fromBase64(extra.replace("extra ", ""));
    const inclusion = { index: Number(index.replace("index ", "")), proof: hashes.map(fromBase64) };
    return [note, { ...inclusion, leaf, second: headIn(note) }];
  });
  const [lines = "", note = ""] = continued.stdout.split(/\n\n(.*)/s);
  const consistency: Case = {
    ...{ proof: lines.split("\n").slice(1).map(fromBase64) },
    ...{ first: headIn(first), second: headIn(note) },
  };
  const notes = [first, second, note, ...proofs.map(([one]) => one)];
  const verdicts = await judgeByGo([
    ...notes.map((one) => ({ note: one, keys })),
    ...proofs.map(([, one]) => one),
    consistency,
  ]);
  const texts = notes.map((one) => `${one.split("\n\n")[0]}\n`);
  expect(proofs.length).toBeGreaterThan(5);
  expect(verdicts).toEqual([...texts, ...proofs.map(() => "ok"), "ok"]);
});

describe("docs/ledger.md and its program", () => {
  const guide = readFileSync("docs/ledger.md", "utf8");
  const commands = [...guide.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text]) => text ?? "");
  const origin = "kyc-gateway/0123/acme";
  const salt = randomBytes(16);
  const event: LeafValues = {
    ...{ accountId: "acme", position: 0, at: 1_772_366_400_123, tokenId: "tok_1", surface: "rest" },
    ...{
      requestId: "req_1",
      action: "updated",
      kycIds: ["0UqJ2bZkD9aLw3Xy"],
      changedFields: ["documentType"],
    },
    ...{ statusBefore: "pending", statusAfter: "pending" },
    ...{ documentTypeAfter: "visa", versionAfter: 3, subject: null },
    ...{ tokenNameHash: saltedHash(salt, "n"), actorHash: saltedHash(salt, "a") },
    reasonHash: saltedHash(salt, "r"),
  };
  const leaves = Array.from({ length: 11 }, (_, position) => Buffer.from(leafOf({ ...event, position })));
  const tree = grow(leaves);
  let folder: string;
  let signer: NoteSigner;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "kyc-ledger-"));
    later(() => rm(folder, { recursive: true, force: true }));
    await cp("docs/ledger-verify.py", join(folder, "ledger-verify.py"));
    // A base64 text that has a plus sign: the key's fields are separated by one.
    do signer = signerOf(origin, keyPairOf(randomBytes(32)));
    while (formatVerifier(signer).split("+").length < 4);
    await keep("key", `${formatVerifier(signer)}\n`);
  });

  const keep = (name: string, text: string) => writeFile(join(folder, name), text);
  const shell = (line: string) => run("sh", ["-ec", line], { cwd: folder });
  const sign = (checkpoint: Checkpoint) => signCheckpoint(checkpoint, [signer]);
  const checkpoint = { origin, ...tree.head };

  test("openssl verifies a checkpoint by the commands as printed, and refuses one that was changed", async () => {
    const [command = ""] = commands;
    await keep("checkpoint", sign(checkpoint));
    expect(await shell(command)).toContain("Signature Verified Successfully");
    await keep("checkpoint", sign(checkpoint).replace("\n11\n", "\n12\n"));
    await expect(shell(command)).rejects.toThrow("Signature Verification Failure");
  });

  const verify = async (proof: string) => {
    await keep("event.tlog-proof", proof);
    return shell(commands[1] ?? "");
  };
  const proofOf = (index: number, change: Partial<Parameters<typeof formatProof>[0]> = {}) =>
    formatProof({
      ...{
        extra: leaves[index] as Buffer,
        index,
        hashes: tree.inclusion(index),
        checkpoint: sign(checkpoint),
      },
      ...change,
    });

  test("the page of Python verifies every event by the command as printed, and prints it", async () => {
    for (const index of [0, 5, 7, 8, 10]) {
      expect(await verify(proofOf(index))).toBe(leafOf({ ...event, position: index }));
    }
  });

  test("the page of Python refuses what does not hold, and says what", async () => {
    const stranger = signerOf(origin, keyPairOf(randomBytes(32)));
    const other = signerOf("kyc-gateway/0123/globex", keyPairOf(randomBytes(32)));
    const text = Buffer.from(leafOf({ ...event, position: 5, statusAfter: "verified" }));
    const [hash, ...rest] = tree.inclusion(5);
    const wrong: [string, string][] = [
      [proofOf(5, { extra: text }), "does not contain the event"],
      [proofOf(5, { index: 6 }), "does not contain the event"],
      [proofOf(5, { hashes: rest }), "too few hashes"],
      [proofOf(5, { hashes: [...tree.inclusion(5), hash as Buffer] }), "too many hashes"],
      [proofOf(5, { hashes: [randomBytes(32), ...rest] }), "does not contain the event"],
      [proofOf(5, { index: 11 }), "no such position"],
      [proofOf(5, { checkpoint: sign(checkpoint).replace("\n11\n", "\n10\n") }), "did not sign"],
      [proofOf(5, { checkpoint: signCheckpoint(checkpoint, [stranger]) }), "did not sign"],
      [
        proofOf(5, { checkpoint: signCheckpoint({ ...checkpoint, origin: other.name }, [other]) }),
        "another log's",
      ],
      [proofOf(5).replace("@v1", "@v2"), "this is no proof"],
      [proofOf(5).split("\n\n")[0] ?? "", "malformed"],
    ];
    for (const [proof, complaint] of wrong) await expect(verify(proof), complaint).rejects.toThrow(complaint);
  });

  test("the page of Python refuses an event that is at another position than it states", async () => {
    const moved = grow([...leaves].toReversed());
    const proof = proofOf(3, {
      ...{ extra: leaves[7] as Buffer, hashes: moved.inclusion(3) },
      checkpoint: sign({ origin, ...moved.head }),
    });
    await expect(verify(proof)).rejects.toThrow("not the one of this position");
  });
});
