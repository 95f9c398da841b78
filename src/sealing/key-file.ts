import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { DataDirError, openDataDir } from "../db/embedded/data-dir.ts";
import { createWholeFile, currentUser, makePrivate, replaceFile } from "../lib/private-files.ts";
import { ConfigError } from "../lib/settings.ts";
import { formatKey, parseKeys } from "./key-list.ts";
import type { EncryptionKey } from "./keyring.ts";

/** How long we wait for another process that has created the file and not filled it yet. It takes far less. */
const EMPTY_FOR_MS = 1000;
const LOOK_AGAIN_AFTER_MS = 50;

/** Creates a key whose id begins with the date. `now` is in epoch milliseconds. */
export function mintKey(now: number): EncryptionKey {
  const day = new Date(now).toISOString().slice(0, 10);
  return { id: `${day}-${randomBytes(4).toString("hex")}`, secret: randomBytes(32) };
}

/**
 * The keys in the file, newest first, or null if there is no such file. Permissions of other users are removed, except
 * those of the group through which this user reads it. If that fails, as on a read-only volume, `onWarning` is called.
 * Fails with a ConfigError if the file can't be read or contains something else.
 */
export async function readKeyFile(
  path: string,
  onWarning: (message: string) => void = () => {},
): Promise<EncryptionKey[] | null> {
  const text = await readText(path);
  if (text === null) return null;
  await makePrivate(path).catch((error) => {
    onWarning(
      `other users may read or change the key file ${path}, and its mode can't be changed: ${codeOf(error)}`,
    );
  });
  return parseText(path, text);
}

/** The keys in the file, newest first, which stays as it is. Fails as `readKeyFile`, and if there is no such file. */
export async function readKeyList(path: string): Promise<EncryptionKey[]> {
  const text = await readText(path);
  if (text === null) throw new ConfigError([`there is no file ${path}`]);
  return parseText(path, text);
}

function parseText(path: string, text: string): EncryptionKey[] {
  const { keys, faults } = parseKeys(text.trim().split("\n"));
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `the file ${path} ${fault}`));
  return keys;
}

/** Fails with a ConfigError if another user than this one and root owns the file: that user may know the keys. */
export async function requireOwnKeyFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  const user = currentUser();
  if (!found || user === undefined || found.uid === user || found.uid === 0) return;
  throw new ConfigError([
    `the file ${path} belongs to the user ${found.uid}, and this process runs as the user ${user}: chown it, if you trust its keys`,
  ]);
}

async function readText(path: string): Promise<string | null> {
  for (let waited = 0; ; waited += LOOK_AGAIN_AFTER_MS) {
    try {
      const text = await readFile(path, "utf8");
      if (text !== "" || waited >= EMPTY_FOR_MS) return text;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return null;
      throw new ConfigError([`the file ${path} can't be read: ${codeOf(error)}`]);
    }
    await wait(LOOK_AGAIN_AFTER_MS);
  }
}

/**
 * Creates the file with these keys, unless another process has just created it, and returns the keys in it. Fails with a
 * ConfigError, and leaves nothing, if the file can't be written or other users can access its folder.
 */
export async function createKeyFile(path: string, keys: readonly EncryptionKey[]): Promise<EncryptionKey[]> {
  try {
    openDataDir(dirname(path));
    await createWholeFile(path, format(keys));
  } catch (error) {
    if (error instanceof DataDirError && error.code === undefined) throw new ConfigError([error.message]);
    const others = codeOf(error) === "EEXIST" ? await readKeyFile(path) : null;
    if (others) return others;
    throw new ConfigError([`the file ${path} can't be made: ${codeOf(error)}`]);
  }
  return [...keys];
}

/** Replaces the keys in the file. The file is complete at every moment, even after a power cut. */
export async function replaceKeyFile(path: string, keys: readonly EncryptionKey[]): Promise<void> {
  await replaceFile(path, format(keys));
}

const format = (keys: readonly EncryptionKey[]) => keys.map((key) => `${formatKey(key)}\n`).join("");

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;
