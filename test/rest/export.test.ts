import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SCOPES, type Scope } from "../../src/auth/scopes.ts";
import { FaultFile } from "../../src/import/fault-file.ts";
import { importFile } from "../../src/import/import-file.ts";
import { openSource } from "../../src/import/open-source.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { sealAll } from "../support/ledger.ts";

let gateway: TestApp;
let folder: string;
beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true" });
  folder = await mkdtemp(join(tmpdir(), "kyc-export-"));
});
afterAll(async () => {
  await gateway.close();
  await rm(folder, { recursive: true });
});

const HEADER =
  "id,customer_id,verification_status,document_type,document_number,created_at,updated_at,version";
const STATUSES = ["pending", "verified", "failed"];

/** Imports a text into the account. */
async function fill(account: string, text: string) {
  const file = join(folder, account);
  await writeFile(file, text);
  const faults = new FaultFile(`${file}.faults`);
  const outcome = await importFile({
    ...{ db: gateway.db, keys: gateway.keys, account, faults, isDryRun: false, requestId: `cmd_${account}` },
    ...{ source: await openSource({ file, ignoresUnknown: false }), digest: account },
    ...{ onContinue: () => {}, onBatch: () => {} },
  });
  await faults.close();
  return outcome;
}

const rows = (count: number) =>
  Array.from({ length: count }, (_, n) =>
    [
      ...[
        `Exported${String(n).padStart(8, "0")}`,
        `"=cus ""${n % 9}"", é"`,
        STATUSES[n % 3],
        "passport",
        `-P${n}`,
      ],
      ...[`2024-01-01T00:00:00.${100 + (n % 800)}Z`, "2024-02-01T00:00:00.5Z", 1 + (n % 4)],
    ].join(","),
  );
const fillRows = (account: string, count: number) => fill(account, [HEADER, ...rows(count)].join("\n"));

const exportOf = async (account: string, query = "", scopes: readonly Scope[] = SCOPES) =>
  (await gateway.rest(await gateway.token(account, scopes), "GET", `/v1/export${query}`)).body;

test.each(["ndjson", "csv"])(
  "an export as %s has every record once, and importing it makes equal records",
  async (format) => {
    const [account, copy] = [`whole-${format}`, `copy-${format}`];
    await fillRows(account, 230);
    await sealAll(gateway.db);
    const text = await exportOf(account, `?format=${format}`);
    expect(await fill(copy, text)).toEqual({ imported: 230, unchanged: 0, bad: 0, wasFinished: false });
    const lines = (text: string) => text.trimEnd().split(/\r?\n/).slice(0, -1);
    expect(lines(await exportOf(copy, `?format=${format}`))).toEqual(lines(text));
    expect(lines(text)).toHaveLength(format === "csv" ? 231 : 230);
    const end = text.trimEnd().split("\n").at(-1) ?? "";
    expect(end.replaceAll('""', '"')).toMatch(
      /"count":230,"position":230,"checkpoint":"kyc-gateway\/\w{16}\/whole-\w+\\n230\\n/,
    );
  },
);

test("an export that is cut, or lacks a line, is named so by the import", async () => {
  await fillRows("cut", 20);
  for (const format of ["ndjson", "csv"]) {
    const lines = (await exportOf("cut", `?format=${format}`)).trimEnd().split("\n");
    expect(await fill(`cut1-${format}`, lines.slice(0, -1).join("\n"))).toMatchObject({
      imported: 20,
      bad: 1,
    });
    expect(await fill(`cut2-${format}`, lines.toSpliced(5, 1).join("\n"))).toMatchObject({
      imported: 19,
      bad: 1,
    });
    expect(
      await fill(`cut3-${format}`, [...lines, ...lines.slice(format === "csv" ? 1 : 0)].join("\n")),
    ).toMatchObject({
      ...{ imported: 20, bad: 20 },
    });
  }
});

test("it has the list's filters, masks without kyc:pii, and nothing of other accounts", async () => {
  await fillRows("filtered", 30);
  const parse = (text: string) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  const verified = parse(await exportOf("filtered", "?verification_status=Verified"));
  expect(verified.slice(0, -1).map((line) => line.verification_status)).toEqual(Array(10).fill("verified"));
  const masked = parse(await exportOf("filtered", "", ["kyc:read"]));
  expect(masked).toHaveLength(31);
  expect(masked[0].document_number).toMatch(/^•+.*\d$/);
  expect(parse(await exportOf("other"))).toEqual([
    { export: { count: 0, position: 0, checkpoint: expect.any(String) } },
  ]);
});

test("faults are named before anything is sent, and a HEAD sends and notes nothing", async () => {
  const token = await gateway.token("faulty");
  const answer = await gateway.rest(
    token,
    "GET",
    "/v1/export?format=xml&verification_status=approved&limit=5",
  );
  expect(answer.statusCode).toBe(400);
  expect(answer.json().error.message).toMatch(
    /format[\s\S]*verification_status|verification_status[\s\S]*format/,
  );
  const head = await gateway.rest(token, "HEAD", "/v1/export?format=csv");
  expect(head.headers["content-type"]).toBe("text/csv; charset=utf-8; header=present");
  expect(head.headers).not.toHaveProperty("content-length");
  const { data } = await gateway.graphql(token, "{ auditEvents { nodes { action } } }");
  expect(data.auditEvents.nodes).toEqual([]);
});

test("the trail has the export, and with AUDIT_READS each record whose number it showed", async () => {
  await fillRows("audited", 150);
  await exportOf("audited");
  const token = await gateway.token("audited");
  const { data } = await gateway.graphql(
    token,
    "{ auditEvents(first: 100, filter: { actionIn: [READ, RECORDS_EXPORTED] }) { nodes { action surface kycIds } } }",
  );
  const { nodes } = data.auditEvents as { nodes: { action: string; surface: string; kycIds: string[] }[] };
  expect(nodes.map(({ action }) => action)).toEqual(["READ", "READ", "RECORDS_EXPORTED"]);
  expect(new Set(nodes.flatMap(({ kycIds }) => kycIds)).size).toBe(150);
});
