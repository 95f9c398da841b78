import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

/** The modules of src, the upper ones first: each may import only those below it. A name is a folder, or a file. */
const LAYERS = [
  "cli",
  "server",
  "demo",
  "config",
  "graphql",
  "rest",
  "pages",
  "metrics",
  "database-metrics",
  "http-metrics",
  "state-metrics",
  "stream-metrics",
  "webhook-metrics",
  "sealed-places",
  "import",
  "webhooks",
  "kyc",
  "changes",
  "ledger",
  "audit",
  "context",
  "idempotency",
  "auth",
  "sealing",
  "administration",
  "paging",
  "log",
  "log-output",
  "db",
  "version",
  "package-file",
  "parse-input",
  "kyc-id",
  "spellings",
  "vocabulary",
  "errors",
  "lib",
];

/** The APIs and pages, which know neither one another nor the database: what they share is below them. */
const ADAPTERS = ["graphql", "rest", "pages"];
/** GraphiQL is a page at the address of GraphQL, built from the parts of pages. */
const GRAPHIQL = /^src\/graphql\/graphiql\//;

const MAX_LINES = 250;
/** Files that may be longer, each with the reason. */
const LONG_FILES: Record<string, string> = {};

/** The top level of the repository. */
const TOP_LEVEL = [
  ...[".ci", ".dockerignore", ".env.example", ".gitignore", ".npmrc", "CHANGELOG.md", "CONTRIBUTING.md"],
  ...["LICENSE", "README.md", "SECURITY.md", "bench", "biome.json", "build.mjs", "deploy", "dev.mjs", "docs"],
  ...["drizzle.config.ts", "knip.json", "package-lock.json", "package.json", "packaging", "schema.graphql"],
  ...["src", "test", "tsconfig.json", "vitest.config.ts"],
];

/** Committed files, and those that are to be. */
const list = (...paths: string[]) =>
  execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", ...paths], {
    encoding: "utf8",
  })
    .trim()
    .split("\n");

const texts = new Map(
  list("src")
    .filter((file) => file.endsWith(".ts"))
    .map((file) => [file, readFileSync(file, "utf8")] as const),
);

interface Import {
  from: string;
  to: string;
}
/** Every import of a file of src by another, also those of types and those at run time. */
const imports: Import[] = [...texts].flatMap(([from, text]) =>
  [...text.matchAll(/(?:\bfrom|\bimport\(?)\s*"(\.{1,2}\/[^"]+)"/g)].map(([, path = ""]) => ({
    from,
    to: normalize(join(dirname(from), path)),
  })),
);

const moduleOf = (file: string) => (file.split("/")[1] ?? "").replace(/\.ts$/, "");
const show = ({ from, to }: Import) => `${from} imports ${to}`;

test("every module of src has its layer", () => {
  const modules = new Set([...texts.keys()].map(moduleOf));
  expect([...modules].sort()).toEqual([...LAYERS].sort());
  expect(imports.length).toBeGreaterThan(500);
});

test("imports go down the layers, also those of types", () => {
  const rank = (file: string) => LAYERS.indexOf(moduleOf(file));
  const upward = imports.filter(
    ({ from, to }) => moduleOf(from) !== moduleOf(to) && texts.has(to) && rank(to) <= rank(from),
  );
  expect(upward.map(show)).toEqual([]);
});

test("no API or page imports another one or the database", () => {
  const forbidden = imports.filter(({ from, to }) => {
    const target = moduleOf(to);
    if (!ADAPTERS.includes(moduleOf(from)) || target === moduleOf(from)) return false;
    if (GRAPHIQL.test(from) && target === "pages") return false;
    return target === "db" || ADAPTERS.includes(target);
  });
  expect(forbidden.map(show)).toEqual([]);
});

test("no file is part of a cycle of imports", () => {
  const targets = new Map([...texts.keys()].map((file) => [file, new Set<string>()]));
  for (const { from, to } of imports) if (texts.has(to)) targets.get(from)?.add(to);
  // A file that imports none of those left, or that none of them imports, is in no cycle.
  for (let before = -1; before !== targets.size; ) {
    before = targets.size;
    for (const [file, needed] of targets) {
      for (const target of needed) if (!targets.has(target)) needed.delete(target);
      const isNeeded = [...targets.values()].some((others) => others.has(file));
      if (needed.size === 0 || !isNeeded) targets.delete(file);
    }
  }
  expect([...targets.keys()]).toEqual([]);
});

test("no two modules export the same name, and none exports a default or another's names", () => {
  const homes = new Map<string, string[]>();
  for (const [file, text] of texts) {
    const named =
      /^export (?:async )?(?:abstract )?(?:function\*?|const|class|interface|type|let|enum) +([\w$]+)/gm;
    for (const [, name = ""] of text.matchAll(named)) {
      homes.set(name, [...(homes.get(name) ?? []), file]);
    }
    expect(text, file).not.toMatch(/^export (default|\{|\*|type \{)/m);
  }
  // Of an overload, every signature has the name.
  const several = [...homes].filter(([, files]) => new Set(files).size > 1);
  expect(several).toEqual([]);
  expect(homes.size).toBeGreaterThan(300);
});

test(`no file of src has more than ${MAX_LINES} lines without a reason`, () => {
  const long = [...texts].filter(([, text]) => text.split("\n").length - 1 > MAX_LINES).map(([file]) => file);
  expect(long).toEqual(Object.keys(LONG_FILES));
});

test("the top level of the repository has the listed files and folders, and nothing else", () => {
  const top = new Set(list().map((file) => file.split("/")[0]));
  expect([...top].sort()).toEqual([...TOP_LEVEL].sort());
});
