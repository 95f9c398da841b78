import { cp, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { listening, ROOT, start, temporaryFolder, tidyUp } from "./support/gateway.ts";

afterEach(tidyUp);

/** Tries again until it works, within the test's time limit. */
const POLL = { timeout: 40_000, interval: 100 };

test("npm run dev rebuilds and restarts on a change, and keeps the gateway if a build fails", async () => {
  const folder = await temporaryFolder();
  for (const name of ["src", "build.mjs", "dev.mjs", "package.json", "tsconfig.json"])
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const run = start(process.execPath, ["dev.mjs"], { cwd: folder, env: { PORT: "0" } });
  const first = await listening(run);
  const health = async (url: string) => (await fetch(`${url}/health`).catch(() => null))?.status;
  const token = await readFile(join(folder, ".data/dev-token"), "utf8");

  const file = join(folder, "src/server/welcome.ts");
  const source = await readFile(file, "utf8");
  // As an editor does that writes a file aside and gives it the name.
  await writeFile(`${file}.new`, source.replace("Try it:", "Try this:"));
  await rename(`${file}.new`, file);
  const [, url = ""] = await run.printed(/ (http:\S+)\/metrics\n\n {2}Try this:/);
  expect(await health(url)).toBe(200);
  expect(await health(first.url)).toBeUndefined();
  expect(await readFile(join(folder, ".data/dev-token"), "utf8")).toBe(token);

  await writeFile(file, "not TypeScript");
  await expect.poll(run.stderr, POLL).toContain("keeps running as it is");
  expect(await health(url)).toBe(200);

  await writeFile(file, source.replace("Try it:", "Try that:"));
  const [, last = ""] = await run.printed(/ (http:\S+)\/metrics\n\n {2}Try that:/);
  expect(await run.stop("SIGINT")).toMatchObject({ code: 0 });
  expect(await health(last)).toBeUndefined();
});
