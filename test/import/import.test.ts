import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findSource } from "../../src/cli/import-source.ts";
import { FaultFile } from "../../src/import/fault-file.ts";
import { importFile } from "../../src/import/import-file.ts";
import { hashFile, openSource, type SourceOptions } from "../../src/import/open-source.ts";
import { toCsvRow } from "../../src/lib/csv.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

const ALL = `query ($after: String) {
  kycs(first: 100, after: $after) {
    nodes { id customerId verificationStatus documentType documentNumber createdAt updatedAt version }
    pageInfo { hasNextPage endCursor }
  }
}`;
const HEADER = "id,customer_id,verification_status,document_type,document_number,created_at,updated_at";

let gateway: TestApp;
let folder: string;
let accounts = 0;
beforeAll(async () => {
  gateway = await createTestApp();
  folder = await mkdtemp(join(tmpdir(), "kyc-import-"));
});
afterAll(async () => {
  await gateway.close();
  await rm(folder, { recursive: true });
});

const newAccount = () => `import${++accounts}`;
const idOf = (n: number) => `Imported${String(n).padStart(8, "0")}`;
const row = (n: number) =>
  `${idOf(n)},cus_${n},verified,passport,P${n},2024-01-01T00:00:0${n % 10}Z,2024-02-01T00:00:00Z`;

interface Options extends Partial<SourceOptions> {
  account: string;
  isDryRun?: boolean;
  name?: string;
  /** Ends the run as a kill would, once so many batches are written. */
  endAfter?: number;
  digest?: string;
}

/** Imports this text, and returns the counts and the bad lines. */
async function runImport(
  text: string | Buffer,
  { account, isDryRun = false, name = "file", endAfter = Infinity, digest, ...more }: Options,
) {
  const file = join(folder, `${account}-${name}`);
  await writeFile(file, text);
  const faults = new FaultFile(`${file}.faults`);
  let batches = 0;
  try {
    const outcome = await importFile({
      ...{ db: gateway.db, keys: gateway.keys, account, faults, isDryRun },
      source: await openSource({ file, ignoresUnknown: false, ...more }),
      digest: digest ?? (await hashFile(file)),
      requestId: `cmd_${account}_${name}`,
      onContinue: () => {},
      onBatch: () => {
        batches += 1;
        if (batches >= endAfter) throw new Error("killed");
      },
    });
    const report = await readFile(faults.path, "utf8").catch(() => "");
    const bad = report
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    return { ...outcome, report: bad as { line: number; faults: { field?: string; message: string }[] }[] };
  } finally {
    await faults.close();
  }
}

async function records(account: string) {
  const token = await gateway.token(account);
  const found: Record<string, unknown>[] = [];
  for (let after: string | null = null; ; ) {
    const { data } = await gateway.graphql(token, ALL, { after });
    found.push(...data.kycs.nodes);
    if (!data.kycs.pageInfo.hasNextPage) return found;
    after = data.kycs.pageInfo.endCursor;
  }
}

const RECORD = {
  id: "Imported00000001",
  customerId: "cus_1",
  verificationStatus: "VERIFIED",
  documentType: "DRIVERS_LICENSE",
  documentNumber: "D-1",
  createdAt: "2024-01-01T10:00:00.000Z",
  updatedAt: "2024-02-01T10:00:00.000Z",
  version: 1,
};

