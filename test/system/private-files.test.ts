import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newKey } from "../support/keys.ts";
import { roomForData } from "../support/postgres-server.ts";
import {
  CLI,
  type Env,
  freshEnv,
  later,
  ROOT,
  runCli,
  start,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

const isRoot = process.getuid?.() === 0;
/** The id of the OS user `nobody`. */
const STRANGER = "65534";

let env: Env;
beforeAll(async () => {
  env = await freshEnv("the embedded database");
  await (await startGateway(env)).stop();
});
afterAll(tidyUp);

/** A folder that everybody may write in, with the sticky bit, such as /tmp. */
async function sharedFolder(mode = 0o1777): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kyc-shared-"));
  later(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, mode);
  return folder;
}

/** A data folder in which a gateway has been. */
async function copyOfData(): Promise<string> {
  const data = join(await temporaryFolder(await roomForData()), "data");
  const isFile = (path: string) => !path.endsWith(".s.PGSQL.5432");
  await cp(env.DATA_DIR ?? "", data, { recursive: true, filter: isFile });
  return data;
}

/** Runs a line of a shell as another user. */
async function asStranger(line: string): Promise<{ code: number | null; output: string }> {
  const run = start("setpriv", [
    `--reuid=${STRANGER}`,
    `--regid=${STRANGER}`,
    "--clear-groups",
    "sh",
    "-c",
    line,
  ]);
  const { code } = await run.exited;
  return { code, output: run.output() };
}

/** As another user, reads and opens all that appears in a folder until it is stopped; gives what could be opened. */
function spy(folder: string): () => Promise<string[]> {
  const script = `
    const { readdirSync, openSync } = require("node:fs");
    const opened = new Set();
    process.on("SIGTERM", () => { console.log(JSON.stringify([...opened])); process.exit(); });
    const look = (path) => {
      try { for (const name of readdirSync(path)) look(path + "/" + name); if (path !== ${JSON.stringify(folder)}) opened.add(path); } catch {}
      try { openSync(path, "r+"); opened.add(path); } catch {}
    };
    setInterval(() => look(${JSON.stringify(folder)}), 1);
    console.log("looking");`;
  const child = spawn(process.execPath, ["-e", script], {
    ...{ uid: Number(STRANGER), gid: Number(STRANGER), cwd: "/", stdio: ["ignore", "pipe", "ignore"] },
  });
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  return async () => {
    child.kill("SIGTERM");
    await ended;
    return JSON.parse(output.replace("looking\n", ""));
  };
}

