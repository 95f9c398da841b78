import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { createClient } from "./support/client.ts";
import {
  CLI,
  ENGINES,
  type Env,
  freshEnv,
  fullToken,
  runCli,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";
import { openSql } from "./support/sql.ts";

afterEach(tidyUp);

/** Lengthy, so that a search for it finds nothing else. */
const SECRETS = { documentNumber: "P-CANARY-4711-DOCUMENT", customerId: "canary-customer-0815" };
const RECORD = {
  verificationStatus: "PENDING",
  documentType: "PASSPORT",
  customerId: "c",
  documentNumber: "N-1",
};
const REASON = '=HYPERLINK("canary-reason"), with a line';

/** Runs a program; resolves with its output, whatever its exit code. */
const run = (program: string, args: string[], cwd: string) =>
  new Promise<{ code: number; output: string }>((resolve) => {
    const child = execFile(program, args, { cwd }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, output: stdout + stderr }),
    );
  });

const audit = (env: Env, ...args: string[]) => runCli(["audit", ...args], env);

describe.each(ENGINES)("on %s, while the gateway runs,", (engine) => {
  test("the ledger is exported, signed, verified by others, and found to be tampered with", async () => {
    const folder = await temporaryFolder();
    const file = join(folder, "checkpoints");
    const env = {
      ...(await freshEnv(engine)),
      ...{ AUDIT_CHECKPOINT_INTERVAL: "300 ms", AUDIT_CHECKPOINT_FILE: file },
    };
    const gateway = await startGateway(env);
    const client = createClient(gateway.url, await fullToken(env));
    const ask = async (query: string, variables?: Record<string, unknown>) =>
      (await client.graphql(query, variables)).json;
    const created = await ask(
      "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }",
      { input: { ...RECORD, ...SECRETS, reason: REASON } },
    );
    const id = (created.data as { createKyc: { kyc: { id: string } } }).createKyc.kyc.id;
    await ask(`mutation { updateKyc(input: { id: "${id}", verificationStatus: FAILED }) { kyc { id } } }`);
    await ask(`mutation { deleteKyc(input: { id: "${id}" }) { deletedId } }`);
    const answer = await ask("{ auditCheckpoint auditEvents(first: 3) { nodes { action position proof } } }");
    const { auditCheckpoint, auditEvents } = answer.data as {
      auditCheckpoint: string;
      auditEvents: { nodes: { action: string; position: number; proof: string }[] };
    };

    // A program that knows nothing of the gateway but the key.
    const key = await audit(env, "key", "--account=demo");
    expect(key).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^kyc-gateway\/\w{16}\/demo\+\w{8}\+\S+\n$/),
    });
    await writeFile(join(folder, "key"), key.stdout);
    await cp("docs/ledger-verify.py", join(folder, "ledger-verify.py"));
    const verifyProof = async (proof: string) => {
      await writeFile(join(folder, "proof"), proof);
      return run("python3", ["ledger-verify.py", "key", "proof"], folder);
    };
    for (const { action, position, proof } of auditEvents.nodes) {
      const { code, output } = await verifyProof(proof);
      expect(output).toContain(`action ${action.toLowerCase()}\n`);
      expect(output).toContain(`position ${position}\n`);
      expect(code).toBe(0);
    }

    // The signed head is in the log and in the file, which may be rotated, and only its owner may read it.
    await gateway.printed(/"checkpoint":"kyc-gateway/);
    await expect.poll(() => readFile(file, "utf8").catch(() => "")).toContain('"account":"demo"');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await rename(file, `${file}.1`);
    await ask("mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }", {
      input: RECORD,
    });
    await expect.poll(() => readFile(file, "utf8").catch(() => "")).toContain('"account":"demo"');

    const ndjson = await audit(env, "export", "--account=demo");
    const lines = ndjson.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const end = lines.pop();
    expect(end).toMatchObject({ from: 0, to: lines.length, count: lines.length, size: lines.length });
    expect(lines.map(({ position }) => position)).toEqual(lines.map((_, n) => n));
    expect(lines.find(({ action }) => action === "created")).toMatchObject({ reason: REASON, kyc_ids: [id] });
    const some = await audit(env, "export", "--account=demo", "--from=1", "--to=2");
    expect(
      some.stdout
        .split("\n")
        .slice(0, -2)
        .map((line) => JSON.parse(line).position),
    ).toEqual([1]);
    const csv = await audit(env, "export", "--account=demo", "--format=csv");
    expect(csv.stdout).toContain(`"'=HYPERLINK(""canary-reason""), with a line"`);
    expect(csv.stdout.split("\r\n").at(-2)).toMatch(/^checkpoint,+"kyc-gateway/);

    await writeFile(join(folder, "kept"), `${auditCheckpoint}\n${end.checkpoint}`);
    const log = join(folder, "log");
    await writeFile(log, gateway.output());
    const rotated = await audit(env, "key", "rotate");
    expect(rotated).toMatchObject({ code: 0, stderr: expect.stringContaining("signing key 2 signs") });
    for (const kept of [join(folder, "kept"), log, `${file}.1`]) {
      const good = await audit(env, "verify", `--checkpoint=${kept}`);
      expect(good, good.stderr).toMatchObject({ code: 0, stdout: "" });
      expect(good.stderr).toMatch(
        /Verified \d+ events? in \d+ logs?, against [1-9]\d* kept checkpoints?: none was altered/,
      );
    }
    const since = await audit(env, "checkpoint", "--account=demo", `--since=${end.size}`);
    expect(since.stdout).toMatch(
      new RegExp(`^old ${end.size}\n[^]*\n\nkyc-gateway/\\w+/demo\n${end.size + 1}\n[^]*\n— [^]*\n— `),
    );
    // The event of the rotation is in the log, and the proof is signed by both keys.
    expect((await audit(env, "export", "--account=demo")).stdout).toContain(
      '"action":"signing_key_rotated","subject":"2"',
    );
    const later = await ask("{ auditEvents(first: 1) { nodes { proof } } }");
    const [{ proof } = { proof: "" }] = (later.data as { auditEvents: { nodes: { proof: string }[] } })
      .auditEvents.nodes;
    expect((await verifyProof(proof)).code).toBe(0);
    await writeFile(join(folder, "key"), (await audit(env, "key", "--account=demo")).stdout);
    expect((await verifyProof(proof)).code).toBe(0);

    // Nothing of all this has a number, a customer's id or a digest of one.
    const csvAndMore = [csv, ndjson, since, key].map(({ stdout }) => stdout.replaceAll(/canary-reason/g, ""));
    const written = [
      ...csvAndMore,
      auditCheckpoint,
      ...auditEvents.nodes.map((node) => node.proof),
      gateway.output(),
      await readFile(file, "utf8"),
      await readFile(`${file}.1`, "utf8"),
    ];
    for (const text of written.flatMap(decoded)) {
      for (const canary of canaries()) expect(text.includes(canary), canary).toBe(false);
    }

    const sql = await openSql(env);
    const original = await sql`select reason, request_id from audit_events where reason is not null`;
    await sql`update audit_events set status_after = 'verified' where status_after = 'failed'`;
    const bad = await audit(env, "verify", "--json");
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.stdout)).toMatchObject([{ account: "demo", kind: "altered" }]);
    const refused = await ask("{ auditEvents(first: 15) { nodes { proof } } }");
    expect(JSON.stringify(refused.errors)).toContain("INTERNAL");
    await sql`update audit_events set status_after = 'failed' where status_after = 'verified'`;
    // The text of a reason is erased with its salt, and all proofs stay valid.
    expect(original).toHaveLength(1);
    await sql`update audit_events set reason = null where reason is not null`;
    await sql`update ledger_entries set reason_salt = null where reason_salt is not null`;
    expect((await audit(env, "verify", `--checkpoint=${join(folder, "kept")}`)).code).toBe(0);
    for (const node of auditEvents.nodes) expect((await verifyProof(node.proof)).code).toBe(0);
    await gateway.stop("SIGTERM");
    expect((await gateway.exited).code).toBe(0);
    // Without a gateway.
    expect((await audit(env, "verify", "--account=demo")).code).toBe(0);
    expect((await audit(env, "verify", "--account=nobody")).code).toBe(1);
  });
});