test.each([
  ["CSV of REST", `${HEADER}\nImported00000001,cus_1,verified,drivers_license,D-1,1704103200,1706781600`],
  [
    "CSV with a byte order mark, CR LF, semicolons and quotes",
    '\uFEFFid;Customer ID;Verification-Status;documentType;document number;createdAt;updatedAt\r\n"Imported00000001";"cus_1";Verified;"Driver’s license";D-1;"2024-01-01T11:00:00+01:00";2024-02-01 10:00Z\r\n',
  ],
  [
    "CSV with CR alone, tabs, and another order",
    "document_number\tdocument_type\tid\tcustomer_id\tverification_status\tupdated_at\tcreated_at\rD-1\tdriving_licence\tImported00000001\tcus_1\tVERIFIED\t1706781600\t1704103200\r",
  ],
  ["NDJSON of GraphQL", JSON.stringify(RECORD)],
  [
    "NDJSON of REST, after an empty line",
    `\n{"id":"Imported00000001","customer_id":"cus_1","verification_status":"verified","document_type":"driving license","document_number":" D-1 ","created_at":1704103200,"updated_at":1706781600}\n`,
  ],
])("%s is read", async (_, text) => {
  const account = newAccount();
  expect(await runImport(text, { account })).toEqual({
    imported: 1,
    unchanged: 0,
    bad: 0,
    wasFinished: false,
    report: [],
  });
  expect(await records(account)).toEqual([RECORD]);
  const token = await gateway.token(account);
  const { data } = await gateway.graphql(
    token,
    "{ auditEvents(filter: {action: CREATED}) { nodes { action surface requestId kycIds statusAfter } } }",
  );
  expect(data.auditEvents.nodes).toEqual([
    {
      action: "CREATED",
      surface: "CLI",
      requestId: `cmd_${account}_file`,
      kycIds: [RECORD.id],
      statusAfter: "VERIFIED",
    },
  ]);
});

test("each bad line is named with every fault, and the good ones around it are imported", async () => {
  const account = newAccount();
  const broken = [
    row(1),
    `${idOf(2)},cus"2,verified,passport,P2,1704103200,1704103200`,
    row(3),
    `"${idOf(4)},cus_4,verified,passport,P4,1704103200,1704103200`,
    row(5),
    `${idOf(6)},cus_6,verified,passport`,
    `${idOf(7)},cus_7,approved,pass,P7,1704103200,1704103200`,
    `${idOf(8)},${"x".repeat(129)},verified,passport,${"9".repeat(65)},1704103200,1704103200`,
    `${idOf(9)},,verified,passport,••••1234,1704103200,1704103200`,
    row(3),
    `short,cus_10,verified,passport,P10,2024-01-01,1704103200`,
    `${idOf(11)},cus_11,verified,passport,P11,4102444800,4102444800`,
    `${idOf(12)},cus_12,verified,passport,P12,1704103201,1704103200`,
    `${idOf(13)},"cus`,
    `_13",verified,passport,P13,1704103200,1704103200`,
    row(14),
  ];
  const bytes = Buffer.concat([
    Buffer.from(`${HEADER}\n${broken.join("\n")}\n`),
    Buffer.from([0xff, 0xfe, 0x0a]),
    Buffer.from(`${"y".repeat(20_000)}\n${row(15)}`),
  ]);
  const { report, ...counts } = await runImport(bytes, { account });
  expect(counts).toEqual({ imported: 5, unchanged: 0, bad: 14, wasFinished: false });
  expect((await records(account)).map(({ id }) => id).sort()).toEqual([1, 3, 5, 14, 15].map(idOf));
  expect(
    report.map(({ line, faults }) => [
      line,
      ...faults.map(({ field = "", message }) => `${field} ${message}`),
    ]),
  ).toEqual([
    [3, " has quotes in the wrong places"],
    [5, " has quotes in the wrong places"],
    [7, " has 4 columns instead of 7"],
    [
      8,
      expect.stringMatching(/^verificationStatus must be one of/),
      expect.stringMatching(/^documentType must be one of/),
    ],
    [
      9,
      "customerId must have 1 to 128 printable characters",
      "documentNumber must have 1 to 64 printable characters",
    ],
    [10, "customerId is required", "documentNumber is a masked number"],
    [11, "id has the id of an earlier line"],
    [
      12,
      "id must be 16 letters or digits",
      "createdAt must be a time with a zone, such as 2026-03-01T12:30:00Z, or seconds since 1970",
    ],
    [13, "createdAt is in the future", "updatedAt is in the future"],
    [14, "updatedAt is before createdAt"],
    [15, " has quotes in the wrong places"],
    [16, " has quotes in the wrong places"],
    [18, " is not UTF-8"],
    [19, " has more than 16384 bytes"],
  ]);
});

