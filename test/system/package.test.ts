import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gateway, later, listening, ROOT, start, temporaryFolder, tidyUp } from "./support/gateway.ts";

const execute = promisify(execFile);

/** What the npm that runs the tests says of their own project would lead another npm there. */
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
  // Whatever the registry's copies on this machine lack comes from the registry itself.
  await execute("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], {
    cwd: folder,
    env: cleanEnv,
  });
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
  const paths = packed.files.map(({ path }) => path).filter((path) => path !== picture);
  const rooms = new Set(paths.map((path) => path.split("/")[0]));
  expect([...rooms].sort()).toEqual([
    ...["LICENSE", "README.md", "SECURITY.md", "dist", "package.json", "schema.graphql"],
  ]);
  const kinds = new Set(paths.map((path) => /\.\w+$/.exec(path)?.[0]));
  expect([...kinds].sort()).toEqual(
    [".css", ".gz", ".js", ".json", ".md", ".sql", ".txt", ".graphql", undefined].sort(),
  );
});

test("the package has what each of its README's links names, and nothing of a source that is gone", async () => {
  const paths = packed.files.map(({ path }) => path);
  const links = [...(await readFile(join(ROOT, "README.md"), "utf8")).matchAll(/\]\(([^)#:]+)\)/g)];
  expect(links.length).toBeGreaterThan(1);
  for (const [, link] of links) expect(paths).toContain(link);
  expect(paths).not.toContain("dist/kyc/gone.js");
  expect(paths).toContain("dist/pages/browser/docs.js");
});

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