describe.runIf(isRoot)("a backup into a folder that all users share", () => {
  test("is opened by no other user at any time, and uses nothing that one has prepared", async () => {
    const folder = await sharedFolder();
    const file = join(folder, "kyc.tar.gz");
    const prepared = await asStranger(
      [`umask 0; mkdir -p ${file}.unfinished/files ${file}.unfinished-aaaaaa`]
        .concat([`touch ${file}.unfinished/packed ${file}.unfinished/lock ${file}.unfinished-aaaaaa/packed`])
        .concat([`ln -s ${folder}/elsewhere ${file}.unfinished-bbbbbb`])
        .join(" && "),
    );
    expect(prepared).toEqual({ code: 0, output: "" });
    const before = (await readdir(folder)).sort();
    const stop = spy(folder);
    expect(await runCli(["backup", "--with-keys", file], env)).toMatchObject({ code: 0 });
    const opened = await stop();
    expect(opened.filter((path) => !path.includes(".unfinished/") && !path.includes("-aaaaaa"))).toEqual(
      opened.filter((path) => /\.unfinished(-bbbbbb)?$/.test(path)),
    );
    expect((await readdir(folder)).sort()).toEqual([...before, "kyc.tar.gz"].sort());
    for (const name of ["packed", "lock"]) expect((await stat(`${file}.unfinished/${name}`)).size).toBe(0);
    expect(await readdir(`${file}.unfinished/files`)).toEqual([]);
    expect(await asStranger(`cat ${file}`)).toMatchObject({ code: 1 });
    const target = { DATA_DIR: join(await temporaryFolder(), "data") };
    expect(await runCli(["restore", file], target)).toMatchObject({ code: 0 });
  });

  test.each([
    ["a link to nowhere", (file: string) => `ln -s ${file}.elsewhere ${file}`],
    ["a file of theirs", (file: string) => `umask 0; touch ${file}`],
    ["a named pipe", (file: string) => `mkfifo -m 666 ${file}`],
  ])("is refused if its name is %s, and follows no link", async (_kind, prepare) => {
    const folder = await sharedFolder();
    const file = join(folder, "kyc.tar.gz");
    expect(await asStranger(prepare(file))).toEqual({ code: 0, output: "" });
    const refused = await runCli(["backup", "--with-keys", file], env);
    expect(refused).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("is there already"),
    });
    expect(await readdir(folder)).toEqual(["kyc.tar.gz"]);
  });

  test("is refused without the sticky bit, or in a folder of another user, who could replace it", async () => {
    const open = await sharedFolder(0o777);
    const foreign = await sharedFolder(0o755);
    await chown(foreign, Number(STRANGER), Number(STRANGER));
    for (const folder of [open, foreign]) {
      const refused = await runCli(["backup", join(folder, "kyc.tar.gz")], env);
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("other users can replace files"),
      });
      expect(refused.stderr.trim()).not.toContain("\n");
      expect(await readdir(folder)).toEqual([]);
    }
  });
});

describe.runIf(isRoot)("a data folder in a folder that all users share", () => {
  test.each(["serve", "restore", "deliver", "token create --account a --name b --scopes kyc:read"])(
    "is refused by `%s` if another user has made it, and nothing is put there",
    async (line) => {
      const folder = join(await sharedFolder(), "data");
      await asStranger(`umask 0; mkdir ${folder}; touch ${folder}/lock`);
      const backup = join(await temporaryFolder(), "kyc.tar.gz");
      if (line === "restore") await runCli(["backup", backup], env);
      const args = [...line.split(" "), ...(line === "restore" ? [backup] : [])];
      const refused = await runCli(args, { DATA_DIR: folder, PORT: "0" });
      expect(refused).toMatchObject({ code: 2, stdout: "" });
      expect(refused.stderr).toMatch(
        /^configuration: DATA_DIR.* belongs to the user 65534, .* chown -hR 0 .*\n$/,
      );
      expect(await readdir(folder)).toEqual(["lock"]);
    },
  );

  test("is refused if it is open to others, with one line that says how to close it", async () => {
    const data = await copyOfData();
    for (const mode of [0o777, 0o755]) {
      await chmod(data, mode);
      const refused = await runCli(["serve"], { DATA_DIR: data, PORT: "0" });
      expect(refused.code).toBe(2);
      expect(refused.stderr).toMatch(/^configuration: DATA_DIR .* chmod 700 .*\n$/);
    }
    await chmod(data, 0o700);
    await (await startGateway({ DATA_DIR: data })).stop();
  });

  test("a link in place of the development token's file is replaced, not followed", async () => {
    const data = await copyOfData();
    const precious = join(await temporaryFolder(), "precious");
    await writeFile(precious, "precious");
    for (const name of ["dev-token", "dev-token.new"]) {
      await rm(join(data, name), { force: true });
      await symlink(precious, join(data, name));
    }
    await (await startGateway({ DATA_DIR: data })).stop();
    expect(await readFile(precious, "utf8")).toBe("precious");
    expect(await readFile(join(data, "dev-token"), "utf8")).toMatch(/^kycgw_/);
  });
});

