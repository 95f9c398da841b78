import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
// @ts-expect-error: what packs has no types
import { dependenciesOf } from "../../packaging/lock.mjs";
import { type Gateway, later, listening, ROOT, start, temporaryFolder, tidyUp } from "./support/gateway.ts";

const execute = promisify(execFile);

/** Variables of the npm that runs the tests: they would make another npm use the tests' own project. */
const cleanEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(?!config_registry$)/i.test(name)),
);

interface Packed {
  filename: string;
  files: { path: string }[];
}

/** Of a source that a release before this one had. */
const LEFT_BEHIND = join(ROOT, "dist/kyc/gone.js");

let packed: Packed;
let folder: string;
beforeAll(async () => {
  const destination = await temporaryFolder();
  await mkdir(dirname(LEFT_BEHIND), { recursive: true });
  await writeFile(LEFT_BEHIND, "");
  const { stdout } = await execute("npm", ["pack", "--json", "--pack-destination", destination], {
    cwd: ROOT,
    env: cleanEnv,
  });
  const answer = JSON.parse(stdout);
  packed = (Array.isArray(answer) ? answer : Object.values(answer))[0];
  folder = join(destination, "an empty folder");
  await mkdir(folder);
  const tarball = join(destination, packed.filename);
  // Packages that are not in the local cache come from the registry.
  const options = ["--prefer-offline", "--no-audit", "--no-fund", "--engine-strict"];
  await execute("npm", ["install", ...options, tarball], { cwd: folder, env: cleanEnv });
}, 300_000);
afterAll(tidyUp);

/** Starts the gateway as its user does. npx, a shell and the gateway are one group: none of them is left behind. */
async function startPackaged(): Promise<Gateway> {
  const run = start("npx", ["--no-install", "kyc-gateway", "serve"], {
    ...{ cwd: folder, env: { PORT: "0" }, detached: true },
  });
  later(async () => {
    try {
      process.kill(-run.pid, "SIGKILL");
    } catch {
      // Nobody is left.
    }
  });
  // npx itself takes seconds on a busy machine.
  await run.printed(/\/metrics\n/, 90_000);
  return listening(run);
}

test("the package holds what was built, and no source, test, token or data", () => {
  // The README shows it.
  const picture = "bench/results/bench.svg";
  const own = ({ path }: { path: string }) => path !== picture && !path.startsWith("node_modules/");
  const paths = packed.files.filter(own).map(({ path }) => path);
  const rooms = new Set(paths.map((path) => path.split("/")[0]));
  expect([...rooms].sort()).toEqual([
    ...["LICENSE", "README.md", "SECURITY.md", "dist", "docs", "package.json", "schema.graphql"],
  ]);
  const kinds = new Set(paths.map((path) => /\.\w+$/.exec(path)?.[0]));
  expect([...kinds].sort()).toEqual(
    [".br", ".css", ".gz", ".js", ".json", ".md", ".py", ".sql", ".txt", ".graphql", undefined].sort(),
  );
});

test("the package has what each link of its documents leads to, and nothing of a source that no longer exists", async () => {
  const paths = packed.files.map(({ path }) => path);
  const documents = paths.filter((path) => /^(docs\/)?\w+\.md$/.test(path));
  expect(documents.length).toBeGreaterThan(5);
  for (const document of documents) {
    const text = await readFile(join(ROOT, document), "utf8");
    for (const [, link = ""] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g))
      expect(paths, document).toContain(join(dirname(document), link));
  }
  expect(paths).not.toContain("dist/kyc/gone.js");
  expect(paths).toContain("dist/pages/browser/docs.js");
});

/** The packages in a folder's node_modules and in theirs, by their places under it. */
async function packagesIn(folder: string, place = ""): Promise<string[]> {
  const modules = join(place, "node_modules");
  const names = await readdir(join(folder, modules)).catch(() => []);
  const scoped = names
    .filter((name) => name.startsWith("@"))
    .map(async (scope) => {
      const inside = await readdir(join(folder, modules, scope));
      return inside.map((name) => join(scope, name));
    });
  const plain = names.filter((name) => !/^[@.]/.test(name));
  const places = [...plain, ...(await Promise.all(scoped)).flat()].map((name) => join(modules, name));
  const nested = await Promise.all(places.map((inner) => packagesIn(folder, inner)));
  return [...places, ...nested.flat()];
}

const filesIn = async (folder: string) => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
};

test("it is installed with the very packages that were tested, byte by byte, and npm fetches no other", async () => {
  const home = join(folder, "node_modules/kyc-gateway");
  expect((await readdir(join(folder, "node_modules"))).filter((name) => !name.startsWith("."))).toEqual([
    "kyc-gateway",
  ]);
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"));
  const { devDependencies: _, ...manifest } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const tested: { location: string; entry: { version: string }; optional: boolean }[] = [
    ...dependenciesOf({ ...lock.packages, "": manifest }, [""]).values(),
  ];
  const found = await packagesIn(home);
  const expected = tested.filter(
    ({ location, optional }) => location !== "" && (!optional || found.includes(location)),
  );
  expect(expected.length).toBeGreaterThan(1);
  expect(found.sort()).toEqual(expected.map(({ location }) => location).sort());
  for (const { location, entry } of expected) {
    const { version } = JSON.parse(await readFile(join(home, location, "package.json"), "utf8"));
    expect(`${location} ${version}`).toBe(`${location} ${entry.version}`);
  }
  const files = await filesIn(join(home, "node_modules"));
  expect(files.length).toBeGreaterThan(100);
  const differing: string[] = [];
  for (const file of files) {
    const [here, there] = [await readFile(file), await readFile(join(ROOT, file.slice(home.length)))];
    if (!here.equals(there)) differing.push(file);
  }
  expect(differing).toEqual([]);
}, 120_000);

test("npx kyc-gateway serve in a folder of its own is ready, and answers the printed curl", async () => {
  const gateway = await startPackaged();
  const [line = ""] = gateway.stdout().match(/^curl .*$/m) ?? [];
  const { stdout } = await execute("sh", ["-c", line], { cwd: "/" });
  const firstAnswerMs = performance.now() - gateway.startedAt;
  expect(JSON.parse(stdout)).toEqual({ has_more: false, data: [] });
  expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
  const page = await fetch(`${gateway.url}/graphql`, { headers: { accept: "text/html" } });
  expect(await page.text()).toContain("GraphiQL");
  console.log(
    `listening after ${Math.round(gateway.startMs)} ms, first answer after ${Math.round(firstAnswerMs)} ms`,
  );
  // npx dies of it without passing it on; the gateway must not be left behind on the folder.
  await gateway.stop();
  await expect.poll(() => gateway.stdout(), { timeout: 10_000 }).toContain('"stopped"');

  const again = await startPackaged();
  console.log(`the second start: listening after ${Math.round(again.startMs)} ms`);
  process.kill(-again.pid, "SIGINT");
  await again.exited;
  await expect.poll(() => again.stdout(), { timeout: 10_000 }).toContain('"stopped"');
}, 240_000);

test("it prints its schema, and runs its commands on the folder's data", async () => {
  const run = (...args: string[]) =>
    execute("npx", ["--no-install", "kyc-gateway", ...args], { cwd: folder, env: cleanEnv });
  expect((await run("schema")).stdout).toContain("type Kyc implements Node");
  expect((await run("token", "list")).stdout).toContain("development");
});