describe("a file of several batches", () => {
  // Ids repeat within a batch and across batches; some lines are bad in themselves.
  const lines = Array.from({ length: 2_600 }, (_, n) => {
    if (n % 401 === 400) return row(n - 400);
    if (n % 97 === 96) return `${idOf(n)},,verified,passport,P${n},1704103200,1704103200`;
    return row(n);
  });
  const text = [HEADER, ...lines].join("\n");
  const isGood = (n: number) => n % 401 !== 400 && n % 97 !== 96;
  const good = lines.flatMap((_, n) => (isGood(n) ? [idOf(n)] : []));
  const badLines = lines.flatMap((_, n) => (isGood(n) ? [] : [n + 2]));

  test("that is killed after any batches, and run until it ends, has each good line once, and names each bad one once", async () => {
    const account = newAccount();
    for (const endAfter of [1, 2, 1]) {
      await expect(runImport(text, { account, endAfter })).rejects.toThrow("killed");
      // A kill between the report and the commit leaves this behind.
      await appendFile(join(folder, `${account}-file.faults`), `{"line":2599,"faults":[]}\n{"line":26`);
    }
    const { report, ...counts } = await runImport(text, { account });
    expect(counts).toEqual({ imported: good.length, unchanged: 0, bad: badLines.length, wasFinished: false });
    expect(report.map(({ line }) => line)).toEqual(badLines);
    expect((await records(account)).map(({ id }) => id).sort()).toEqual(good);

    const again = await runImport(text, { account });
    expect(again).toMatchObject({ imported: good.length, bad: badLines.length, wasFinished: true });
    expect(again.report).toEqual(report);
    const counted = await gateway.db.execute("select from kycs where account_id = $1", [account]);
    expect(counted).toHaveLength(good.length);
  });

  test("of which two processes import at once is imported once", async () => {
    const account = newAccount();
    const runs = await Promise.allSettled([runImport(text, { account }), runImport(text, { account })]);
    const failures = runs.flatMap((run) => (run.status === "rejected" ? [String(run.reason)] : []));
    expect(failures.filter((failure) => !failure.includes("another process is importing"))).toEqual([]);
    expect(failures.length).toBeGreaterThan(0);
    const { report, ...counts } = await runImport(text, { account });
    expect(counts).toMatchObject({ imported: good.length, unchanged: 0, bad: badLines.length });
    expect(report.map(({ line }) => line)).toEqual(badLines);
    expect((await records(account)).map(({ id }) => id).sort()).toEqual(good);
  });

  test("changes nothing in a dry run, which finds the same bad lines", async () => {
    const account = newAccount();
    const { report, ...counts } = await runImport(text, { account, isDryRun: true });
    expect(counts).toMatchObject({ imported: good.length, bad: badLines.length });
    expect(report.map(({ line }) => line)).toEqual(badLines);
    expect(await records(account)).toEqual([]);
    expect((await runImport(text, { account, endAfter: 100 })).imported).toBe(good.length);
  });
});

test("a mended file adds what was bad, and leaves the rest; what is different or was deleted stays so", async () => {
  const account = newAccount();
  const bad = `${idOf(3)},,verified,passport,P3,1704103200,1704103200`;
  await runImport([HEADER, row(1), row(2), bad, row(4), row(5)].join("\n"), { account });
  const token = await gateway.token(account);
  await gateway.rest(token, "DELETE", `/v1/kyc/${idOf(4)}`);
  await gateway.rest(token, "PUT", `/v1/kyc/${idOf(5)}`, { form: { document_number: "changed" } });
  const mended = await runImport([HEADER, row(1), row(2), row(3), row(4), row(5)].join("\n"), {
    ...{ account, name: "mended" },
  });
  expect(mended).toMatchObject({ imported: 1, unchanged: 2, bad: 2 });
  expect(mended.report).toEqual([
    { line: 5, faults: [{ field: "id", message: "has the id of a record that was deleted" }] },
    { line: 6, faults: [{ field: "id", message: "has the id of a different record of the account" }] },
  ]);
});