/** Runs the CLI on a file system without hard links, such as FAT and many network and container file systems. */
async function runWithoutLinks(args: string[], env: Env) {
  const inject = [
    "-f",
    // It would stop the program at every call of the system otherwise.
    "--seccomp-bpf",
    "-qq",
    "-e",
    "trace=link,linkat",
    "-e",
    "inject=link,linkat:error=EPERM",
    "-o",
    "/dev/null",
  ];
  const run = start("strace", [...inject, process.execPath, CLI, ...args], { env });
  const { code } = await run.exited;
  return { code, stdout: run.stdout(), stderr: run.stderr() };
}

test.runIf(existsSync("/usr/bin/strace"))(
  "a file system without hard links is good enough for all of it",
  async () => {
    const folder = await temporaryFolder();
    const made = { DATA_DIR: join(folder, "data") };
    const demo = ["demo", "--records=3"];
    expect(await runWithoutLinks(demo, made)).toMatchObject({ code: 0, stdout: "" });
    const file = join(folder, "kyc.tar.gz");
    expect(await runWithoutLinks(["backup", "--with-keys", file], made)).toMatchObject({ code: 0 });
    expect((await readdir(folder)).sort()).toEqual(["data", "kyc.tar.gz"]);
    const target = { DATA_DIR: join(folder, "restored") };
    expect(await runWithoutLinks(["restore", file], target)).toMatchObject({ code: 0 });
    expect((await readdir(made.DATA_DIR)).sort()).toEqual(["encryption-keys", "lock", "pgdata"]);
    expect((await readdir(target.DATA_DIR)).sort()).toEqual(["encryption-keys", "lock", "pgdata"]);
    expect(await readFile(join(target.DATA_DIR, "encryption-keys"))).toEqual(
      await readFile(join(made.DATA_DIR, "encryption-keys")),
    );
  },
);

describe("a key file that can't be changed", () => {
  test("serves with a mode of 0440, and one that is looser is closed", async () => {
    const data = await copyOfData();
    for (const [mode, after] of [
      [0o440, 0o400],
      [0o400, 0o400],
      [0o666, 0o600],
    ] as const) {
      await chmod(join(data, "encryption-keys"), mode);
      await (await startGateway({ DATA_DIR: data })).stop();
      expect((await stat(join(data, "encryption-keys"))).mode & 0o777).toBe(after);
    }
  });

  test.runIf(isRoot)(
    "serves from a read-only volume with a warning, also as another user through its group",
    async () => {
      const folder = await temporaryFolder();
      const keys = join(folder, "keys");
      await mkdir(keys, { mode: 0o755 });
      const file = join(keys, "encryption-keys");
      await writeFile(file, `${newKey("2026")}\n`, { mode: 0o440 });
      const prepared = await freshEnv("the embedded database");
      // A mount that only this process sees, and that ends with it.
      const line = `mount --bind ${keys} ${keys} && mount -o remount,bind,ro ${keys} && exec "$0" "$@"`;
      const run = (...args: string[]) =>
        start("unshare", ["-m", "sh", "-c", line, process.execPath, CLI, ...args], {
          env: { ...prepared, ENCRYPTION_KEYS_FILE: file },
        });
      const own = run("demo", "--records=1");
      expect(await own.exited).toMatchObject({ code: 0 });
      expect(own.stderr()).toMatch(/its mode can't be changed: EROFS/);
      expect((await stat(file)).mode & 0o777).toBe(0o440);
    },
  );
});

describe("ENCRYPTION_KEYS_FILE", () => {
  test("names the keys of a gateway, which reads them again when they change, and is never made", async () => {
    const folder = await temporaryFolder();
    const file = join(folder, "keys");
    const real = await freshEnv("a real database");
    const { ENCRYPTION_KEYS: _, ...others } = real;
    const withFile = { ...others, ENCRYPTION_KEYS_FILE: file };
    const refused = await runCli(["serve"], { ...withFile, PORT: "0" });
    expect(refused).toMatchObject({
      code: 2,
      stderr: `configuration: ENCRYPTION_KEYS_FILE: there is no file ${file}\n`,
    });
    expect(await readdir(folder)).toEqual([]);
    const both = await runCli(["serve"], { ...withFile, ENCRYPTION_KEYS: newKey("a") });
    expect(both).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("must not be set if ENCRYPTION_KEYS is"),
    });

    const [older, newer] = [newKey("2025"), newKey("2026")];
    await writeFile(file, `${older}\n`, { mode: 0o600 });
    const gateway = await startGateway(withFile);
    await writeFile(file, `${newer}\n${older}\n`);
    await gateway.printed(/"key":"2026".*a new encryption key is in use/);
    await expect
      .poll(async () => JSON.parse((await runCli(["keys", "list", "--json"], withFile)).stdout)[0])
      .toMatchObject({ id: "2026", newest: true, firstUsed: expect.any(String) });
    await gateway.stop();
    const rotated = await runCli(["keys", "rotate", "--new"], withFile);
    expect(rotated).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("--new is for the key file of the embedded"),
    });
  });
});

