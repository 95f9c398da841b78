import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSource } from "../../src/import/open-source.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kyc-spreadsheets-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** The entries of a file with this text. */
async function read(text: string | Buffer, ignoresUnknown = false) {
  const file = join(folder, "file.csv");
  await writeFile(file, text);
  const entries = [];
  for await (const some of (await openSource({ file, ignoresUnknown })).entries) entries.push(...some);
  return entries;
}

const HEADER = "customer_id,verification_status,document_type,document_number";
const ROW = "cus_1,verified,passport,P1";
const VALUES = {
  customerId: "cus_1",
  verificationStatus: "verified",
  documentType: "passport",
  documentNumber: "P1",
};

test.each([
  ["rows of delimiters alone", `${HEADER}\n,,,\n${ROW}\n,,,\n"",, ,\t\n,,,,,,,\n`, 3],
  ["empty columns behind the last one", `${HEADER},,\n${ROW},,\n`, 2],
  ["empty cells behind the last column", `${HEADER}\n${ROW},,\n`, 2],
  [
    "a line that declares the delimiter",
    `sep=;\r\n${HEADER.replaceAll(",", ";")}\r\n${ROW.replaceAll(",", ";")}\r\n`,
    3,
  ],
  ["such a line with a byte order mark", `\uFEFFsep=,\n${HEADER}\n${ROW}`, 3],
  [
    "white space and other cases in the names",
    ` Customer ID ,VERIFICATION STATUS,"DocumentType",document-number\n${ROW}`,
    2,
  ],
  [
    "a delimiter that only the declaration names",
    `sep=|\n"customer_id"|verification_status|document_type|document_number\n${ROW.replaceAll(",", "|")}`,
    3,
  ],
])("%s are read over", async (_, text, line) => {
  expect(await read(text)).toEqual([{ line, values: VALUES }]);
});

test.each([
  [
    "a value in a column without a name",
    `${HEADER},\n${ROW},x`,
    "has a value in column 5, which has no name",
  ],
  ["a value behind the last column", `${HEADER}\n${ROW},x`, "has 5 columns instead of 4"],
  [
    "the number of a day",
    `${HEADER},created_at\n${ROW},45322`,
    "is the number that a spreadsheet has for a day: format it as a time",
  ],
  [
    "the number of a moment",
    `${HEADER},created_at\n${ROW},45322.5`,
    "is the number that a spreadsheet has for a day: format it as a time",
  ],
  [
    "a rounded number",
    `${HEADER}\ncus_1,verified,passport,1.23457E+11`,
    "is a number that a spreadsheet has rounded: format it as text",
  ],
  [
    "a rounded number of a European country",
    `${HEADER}\ncus_1,verified,passport,"1,23457E+11"`,
    "is a number that a spreadsheet has rounded: format it as text",
  ],
])("%s is a bad line", async (_, text, message) => {
  expect(await read(text)).toMatchObject([{ line: 2, faults: [{ message }] }]);
});

test.each([
  ["UTF-16 without a byte order mark", Buffer.from(HEADER, "utf16le"), "the file is no text in UTF-8"],
  ["a first line without an end", Buffer.alloc(3_000_000, "x"), "the first line has more than 16384 bytes"],
  ["a declaration and nothing else", "sep=;\n", "the file is empty"],
])("%s is refused", async (_, text, message) => {
  await expect(read(text)).rejects.toThrow(message);
});

test("a header alone has no record, and unknown columns with names are still refused", async () => {
  expect(await read(HEADER)).toEqual([]);
  await expect(read(`${HEADER},note,\n${ROW},a,`)).rejects.toThrow('no record has the columns "note"');
  expect(await read(`${HEADER},note,\n${ROW},a,`, true)).toEqual([{ line: 2, values: VALUES }]);
});
