import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chown, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort, startPostgres, unprivileged } from "../../support/postgres-server.ts";
import { type Env, later } from "./gateway.ts";

const execute = promisify(execFile);
const POSTGRES = "/usr/lib/postgresql";
const PGBOUNCER = "/usr/sbin/pgbouncer";

/** The folder of the programs that Debian's package `postgresql` has installed. */
export async function findPrograms(): Promise<string> {
  const versions = existsSync(POSTGRES) ? await readdir(POSTGRES) : [];
  const newest = versions.map(Number).sort((a, b) => b - a)[0];
  if (newest === undefined) throw new Error("the package postgresql is not installed: see .ci/run");
  return join(POSTGRES, `${newest}`, "bin");
}

/** A server of Debian's PostgreSQL, removed by `tidyUp`, and a function that runs a shell line with its client programs. */
export async function startDebianPostgres(): Promise<{
  url: string;
  /** Fails if the line fails. */
  run(line: string, options: { cwd: string; env: Env }): Promise<void>;
}> {
  const programs = await findPrograms();
  const { url, stop } = await startPostgres({ installed: programs });
  later(stop);
  return {
    url,
    run: async (line, { cwd, env }) => {
      await execute("sh", ["-ec", line], { cwd, env: { ...env, PATH: `${programs}:/usr/bin:/bin` } });
    },
  };
}

/** Debian's pgbouncer in front of a database, in transaction mode with few connections; removed by `tidyUp`. */
export async function startPgbouncer(database: string): Promise<string> {
  if (!existsSync(PGBOUNCER)) throw new Error("the package pgbouncer is not installed: see .ci/run");
  const folder = await mkdtemp(join(tmpdir(), "kyc-pgbouncer-"));
  later(() => rm(folder, { recursive: true, force: true }));
  const { uid, gid } = await unprivileged(folder);
  const { hostname, port, username, password, pathname } = new URL(database);
  const own = await freePort();
  const ini = join(folder, "pgbouncer.ini");
  await writeFile(
    ini,
    [
      "[databases]",
      `kyc = host=${hostname} port=${port} dbname=${pathname.slice(1)} user=${username} password=${password}`,
      "[pgbouncer]",
      "listen_addr = 127.0.0.1",
      `listen_port = ${own}`,
      "unix_socket_dir =",
      "auth_type = any",
      "pool_mode = transaction",
      "default_pool_size = 5",
      "log_connections = 0",
      "log_disconnections = 0",
    ].join("\n"),
    { mode: 0o600 },
  );
  if (uid !== undefined && gid !== undefined) {
    for (const path of [folder, ini]) await chown(path, uid, gid);
  }
  const pooler = spawn(PGBOUNCER, ["-q", ini], {
    cwd: folder,
    uid,
    gid,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const log: string[] = [];
  pooler.stderr.setEncoding("utf8").on("data", (text: string) => log.push(text));
  const ended = once(pooler, "exit");
  later(async () => {
    pooler.kill("SIGKILL");
    await ended;
  });
  for (let tries = 0; !(await isOpen(own)); tries++) {
    if (tries === 200 || pooler.exitCode !== null)
      throw new Error(`pgbouncer did not start: ${log.join("")}`);
    await wait(50);
  }
  return `postgres://gateway@127.0.0.1:${own}/kyc`;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const answer = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}