test("an export reads no further than its reader does", async () => {
  const events = 5000;
  const env = await freshEnv("a real database");
  const sql = openSql(env);
  await sql`
    insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields, reason)
    select 'acme', now(), 't', 'n', 'rest', 'r', 'updated', '{}', '{}', repeat('x', 1000)
    from generate_series(1, ${events}::int)`;
  const child = spawn(process.execPath, [CLI, "audit", "export", "--account=acme"], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = once(child, "exit");
  await once(child.stdout, "readable");
  await wait(500);
  // Only an export that has not read them yet finds out that they are gone.
  await sql`delete from audit_events where sequence in (select sequence from ledger_entries where position > ${events / 2})`;
  let lines = 0;
  for await (const chunk of child.stdout as AsyncIterable<Buffer>)
    lines += chunk.toString("latin1").split("\n").length - 1;
  expect((await ended)[0]).toBe(1);
  expect(lines).toBeGreaterThanOrEqual(500);
  expect(lines).toBeLessThanOrEqual(events / 2);
});

/** What must be nowhere: the values, and digests that could be found by trying values. */
function canaries(): string[] {
  return Object.values(SECRETS).flatMap((value) => [
    value,
    ...["sha256", "sha1", "md5"].flatMap((name) =>
      (["hex", "base64", "base64url"] as const).map((form) => createHash(name).update(value).digest(form)),
    ),
  ]);
}

/** A text, and what is in its lines in base64. */
function decoded(text: string): string[] {
  const lines = text.split(/\s/).filter((word) => /^[\w+/]{40,}=*$/.test(word));
  return [text, ...lines.map((line) => Buffer.from(line, "base64").toString("latin1"))];
}
