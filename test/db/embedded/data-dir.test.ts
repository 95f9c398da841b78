import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import { DataDirError, openDataDir } from "../../../src/db/embedded/data-dir.ts";
import { openEmbedded } from "../../../src/db/embedded/embedded.ts";
import { findLockHolder, lastLockedAt, lockFolder } from "../../../src/db/embedded/folder-lock.ts";

const isRoot = process.getuid?.() === 0;
const STRANGER = 65_534;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kyc-data-dir-"));
  return () => rmSync(folder, { recursive: true, force: true });
});

const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);

function refusalOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(DataDirError);
    return (error as DataDirError).message;
  }
  throw new Error("it was not refused");
}

test("a data folder is made with all folders above it, for this user alone", () => {
  const path = join(folder, "one/two/three");
  const umask = process.umask(0);
  expect(openDataDir(path)).toBe(path);
  process.umask(umask);
  for (const part of ["one", "one/two", "one/two/three"]) expect(modeOf(join(folder, part))).toBe("700");
  expect(openDataDir(path)).toBe(path);
});

test.each(["777", "1777", "755", "750", "770", "701"])(
  "one of mode %s is refused with the command that closes it, and nothing is put there",
  async (mode) => {
    chmodSync(folder, Number.parseInt(mode, 8));
    const message = refusalOf(() => openDataDir(folder));
    expect(message).toContain(`chmod 700 ${folder}`);
    expect(message).not.toContain("\n");
    await expect(openEmbedded(folder, {})).rejects.toThrow(DataDirError);
    expect(readdirSync(folder)).toEqual([]);
    chmodSync(folder, 0o700);
    expect(openDataDir(folder)).toBe(folder);
  },
);

describe.runIf(isRoot)("what another user owns is refused with the command that takes it over:", () => {
  const own = (path: string) => lchownSync(path, STRANGER, STRANGER);

  test("the folder", () => {
    own(folder);
    expect(refusalOf(() => openDataDir(folder))).toContain(`chown -hR 0 ${folder}`);
  });

  test.each(["lock", "pgdata", "encryption-keys", "dev-token", "something else"])("%s in it", (name) => {
    const path = join(folder, name);
    writeFileSync(path, "");
    own(path);
    expect(refusalOf(() => openDataDir(folder))).toContain(`${path} belongs to the user ${STRANGER}`);
  });

  test("a link to it, while one of this user's own is followed", () => {
    const [link, target] = [join(folder, "link"), join(folder, "target")];
    mkdirSync(target, { mode: 0o700 });
    symlinkSync(target, link);
    expect(openDataDir(link)).toBe(link);
    own(link);
    expect(refusalOf(() => openDataDir(link))).toContain(`${link} belongs to`);
  });
});

test.runIf(existsSync("/proc/self"))("if no folder can be, one line says so at once", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  const loop = join(folder, "loop");
  symlinkSync(loop, loop);
  const places = [
    "/proc/a/b/c",
    "/proc/self/a",
    "/sys/a/b",
    "/dev/null",
    "/dev/null/a",
    file,
    join(file, "a"),
  ];
  for (const place of [...places, loop, join(loop, "a"), join(folder, "a".repeat(300))]) {
    const message = refusalOf(() => openDataDir(place));
    expect(message).toMatch(/^DATA_DIR .* can't be used: [\w' -]+$/);
  }
});

test("a lock that is a link or no file is refused, and what the link leads to is not touched", async () => {
  const [lock, target] = [join(folder, "lock"), join(folder, "target")];
  symlinkSync(target, lock);
  await expect(lockFolder(folder)).rejects.toThrow("is a symbolic link");
  expect(existsSync(target)).toBe(false);
  writeFileSync(target, "precious");
  await expect(lockFolder(folder)).rejects.toThrow("is a symbolic link");
  expect(statSync(target).size).toBe(8);
  rmSync(lock);
  mkdirSync(lock);
  await expect(lockFolder(folder)).rejects.toThrow();
});

test("each locking is seen afterwards, and looking for it changes nothing", async () => {
  expect(await lastLockedAt(folder)).toBeUndefined();
  const times = new Set<bigint | undefined>();
  for (let n = 0; n < 3; n++) {
    (await lockFolder(folder))();
    times.add(await lastLockedAt(folder));
    expect(await findLockHolder(folder)).toBeUndefined();
    times.add(await lastLockedAt(folder));
    await wait(20);
  }
  expect(times.size).toBe(3);
});

test("a lock that another process takes for an instant, as doctor does, does not refuse a start", async () => {
  const release = await lockFolder(folder);
  setTimeout(release, 5);
  (await lockFolder(folder))();
});