test("records without ids and times get the same ids again, in each account others", async () => {
  const text =
    "customer_id,verification_status,document_type,document_number\nc1,pending,visa,V1\nc2,pending,visa,V2\nc1,pending,visa,V1\n";
  const [account, other] = [newAccount(), newAccount()];
  expect(await runImport(text, { account })).toMatchObject({ imported: 2, bad: 1 });
  expect(await runImport(`${text}c3,pending,visa,V3`, { account, name: "more" })).toMatchObject({
    imported: 1,
    unchanged: 3,
  });
  expect(await runImport(text, { account: other })).toMatchObject({ imported: 2, bad: 1 });
  const ids = new Set([...(await records(account)), ...(await records(other))].map(({ id }) => id));
  expect(ids.size).toBe(5);
});

test("a file that is imported without unknown fields is another one, and a new report replaces that of an earlier file", async () => {
  const account = newAccount();
  const record = { ...RECORD, shelf: "x", expires_at: 1_998_761_600 };
  const text = JSON.stringify(record);
  expect(await runImport(text, { account })).toMatchObject({ imported: 0, bad: 1 });
  expect(await runImport(text, { account, ignoresUnknown: true, digest: "other" })).toMatchObject({
    ...{ imported: 1, bad: 0, report: [] },
  });
  const fraction = JSON.stringify({ ...RECORD, id: idOf(2), expires_at: 1_998_761_600.5 });
  expect((await runImport(fraction, { account, name: "fraction" })).report).toEqual([
    {
      line: 1,
      faults: [{ field: "expiresAt", message: expect.stringMatching(/^must be a time with a zone/) }],
    },
  ]);
});

test("a report takes the name of no other file", async () => {
  const account = newAccount();
  const file = join(folder, `${account}-file.faults`);
  await writeFile(file, "a letter");
  await expect(runImport(`${HEADER}\n${row(1)}\nbad`, { account })).rejects.toThrow(
    "is no report of bad lines",
  );
  expect(await readFile(file, "utf8")).toBe("a letter");
  expect(await records(account)).toEqual([]);
});

test("a column that is left out can have line ends, also across a chunk", async () => {
  const account = newAccount();
  const lines = 'a ""line"" of,\r\n'.repeat(60);
  const notes = Array.from({ length: 600 }, (_, n) => `"${lines}\n${n},"`);
  const text = [`${HEADER},notes`, ...notes.map((note, n) => `${row(n)},${note}`)].join("\n");
  await expect(runImport(text, { account })).rejects.toThrow('no record has the columns "notes"');
  expect(await runImport(text, { account, ignoresUnknown: true })).toMatchObject({ imported: 600, bad: 0 });
});

test.each([
  ["", "the file is empty"],
  ["\n \n", "the file is empty"],
  [`[${JSON.stringify(RECORD)}]`, "is a JSON array"],
  [`[${JSON.stringify(RECORD)},\n${JSON.stringify(RECORD)}]`, "is a JSON array"],
  [
    row(1),
    "the first line must have the names of the columns. It lacks customerId, verificationStatus, documentType, documentNumber",
  ],
  [`${HEADER},customerId`, "the file has the column customerId twice"],
  [`${HEADER},P12345678,secret name`, 'no record has the columns one that is no name, "secret name"'],
  [Buffer.from([0x1f, 0x8b, 8, 0]), "is compressed"],
  [Buffer.from("\uFEFFid,customer_id", "utf16le"), "is UTF-16"],
])("a file that begins with %j is refused: %s", async (text, message) => {
  await expect(runImport(text, { account: newAccount() })).rejects.toThrow(message);
});

