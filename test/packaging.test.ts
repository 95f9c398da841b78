import { readdirSync, readFileSync } from "node:fs";
import { parseAst } from "rolldown/parseAst";
import { satisfies } from "semver";
import { describe, expect, test } from "vitest";
// @ts-expect-error: what packs has no types
import { findStale } from "../packaging/check.mjs";
// @ts-expect-error: what packs has no types
import { dependenciesOf } from "../packaging/lock.mjs";
// @ts-expect-error: what packs has no types
import { billOfMaterials, librariesIn } from "../packaging/sbom.mjs";

interface Entry {
  version: string;
  integrity?: string;
  engines?: { node?: string };
  dependencies?: Record<string, string>;
  dev?: boolean;
  optional?: boolean;
  hasInstallScript?: boolean;
}

const lock: { packages: Record<string, Entry> } = JSON.parse(readFileSync("package-lock.json", "utf8"));
const manifest = JSON.parse(readFileSync("package.json", "utf8"));
const licences = readFileSync("dist/licences.txt", "utf8");

const nameAt = (location: string) => location.replace(/^.*node_modules\//, "");
const { devDependencies: _, ...shipped } = manifest;
const tree: { location: string; entry: Entry }[] = [
  ...dependenciesOf({ ...lock.packages, "": shipped }, [""]).values(),
];
const installed = tree.filter(({ location }) => location !== "");
const built = librariesIn(licences) as { name: string; version: string }[];
const builtEntries = built.flatMap(({ name, version }) =>
  Object.entries(lock.packages).filter(
    ([location, entry]) => nameAt(location) === name && entry.version === version,
  ),
);

describe("what the package brings along", () => {
  test("is all that it depends on, and nothing of the development tools", () => {
    // npm writes a list in place of `true` when it adds a package, and does not add that one to it.
    const bundled = manifest.bundleDependencies;
    const dependencies = Object.keys(manifest.dependencies);
    expect(bundled === true ? dependencies : bundled).toEqual(expect.arrayContaining(dependencies));
    // What is code alone is in dist.
    expect(dependencies.filter((name) => built.some((library) => library.name === name))).toEqual([]);
    expect(dependencies.length).toBeGreaterThan(0);
    for (const { location, entry } of installed) {
      expect(entry.integrity, location).toMatch(/^sha512-/);
      expect(entry.hasInstallScript, location).toBeUndefined();
    }
    const names = installed.map(({ location }) => nameAt(location));
    expect(names).toEqual(expect.arrayContaining(Object.keys(manifest.dependencies)));
    for (const tool of ["vitest", "typescript", "@biomejs/biome", "mercurius", "openapi-typescript"])
      expect([...names, ...built.map(({ name }) => name)]).not.toContain(tool);
    for (const { entry } of installed)
      for (const name of Object.keys(entry.dependencies ?? {})) expect(names).toContain(name);
  });

  test("is installed here in the versions that the lock has", () => {
    expect(findStale({ ...lock.packages, "": shipped })).toEqual([]);
    const one = installed[0]?.location ?? "";
    const other = { ...lock.packages[one], version: "0.0.1" };
    expect(findStale({ ...lock.packages, "": shipped, [one]: other })).toEqual([
      expect.stringContaining(`${one} is `),
    ]);
  });

  test("runs on the oldest Node.js that the package allows, and on the one that tests run on", () => {
    const oldest = `${manifest.engines.node.replace(">=", "")}.0`;
    const all = [...installed.map(({ location, entry }) => [location, entry] as const), ...builtEntries];
    const unfit = all.filter(
      ([, { engines }]) =>
        engines?.node && !["20.20.0", oldest].every((node) => satisfies(node, engines.node as string)),
    );
    expect(unfit.map(([location, { engines }]) => `${location} ${engines?.node}`)).toEqual([]);
  });
});

interface Component {
  "bom-ref": string;
  group?: string;
  name: string;
  version?: string;
  purl: string;
  hashes?: { alg: string; content: string }[];
  properties: { name: string; value: string }[];
}

describe("the bill of materials", () => {
  const bill = billOfMaterials(lock, manifest, licences);
  const components = bill.components as Component[];
  const fullName = ({ group, name }: Component) => (group ? `${group}/${name}` : name);
  const listed = new Map(components.map((one) => [`${fullName(one)}@${one.version}`, one]));
  const has = (one: Component, key: string, value: string) =>
    one.properties.some((property) => property.name === `kyc-gateway:${key}` && property.value === value);

  test("lists exactly what is installed, with the lock's hashes", () => {
    const expected = new Set(
      installed.map(({ location, entry: { version } }) => `${nameAt(location)}@${version}`),
    );
    const found = components.filter((one) => has(one, "installed", "node_modules"));
    expect(found.map((one) => `${fullName(one)}@${one.version}`).sort()).toEqual([...expected].sort());
    for (const [location, { version, integrity = "" }] of [
      ...installed.map(({ location, entry }) => [location, entry] as const),
      ...builtEntries,
    ]) {
      const hash = Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex");
      expect(listed.get(`${nameAt(location)}@${version}`)?.hashes).toEqual([
        { alg: "SHA-512", content: hash },
      ]);
    }
  });

  test("lists what is built into the gateway's own files", () => {
    expect(built.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        "zod",
        "drizzle-orm",
        "postgres",
        "@pothos/core",
        "fastify",
        "graphql",
        "pino",
        "ms",
      ]),
    );
    expect(built.length).toBeGreaterThan(60);
    for (const { name, version } of built)
      expect(listed.get(`${name}@${version}`)).toSatisfy((one: Component) => has(one, "built-into", "dist"));
  });

  test("lists what is served to browsers, and the libraries inside", () => {
    const served = (place: string) =>
      components.filter((one) => has(one, "served-in", place)).map((one) => fullName(one));
    expect(served("dist/graphiql")).toEqual(
      expect.arrayContaining(["@graphql-yoga/graphiql", "graphiql", "monaco-editor", "react", "react-dom"]),
    );
    expect(served("dist/swagger-ui")).toEqual(
      expect.arrayContaining(["swagger-ui-dist", "dompurify", "react", "immutable", "swagger-client"]),
    );
    const folders = { "@graphql-yoga/graphiql": "graphiql", "swagger-ui-dist": "swagger-ui" };
    for (const name of Object.keys(folders))
      expect([...listed.keys()]).toContain(`${name}@${lock.packages[`node_modules/${name}`]?.version}`);
  });

  test("is a graph in which every reference is to one component", () => {
    const refs = components.map((one) => one["bom-ref"]);
    expect(new Set(refs).size).toBe(refs.length);
    const root = bill.metadata.component["bom-ref"];
    const known = new Set([...refs, root]);
    const dependencies = bill.dependencies as { ref: string; dependsOn: string[] }[];
    for (const { ref, dependsOn } of dependencies)
      for (const one of [ref, ...dependsOn]) expect(known).toContain(one);
    const reached = new Set<string>();
    const reach = (ref: string) => {
      if (reached.has(ref)) return;
      reached.add(ref);
      for (const next of dependencies.find((one) => one.ref === ref)?.dependsOn ?? []) reach(next);
    };
    reach(root);
    expect(refs.filter((ref) => !reached.has(ref))).toEqual([]);
  });
});

test("no object literal of the built code has a spread before other properties, which Node.js 20 is slow at", () => {
  const found: string[] = [];
  for (const name of readdirSync("dist").filter((one) => one.endsWith(".js"))) {
    const code = readFileSync(`dist/${name}`, "utf8");
    JSON.stringify(parseAst(code), (_key, node) => {
      const [first, second] = node?.type === "ObjectExpression" ? node.properties : [];
      if (second && first.type === "SpreadElement")
        found.push(`${name}: ${code.slice(node.start, node.end)}`);
      return typeof node === "bigint" ? String(node) : node;
    });
  }
  expect(found).toEqual([]);
});
