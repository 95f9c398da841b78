import { execFile } from "node:child_process";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { migrate } from "../../../src/db/migrating/migrate.ts";
import { administer, freePort, startPostgres, unprivileged } from "../../support/postgres-server.ts";
import { findPrograms } from "./debian.ts";
import { later } from "./gateway.ts";

const execute = promisify(execFile);

interface Pair {
  primary: string;
  standby: string;
  /** Lets the standby take over; the old primary goes on, and takes no writes. */
  failOver(): Promise<void>;
}

/** A migrated server of Debian's PostgreSQL and a standby of it; both are removed by `tidyUp`. */
export async function startPair(): Promise<Pair> {
  const programs = await findPrograms();
  const { url: primary, stop } = await startPostgres({
    installed: programs,
    settings: ["wal_level=replica"],
  });
  later(stop);
  await migrate({ url: primary });
  const folder = await mkdtemp(join(tmpdir(), "kyc-standby-"));
  later(() => rm(folder, { recursive: true, force: true }));
  const user = await unprivileged(folder);
  if (user.uid !== undefined && user.gid !== undefined) await chown(folder, user.uid, user.gid);
  const run = (program: string, ...args: string[]) =>
    execute(join(programs, program), args, { cwd: folder, env: user.env, uid: user.uid, gid: user.gid });
  await run("pg_basebackup", "-D", "data", "-R", "-c", "fast", "-d", primary);
  const port = await freePort();
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=200`;
  await run("pg_ctl", "start", "-w", "-D", "data", "-o", options, "-l", "log");
  later(() => run("pg_ctl", "stop", "-m", "immediate", "-D", "data"));
  const standby = new URL(primary);
  standby.port = String(port);
  return {
    primary,
    standby: standby.href,
    failOver: async () => {
      await administer(
        primary,
        "alter system set default_transaction_read_only = on",
        "select pg_reload_conf()",
      );
      await run("pg_ctl", "promote", "-w", "-D", "data");
    },
  };
}