describe("output that goes nowhere", () => {
  // Its commands take a third of the CPU time of those on an embedded one, and print the same.
  let real: Env;
  beforeAll(async () => {
    real = await freshEnv("a real database");
    expect(await runCli(["migrate"], real)).toMatchObject({ code: 0 });
  });

  /** The exit code of the command before the pipe, and what it says. */
  async function shell(line: string, env = real) {
    const script = `node() { ${process.execPath} "$@"; }; ${line}; echo "\${PIPESTATUS[0]}" >&2`;
    const run = start("bash", ["-c", script.replaceAll("kyc-gateway", `node ${CLI}`)], {
      env: { ...env, PORT: "0" },
      cwd: ROOT,
    });
    await run.exited;
    return { stdout: run.stdout(), stderr: run.stderr() };
  }
  const CREATE = "kyc-gateway token create --account=acme --name=lost --scopes=kyc:read";
  const lost = async () =>
    JSON.parse((await runCli(["token", "list", "--json", "--account=acme"], real)).stdout).map(
      ({ state }: { state: string }) => state,
    );

  test("a start whose first line is enough for its reader ends without a word, and leaves the database to others", async () => {
    const { stdout, stderr } = await shell("kyc-gateway serve | head -1", env);
    expect(stdout).toMatch(/^KYC gateway \S+ is starting …\n$/);
    expect(stderr).toBe("141\n");
    await (await startGateway(env)).stop();
  });

  test.each([
    "kyc-gateway token list",
    "kyc-gateway schema",
    "kyc-gateway --help",
    "kyc-gateway migrate --check",
  ])("`%s` ends without a word if nobody reads on", async (line) => {
    expect((await shell(`${line} | head -1`)).stderr).toMatch(/^(0|141)\n$/);
    expect((await shell(`(sleep 1; ${line}) | true`)).stderr).toBe("141\n");
  });

  test.each(["serve", "token list", "schema", "--help", "migrate --check"])(
    "`%s` onto a full disk says so in one line, and fails",
    async (line) => {
      const { stderr } = await shell(`kyc-gateway ${line} >/dev/full`);
      expect(stderr).toMatch(/^error: stdout can't be written: ENOSPC.*\n1\n$/);
    },
  );

  test("a token that could not be shown is revoked", async () => {
    for (const way of [`${CREATE} >/dev/full`, `(sleep 1; ${CREATE}) | true`]) {
      const { stderr } = await shell(way);
      expect(stderr).toMatch(/The token could not be shown, and is revoked\n1\n$/);
      expect(stderr).not.toContain("Keep it safe");
    }
    expect(await lost()).toEqual(["revoked", "revoked"]);
  });

  test("messages that nobody can read keep no command from its work", async () => {
    expect(await shell("kyc-gateway demo --records=4 --again 2>/dev/full")).toEqual({
      stdout: "",
      stderr: "0\n",
    });
  });
});
