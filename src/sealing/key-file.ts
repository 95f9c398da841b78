import { randomBytes } from "node:crypto";
import { chmod, link, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError } from "../config.ts";
import { formatKey, parseKeys } from "./key-list.ts";
import type { EncryptionKey } from "./keyring.ts";

const MODE = 0o600;

/** A new key, with the day in its id. `now` is in epoch milliseconds. */
export function mintKey(now: number): EncryptionKey {
  const day = new Date(now).toISOString().slice(0, 10);
  return { id: `${day}-${randomBytes(4).toString("hex")}`, secret: randomBytes(32) };
}

/**
 * The keys in the file, newest first, or null where there is no such file. Afterwards its owner alone can read it.
 * Fails with a ConfigError where it holds something else.
 */
export async function readKeyFile(path: string): Promise<EncryptionKey[] | null> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (text === null) return null;
  await chmod(path, MODE);
  const { keys, faults } = parseKeys(text.trim().split("\n"));
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `the file ${path} ${fault}`));
  return keys;
}

/**
 * Afterwards the file holds keys, which come back: these, or those of another process that was faster. Fails with a
 * ConfigError where it can't be written.
 */
export async function createKeyFile(path: string, keys: readonly EncryptionKey[]): Promise<EncryptionKey[]> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const written = await writeAside(path, keys);
    // Unlike a renaming, a link never takes the place of a file that is there.
    await link(written, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    await rm(written);
    await syncFolder(path);
  } catch (error) {
    throw new ConfigError([`the file ${path} can't be made: ${(error as NodeJS.ErrnoException).code}`]);
  }
  return (await readKeyFile(path)) ?? [];
}

/** Afterwards the file holds these keys instead of its own: at every moment it is whole, also after a power cut. */
export async function replaceKeyFile(path: string, keys: readonly EncryptionKey[]): Promise<void> {
  await rename(await writeAside(path, keys), path);
  await syncFolder(path);
}

async function writeAside(path: string, keys: readonly EncryptionKey[]): Promise<string> {
  const aside = `${path}.${randomBytes(4).toString("hex")}.new`;
  const file = await open(aside, "wx", MODE);
  try {
    await file.writeFile(keys.map((key) => `${formatKey(key)}\n`).join(""));
    await file.sync();
  } finally {
    await file.close();
  }
  return aside;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
