import {
  array,
  assert,
  constantFrom,
  integer,
  option,
  property,
  record,
  string,
  uint8Array,
} from "fast-check";
import { expect, test } from "vitest";
import { type LeafEvent, type LeafSeal, saltedHash, toLeaf } from "../../src/ledger/event-leaf.ts";
import { codePoint } from "../support/code-points.ts";

type LeafValues = LeafEvent & LeafSeal;
const leafOf = (values: LeafValues) => toLeaf(values, values);

const salt = Buffer.alloc(16, 7);
const updated: LeafValues = {
  accountId: "acme",
  position: 17,
  at: Date.parse("2026-03-01T12:00:00.123Z"),
  tokenId: "tok_0123456789abcdef",
  tokenNameHash: saltedHash(salt, "back office"),
  actorHash: saltedHash(salt, "Ada Lovelace"),
  surface: "rest",
  requestId: "req_1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
  action: "updated",
  subject: null,
  kycIds: ["0UqJ2bZkD9aLw3Xy"],
  changedFields: ["verificationStatus", "documentNumber"],
  statusBefore: "pending",
  statusAfter: "verified",
  documentTypeAfter: "id_card",
  versionAfter: 12,
  reasonHash: saltedHash(salt, "checked by phone"),
};

test("the leaf of an event is this text, byte by byte", () => {
  expect(leafOf(updated)).toBe(
    [
      "kyc-gateway event v1",
      "account acme",
      "position 17",
      "time 1772366400123",
      "token tok_0123456789abcdef",
      "token-name-hash 2460731a3fe475e5992deb8c71dc55a4d14e60071cbfa4e9d16805fe0ca739f5",
      "actor-hash daed877ad010ac1ba090b9f1f2d002b6afc505467a138d7e90d315844e5c4569",
      "surface rest",
      "request req_1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
      "action updated",
      "record 0UqJ2bZkD9aLw3Xy",
      "changed verificationStatus",
      "changed documentNumber",
      "status-before pending",
      "status-after verified",
      "document-type-after id_card",
      "version-after 12",
      "reason-hash 2f4a4366efb6e8cce37631f4aeaefdfadede1ed49b70407f117e4dec57428039",
      "",
    ].join("\n"),
  );
});

test("what an event does not have has no line", () => {
  const event: LeafValues = {
    ...updated,
    actorHash: null,
    action: "read",
    kycIds: ["a", "b"],
    changedFields: [],
    statusBefore: null,
    statusAfter: null,
    documentTypeAfter: null,
    versionAfter: null,
    reasonHash: null,
  };
  expect(leafOf(event).split("\n").slice(6)).toEqual([
    "surface rest",
    "request req_1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "action read",
    "record a",
    "record b",
    "",
  ]);
});

test("an act of administration says what it is about, and names no record", () => {
  const event: LeafValues = {
    ...{
      ...updated,
      surface: "cli",
      action: "token_revoked",
      subject: "tok_1 2",
      kycIds: [],
      changedFields: [],
    },
    ...{
      actorHash: null,
      statusBefore: null,
      statusAfter: null,
      documentTypeAfter: null,
      versionAfter: null,
    },
    reasonHash: null,
  };
  expect(leafOf(event).split("\n").slice(6)).toEqual([
    "surface cli",
    "request req_1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "action token_revoked",
    "subject tok_1%202",
    "",
  ]);
});

test("every byte but letters, digits and - . _ ~ is written as % and two digits, as Python's urllib.parse.quote does", () => {
  const tokenId = "A-z.0_9~ !'()*%+,/:=\n\r\té€😀";
  expect(leafOf({ ...updated, tokenId })).toContain(
    "\ntoken A-z.0_9~%20%21%27%28%29%2A%25%2B%2C%2F%3A%3D%0A%0D%09%C3%A9%E2%82%AC%F0%9F%98%80\n",
  );
});