test("a line that could be read in two ways, or lacks a column, is bad; one that lacks nameless columns is not", async () => {
  const json = (n: number, more = "") =>
    `{${more}"id":"${idOf(n)}","customer_id":"a\\":\\"b","verification_status":"failed","document_type":"visa","document_number":"\\\\"}`;
  const lines = [json(1), json(2, `"id":"${idOf(9)}",`), json(3, '"document_number":"A",'), "[1]", json(4)];
  const { imported, report } = await runImport(lines.join("\n"), { account: newAccount(), format: "ndjson" });
  expect(imported).toBe(2);
  expect(report).toEqual([
    { line: 2, faults: [{ message: "has a field twice" }] },
    { line: 3, faults: [{ message: "has a field twice" }] },
    { line: 4, faults: [{ message: "is no JSON object" }] },
  ]);
  const deep = "[".repeat(8000) + "]".repeat(8000);
  const nested = lines.map((line) => line.replace('"failed"', deep)).join("\n");
  expect(await runImport(nested, { account: newAccount(), format: "ndjson" })).toMatchObject({
    imported: 0,
    bad: 5,
  });
  const cells = `${HEADER},,\n${row(1)},,\n${row(2)},\n${row(3)}\n${row(4)},,x\n${row(5).slice(0, -22)}`;
  const csv = await runImport(cells, { account: newAccount() });
  expect(csv).toMatchObject({ imported: 3, report: [{ line: 5 }, { line: 6 }] });
});

test("with unknown fields ignored, a key twice is bad beside nested values, and a field `export` makes no last line", async () => {
  const json = (n: number, more: string) =>
    `{"id":"${idOf(n)}","customer_id":"c","verification_status":"failed","document_type":"visa","document_number":"1",${more}}`;
  const lines = [
    json(1, '"meta":{"id":"{","customer_id":["x",{"a":"]"}]}'),
    json(2, '"meta":{},"customer_id":"d"'),
    json(3, '"meta":["[",{}],"document_number":"2"'),
    json(4, '"export":{"count":0}'),
    json(5, '"export":true'),
  ];
  const options = { account: newAccount(), format: "ndjson", ignoresUnknown: true } as const;
  const { imported, report } = await runImport(lines.join("\n"), options);
  expect(imported).toBe(3);
  expect(report).toEqual([2, 3].map((line) => ({ line, faults: [{ message: "has a field twice" }] })));
});

test("a file that was read in the wrong format can be imported in the right one", async () => {
  const file = join(folder, "data.ndjson");
  await writeFile(file, HEADER);
  const digests = await Promise.all(
    [{}, { format: "csv" as const }].map(async (format) => {
      const options = { pageSize: 100, ignoreUnknown: false, ...format };
      return (await findSource(file, options)).digest;
    }),
  );
  expect(new Set(digests).size).toBe(2);
});

test("a version can only be so high that changes can follow", async () => {
  const lines = ["2000000000", "2000000001"].map(
    (version, n) =>
      `{"id":"${idOf(n)}","customer_id":"c","verification_status":"failed","document_type":"visa","document_number":"1","version":${version}}`,
  );
  const { imported, report } = await runImport(lines.join("\n"), { account: newAccount(), format: "ndjson" });
  expect({ imported, report }).toMatchObject({ imported: 1, report: [{ line: 2 }] });
});

test("a second line with the same values is bad, and one without an id does not speak of ids", async () => {
  const line = "c,verified,passport,P";
  const text = `customer_id,verification_status,document_type,document_number\n${line}\n${line}`;
  const account = newAccount();
  const { report } = await runImport(text, { account });
  expect(report).toEqual([{ line: 3, faults: [{ message: "has the values of an earlier line" }] }]);
  await gateway.db.execute("update kycs set verification_status = 'failed' where account_id = $1", [account]);
  const { report: later } = await runImport(text, { account, name: "again", digest: "another" });
  const message = "was imported before, and the record has changed since";
  expect(later).toEqual([2, 3].map((line) => ({ line, faults: [{ message }] })));
});

test("a formula that an export has made harmless is what it was", async () => {
  const account = newAccount();
  const values = ["=1+1", "'=1", "-5", "+1", "@x", "'", "plain"];
  const row = (value: string, n: number) =>
    toCsvRow([idOf(n), value, "verified", "passport", value, 1704103200, 1704103200]);
  await runImport(`${HEADER}\r\n${values.map(row).join("")}`, { account });
  const found = (await records(account)).sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1));
  expect(found.map(({ customerId }) => customerId)).toEqual(values);
  expect(found.map(({ documentNumber }) => documentNumber)).toEqual(values);
});
