import {
  chmod,
  chown,
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
import { beforeEach, describe, expect, test } from "vitest";
import {
  createFile,
  createWholeFile,
  findFoldersAside,
  letsOthersReplace,
  makeFolderAside,
  makePrivate,
  moveToNew,
  replaceFile,
} from "../../src/lib/private-files.ts";

const isRoot = process.getuid?.() === 0;
/** Some user who is not the one of this process. */
const STRANGER = 65_534;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "kyc-files-"));
  return () => rm(folder, { recursive: true, force: true });
});

const modeOf = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8);

describe.each([
  ["createFile", createFile],
  ["createWholeFile", createWholeFile],
])("%s", (_name, create) => {
  test("makes a file for its owner alone, whatever the umask lets through", async () => {
    const umask = process.umask(0);
    await create(join(folder, "file"), "text").finally(() => process.umask(umask));
    expect(await readFile(join(folder, "file"), "utf8")).toBe("text");
    expect(await modeOf(join(folder, "file"))).toBe("600");
  });

  test.each(["a file", "a link to a file", "a link to nowhere", "a folder"])(
    "fails if the name is taken by %s, changes nothing and leaves nothing",
    async (kind) => {
      const [path, elsewhere] = [join(folder, "file"), join(folder, "elsewhere")];
      if (kind === "a folder") await mkdir(path);
      else if (kind === "a file") await writeFile(path, "before");
      else await symlink(elsewhere, path);
      if (kind === "a link to a file") await writeFile(elsewhere, "before");
      const before = await readdir(folder);
      await expect(create(path, "text")).rejects.toMatchObject({ code: "EEXIST" });
      expect(await readdir(folder)).toEqual(before);
      if (kind.endsWith("file")) expect(await readFile(path, "utf8")).toBe("before");
    },
  );
});

test("replaceFile replaces a file, and a link instead of what it leads to", async () => {
  const [file, link, target] = ["file", "link", "target"].map((name) => join(folder, name)) as [
    ...[string, string, string],
  ];
  await writeFile(file, "before", { mode: 0o644 });
  await writeFile(target, "before");
  await symlink(target, link);
  for (const path of [file, link]) {
    await replaceFile(path, "after");
    expect(await readFile(path, "utf8")).toBe("after");
    expect(await modeOf(path)).toBe("600");
  }
  expect(await readFile(target, "utf8")).toBe("before");
  await mkdir(join(folder, "full/of"), { recursive: true });
  await expect(replaceFile(join(folder, "full"), "x")).rejects.toThrow();
  expect((await readdir(folder)).sort()).toEqual(["file", "full", "link", "target"]);
});

test("of many that take one new name at once a single one gets it", async () => {
  const names = Array.from({ length: 20 }, (_, n) => join(folder, `from-${n}`));
  for (const name of names) await writeFile(name, name);
  const target = join(folder, "to");
  const moves = await Promise.allSettled(names.map((name) => moveToNew(name, target)));
  const winners = names.filter((_, n) => moves[n]?.status === "fulfilled");
  expect(winners).toHaveLength(1);
  expect(await readFile(target, "utf8")).toBe(winners[0]);
});

test("a move that fails gives the name free again", async () => {
  await expect(moveToNew(join(folder, "nothing"), join(folder, "to"))).rejects.toMatchObject({
    code: "ENOENT",
  });
  expect(await readdir(folder)).toEqual([]);
});

test("a folder aside is its owner's alone, and is found again, unlike what others have put there", async () => {
  const target = join(folder, "kyc.tar.gz");
  const made = await makeFolderAside(target);
  expect(await modeOf(made)).toBe("700");
  await mkdir(`${target}.unfinished`);
  await symlink(made, `${target}.unfinished-abcdef`);
  await writeFile(`${target}.unfinished-ghijkl`, "");
  const strange = await makeFolderAside(target);
  if (isRoot) await chown(strange, STRANGER, STRANGER);
  expect(await findFoldersAside(target)).toEqual(isRoot ? [made] : [made, strange].sort());
});

test.each([
  ...[["700", false] as const, ["755", false] as const, ["777", true] as const],
  ...[["1777", false] as const, ["757", true] as const],
])("a folder of mode %s lets others replace what is in it: %s", async (mode, lets) => {
  await chmod(folder, Number.parseInt(mode, 8));
  expect(await letsOthersReplace(folder)).toBe(lets);
});

test.runIf(isRoot)(
  "a folder of another user, or of a group with others in it, lets them replace files",
  async () => {
    await chmod(folder, 0o770);
    expect(await letsOthersReplace(folder)).toBe(false);
    await chown(folder, 0, STRANGER);
    expect(await letsOthersReplace(folder)).toBe(true);
    await chmod(folder, 0o1777);
    await chown(folder, STRANGER, 0);
    expect(await letsOthersReplace(folder)).toBe(true);
  },
);

test.each([
  ...[
    ["400", "400"],
    ["600", "600"],
    ["440", "400"],
    ["444", "400"],
    ["644", "600"],
    ["777", "700"],
  ],
] as const)("a file of this user of mode %s is made %s", async (mode, after) => {
  const file = join(folder, "file");
  await writeFile(file, "");
  await chmod(file, Number.parseInt(mode, 8));
  await makePrivate(file);
  expect(await modeOf(file)).toBe(after);
});

test.runIf(isRoot).each([
  ...[
    ["440", "440"],
    ["640", "640"],
    ["644", "640"],
    ["660", "640"],
  ],
] as const)("a file of another user of mode %s, read through its group, is made %s", async (mode, after) => {
  const file = join(folder, "file");
  await writeFile(file, "");
  await chmod(file, Number.parseInt(mode, 8));
  await chown(file, STRANGER, 0);
  await makePrivate(file);
  expect(await modeOf(file)).toBe(after);
});