const text = string({ unit: codePoint, maxLength: 8 });
const hostile = constantFrom("", " ", "\n", "a\nposition 1", "%0A", "record x", ",", "-", "null");
const word = constantFrom("a", "b", "a b", "a\nb", "a%0Ab", "a,b", "", "-");
const event = record({
  accountId: word,
  position: integer({ min: 0, max: 3 }),
  at: integer({ min: 0, max: 3 }),
  tokenId: word,
  tokenNameHash: uint8Array({ minLength: 32, maxLength: 32, max: 1 }).map((bytes) => Buffer.from(bytes)),
  actorHash: option(constantFrom(Buffer.alloc(32), Buffer.alloc(32, 1))),
  surface: constantFrom("graphql", "cli"),
  requestId: hostile,
  action: word,
  subject: option(word),
  kycIds: array(word, { maxLength: 3 }),
  changedFields: array(word, { maxLength: 3 }),
  statusBefore: option(constantFrom("pending" as const, "verified" as const)),
  statusAfter: option(constantFrom("pending" as const, "verified" as const)),
  documentTypeAfter: option(constantFrom("visa" as const, "other" as const)),
  versionAfter: option(integer({ min: 0, max: 3 })),
  reasonHash: option(constantFrom(Buffer.alloc(32), Buffer.alloc(32, 1))),
});

/** Reads a leaf as an auditor would, who knows nothing but the documented form. */
function read(leaf: string): object {
  const [version, ...lines] = leaf.split("\n");
  expect(version).toBe("kyc-gateway event v1");
  expect(lines.pop()).toBe("");
  const values = new Map<string, string[]>();
  for (const line of lines) {
    const [name = "", value = "", ...rest] = line.split(" ");
    expect(rest).toEqual([]);
    values.set(name, [...(values.get(name) ?? []), decodeURIComponent(value)]);
  }
  const one = (name: string) => values.get(name)?.[0] ?? null;
  const bytes = (name: string) => (one(name) === null ? null : Buffer.from(one(name) as string, "hex"));
  return {
    accountId: one("account"),
    position: Number(one("position")),
    at: Number(one("time")),
    tokenId: one("token"),
    tokenNameHash: bytes("token-name-hash"),
    actorHash: bytes("actor-hash"),
    surface: one("surface"),
    requestId: one("request"),
    action: one("action"),
    subject: one("subject"),
    kycIds: values.get("record") ?? [],
    changedFields: values.get("changed") ?? [],
    statusBefore: one("status-before"),
    statusAfter: one("status-after"),
    documentTypeAfter: one("document-type-after"),
    versionAfter: one("version-after") === null ? null : Number(one("version-after")),
    reasonHash: bytes("reason-hash"),
  };
}

test("an event can be read back from its leaf, so two different events never have the same", () => {
  assert(
    property(event, (given) => {
      expect(read(leafOf(given))).toEqual(given);
    }),
  );
});

test("any text that PostgreSQL can store has a leaf of printable ASCII, of the same number of lines", () => {
  const lines = leafOf(updated).split("\n").length;
  assert(
    property(text, (value) => {
      const leaf = leafOf({ ...updated, tokenId: value, requestId: value, kycIds: [value] });
      expect(leaf).toMatch(/^[\x20-\x7e\n]+$/);
      expect(leaf.split("\n")).toHaveLength(lines);
    }),
  );
});

test("a time that is no date still has a leaf: one such event does not keep the others from theirs", () => {
  expect(leafOf({ ...updated, at: Number.POSITIVE_INFINITY })).toContain("\ntime Infinity\n");
  expect(leafOf({ ...updated, at: -62135596800001 })).toContain("\ntime -62135596800001\n");
});

test("equal texts under different salts have different hashes", () => {
  expect(saltedHash(salt, "x")).not.toEqual(saltedHash(Buffer.alloc(16, 8), "x"));
  expect(() => saltedHash(Buffer.alloc(15), "x")).toThrow("16 bytes");
});
