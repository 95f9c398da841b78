import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Env, type Gateway, ROOT, start } from "../../system/support/gateway.ts";

const execute = promisify(execFile);

/** The commit that release 0.2.0 was made of. */
const COMMIT = "bd56ed336f778c72a32a49230800fd694e02c982";
/** The development dependencies that its build needs: with all of them, there are almost four times as many packages. */
const OF_BUILD = ["rolldown", "@graphql-yoga/graphiql", "swagger-ui-dist"];
/** Its libraries are fetched once for each machine and user. Milliseconds. */
export const PACKING_LIMIT_MS = 900_000;
const START_LIMIT_MS = 240_000;
/** On a busy machine a gateway refuses requests instead of answering late: that is not what these tests are about. */
const PATIENCE = { MAX_EVENT_LOOP_DELAY: "60000", REQUEST_TIMEOUT: "60000", STATEMENT_TIMEOUT: "30000" };

/**
 * The command line of the packed 0.2.0, with the libraries of its lock file: it is made in the temp folder on the first
 * call, which can take a minute, and kept there. Fails if the checkout lacks the commit, as a shallow clone does.
 */
export async function packRelease02(): Promise<string> {
  const folder = join(tmpdir(), `kyc-gateway-0.2.0-${COMMIT.slice(0, 12)}-${process.getuid?.() ?? "user"}`);
  const cli = join(folder, "packed/package/dist/cli.js");
  const isMade = async () => {
    const found = await stat(cli).catch(() => undefined);
    return found !== undefined && found.uid === (process.getuid?.() ?? found.uid);
  };
  if (await isMade()) return cli;
  const unfinished = await mkdtemp(`${folder}.`);
  try {
    const archive = join(unfinished, "release.tar");
    await execute("git", ["archive", "--output", archive, COMMIT], { cwd: ROOT });
    await execute("tar", ["xf", archive], { cwd: unfinished });
    const npm = (...args: string[]) =>
      execute("npm", [...args, "--silent"], { cwd: unfinished, timeout: PACKING_LIMIT_MS });
    await keepForBuild(join(unfinished, "package.json"));
    await npm("install", "--no-audit", "--no-fund", "--prefer-offline");
    await npm("pack");
    await mkdir(join(unfinished, "packed"));
    // In the folder of its libraries, so that Node.js finds them.
    await execute("tar", ["xzf", "kyc-gateway-0.2.0.tgz", "-C", "packed"], { cwd: unfinished });
    // Another test file can have made it meanwhile, and may be running it.
    if (await isMade()) return cli;
    await rm(folder, { recursive: true, force: true });
    await rename(unfinished, folder);
    return cli;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** Leaves the other development dependencies out of a package.json. npm then takes the rest in the versions of the lock file. */
async function keepForBuild(path: string): Promise<void> {
  const { workspaces: _workspaces, ...manifest } = JSON.parse(await readFile(path, "utf8"));
  const kept = Object.entries(manifest.devDependencies).filter(([name]) => OF_BUILD.includes(name));
  await writeFile(path, JSON.stringify({ ...manifest, devDependencies: Object.fromEntries(kept) }));
}

/** Starts `serve` of this command line; resolves when it has printed its addresses. */
export async function startRelease(cli: string, env: Env): Promise<Gateway> {
  const run = start(process.execPath, [cli, "serve"], { env: { PORT: "0", ...PATIENCE, ...env } });
  const [, url = ""] = await run.printed(/(http:\/\/[^\s/]+)\/metrics/, START_LIMIT_MS);
  return { ...run, url, startMs: performance.now() - run.startedAt };
}
