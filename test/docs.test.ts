import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildSchema, parse, validate } from "graphql";
import { describe, expect, test } from "vitest";
import { parseConfig, VARIABLES } from "../src/config/config.ts";
import { ConfigError } from "../src/lib/settings.ts";
import { blocksOf, DOCUMENTS } from "./support/documents.ts";

const read = (path: string) => readFileSync(path, "utf8");
const blocks = DOCUMENTS.flatMap(blocksOf);

/** The documents whose commands test/system/docs.test.ts runs. */
const RUN = ["sh", "graphql", "js"];
/** How a block of JSON can relate to the block before it. */
const ROLES = ["variables", "answer"];

describe("each block of the documents", () => {
  test.each(blocks)("$name is run, or says why not", ({ language, role, mark, name }) => {
    const [, test] = /^run by (test\/\S+\.ts)$/.exec(mark ?? "") ?? [];
    if (test !== undefined) {
      expect(read(test)).toContain(name.replace(/:\d+$/, ""));
    } else if (!/^not run: .{10,}$/.test(mark ?? "")) {
      if (language === "json") expect(ROLES).toContain(role);
      else expect(RUN).toContain(language);
    }
  });

  const schema = buildSchema(read("schema.graphql"));
  test.each(blocks.filter(({ language }) => language === "graphql"))("$name is valid", ({ text }) => {
    expect(validate(schema, parse(text)).map(({ message }) => message)).toEqual([]);
  });
});

/** The anchors that the headings of a document have. */
function anchorsOf(path: string): string[] {
  const headings = read(path).matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test.each(DOCUMENTS)("each link of %s leads to a file and a heading that exist", (path) => {
  for (const [, link = ""] of read(path).matchAll(/\]\(([^)]+)\)/g)) {
    if (/^https?:/.test(link)) continue;
    const [file = "", anchor] = link.split("#");
    const target = file === "" ? path : join(dirname(path), file);
    expect(existsSync(target), link).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(target), link).toContain(anchor);
  }
});

interface Row {
  name: string;
  default: string;
  kind: string;
}

const rows: Row[] = [...read("docs/configuration.md").matchAll(/^\| `([A-Z_]+)` \| (.*?) \| (.*?) \|/gm)].map(
  ([, name = "", value = "", kind = ""]) => ({ name, default: value, kind }),
);
const example = Object.fromEntries(
  [...read(".env.example").matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
);

const accepts = (name: string, value: string): boolean => {
  try {
    // RETENTION_ENFORCED needs it.
    parseConfig({ RETENTION: "5 years", [name]: value });
    return true;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
};

/** For each kind of value of docs/configuration.md, what it accepts and what it doesn't. */
function samplesOf(kind: string): { good: string[]; bad: string[] } {
  const [, least, most] = /^integer, (\d+) to (\d+)$/.exec(kind) ?? [];
  if (least !== undefined)
    return { good: [least, `${most}`], bad: [`${Number(least) - 1}`, `${Number(most) + 1}`] };
  if (kind === "flag") return { good: ["true", "on", "1", "false", "off", "0"], bad: ["maybe"] };
  if (kind === "time") return { good: ["500 ms", "5s", "5 min", "1h", "500"], bad: ["2h", "soon"] };
  // One of the sizes must be larger than another one.
  if (kind === "size") return { good: ["20 MiB", "20480 KiB", "20971520"], bad: ["64 GiB", "much"] };
  if (kind.startsWith("`")) {
    return { good: [...kind.matchAll(/`(\w+)`/g)].map(([, word = ""]) => word), bad: ["other"] };
  }
  if (kind === "http URL")
    return { good: ["http://127.0.0.1:4318", "https://collector.example"], bad: ["4318"] };
  expect(["text", "list", "https URL"]).toContain(kind);
  return { good: [], bad: [] };
}

describe("docs/configuration.md", () => {
  test("and .env.example have every variable that the gateway reads, and no other", () => {
    expect(rows.map(({ name }) => name).sort()).toEqual([...VARIABLES].sort());
    expect(Object.keys(example).sort()).toEqual([...VARIABLES].sort());
  });

  test("and .env.example have the defaults of the gateway", () => {
    expect(parseConfig(example)).toEqual(parseConfig({}));
    const { persistedOperations, ...rest } = parseConfig({});
    const config: Record<string, unknown> = { ...rest, persistedOperations: persistedOperations.manifest };
    for (const { name, default: value } of rows) {
      if (!/^none\b/.test(value)) {
        expect(example[name], name).toBe(value);
        continue;
      }
      expect(example[name], name).toBe("");
      const key = name.toLowerCase().replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
      expect([undefined, []], name).toContainEqual(config[key]);
    }
  });

  const kinds = rows.filter(({ name }) => name !== "PERSISTED_OPERATIONS_MODE");
  test.each(kinds)("has the right kind of $name: $kind", ({ name, kind }) => {
    const { good, bad } = samplesOf(kind);
    for (const value of good) expect(accepts(name, value), value).toBe(true);
    for (const value of bad) expect(accepts(name, value), value).toBe(false);
  });
});
