import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { freshEnv, runCli, temporaryFolder, tidyUp } from "./support/gateway.ts";
import { dump, openSql } from "./support/sql.ts";

afterEach(tidyUp);

const CANARY = "CANARY-4711";
const HEADER = "customer_id,verification_status,document_type,document_number";

test("the commands export everything about a customer into a private file, and erase the customer with a receipt", async () => {
  const env = { ...(await freshEnv("a real database")), AUDIT_READS: "true" };
  const folder = await temporaryFolder();
  const rows = Array.from({ length: 250 }, (_, n) => `cus_42,verified,passport,${CANARY}-${n}`);
  await writeFile(join(folder, "records.csv"), [HEADER, ...rows, "cus_43,verified,visa,OTHER-1"].join("\n"));
  const run = (...args: string[]) => runCli([...args, "--account=acme"], env);
  expect((await run("import", join(folder, "records.csv"))).code).toBe(0);

  const out = join(folder, "cus_42.json");
  const first = await run("customer", "export", "cus_42", "--out", out);
  expect(first).toMatchObject({ code: 0, stdout: "" });
  expect((await stat(out)).mode & 0o777).toBe(0o600);
  const file = JSON.parse(await readFile(out, "utf8"));
  expect(file).toMatchObject({
    ...{ customer_id: "cus_42", account: "acme", position: 251 },
    exported_by: { surface: "cli", token_id: "cli" },
    counts: { records: 250, events: 250 },
  });
  const numbers = file.records.map((record: { document_number: string }) => record.document_number);
  expect(numbers.sort()).toEqual(Array.from({ length: 250 }, (_, n) => `${CANARY}-${n}`).sort());
  expect(JSON.stringify(file)).not.toMatch(/OTHER-1|cus_43/);
  expect(file.events.every(({ position }: { position: unknown }) => typeof position === "number")).toBe(true);

  // A file that exists stays as it is, and nothing is exported.
  expect(await run("customer", "export", "cus_42", "--out", out)).toMatchObject({
    ...{ code: 1, stdout: "", stderr: expect.stringContaining("exists: give --out the name of a new file") },
  });
  const sql = openSql(env);
  const acts = await sql`
    select coalesce(other_action, action::text) as action, cardinality(kyc_ids) as records from audit_events
    where action = 'read' or other_action = 'customer_exported' order by sequence`;
  expect(acts.map(({ action, records }) => [action, records])).toEqual([
    ...[
      ["customer_exported", 0],
      ["read", 100],
      ["read", 100],
    ],
    ["read", 50],
  ]);
  for (const text of [first.stderr, await dump(sql)]) expect(text).not.toContain(CANARY);

  const refused = await run("customer", "erase", "cus_42", "--reason", "about cus_42");
  expect(refused).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("error: reason: ") });
  const keeping = { ...env, RETENTION: "5 years", RETENTION_ENFORCED: "true" };
  const erase = ["customer", "erase", "cus_42", "--account=acme", "--reason", "asked by mail"];
  expect(await runCli(erase, keeping)).toMatchObject({ code: 1, stdout: "" });
  expect(await sql`select from kycs where customer_id = 'cus_42'`).toHaveLength(250);
  const erased = await run("customer", "erase", "cus_42", "--reason", "asked by mail");
  expect(erased.code, erased.stderr).toBe(0);
  const receipt = JSON.parse(erased.stdout);
  expect(receipt).toMatchObject({ account: "acme", record_count: 250, counts: { records: 250 } });
  const proof = expect.stringMatching(/^c2sp.org\/tlog-proof@v1\n/);
  expect(receipt).toMatchObject({ proof, position: expect.any(Number) });
  for (const record of receipt.records) expect(record).toMatchObject({ proof, position: expect.any(Number) });

  const after = await run("customer", "export", "cus_42");
  expect(JSON.parse(after.stdout)).toMatchObject({
    erasures: [{ id: receipt.id, position: receipt.position }],
    counts: { records: 0, deleted_records: 250, erasures: 1, events: 250 + 250 + 1 + 4 },
  });
  const elsewhere = await runCli(["customer", "export", "cus_42", "--account=globex"], env);
  expect(JSON.parse(elsewhere.stdout).counts).toEqual({
    ...{ records: 0, deleted_records: 0, holds: 0, erasures: 0, webhook_deliveries: 0, events: 0 },
  });
});
