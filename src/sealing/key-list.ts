import type { EncryptionKey } from "./keyring.ts";

const ID = /^[\w-]{1,32}$/;
/** 32 bytes in base64 or base64url. */
const SECRET = /^[A-Za-z0-9+/_-]{43}=?$/;

/**
 * Parses a list of `id:base64` entries. Returns the keys and all faults. A fault names an entry by its number and never
 * repeats its contents.
 */
export function parseKeys(entries: readonly string[]): { keys: EncryptionKey[]; faults: string[] } {
  const keys: EncryptionKey[] = [];
  const faults: string[] = [];
  for (const [index, entry] of entries.entries()) {
    const [id = "", secret = "", ...more] = entry.trim().split(":");
    const key = { id, secret: Buffer.from(secret, "base64") };
    const fault = (rule: string) => faults.push(`has a fault in its entry ${index + 1}: ${rule}`);
    if (more.length > 0 || !ID.test(id)) {
      fault("an entry is id:base64, and an id has 1 to 32 of A-Z a-z 0-9 _ -");
    } else if (!SECRET.test(secret)) fault("a key is 32 bytes in base64");
    else if (key.secret.every((byte) => byte === 0)) fault("a key of zeros protects nothing");
    else if (keys.some((other) => other.id === id)) fault("its id is that of another one");
    else if (keys.some((other) => other.secret.equals(key.secret))) fault("its key is that of another one");
    else keys.push(key);
  }
  return { keys, faults };
}

/** Formats a key as an entry of a list of keys. */
export function formatKey({ id, secret }: EncryptionKey): string {
  return `${id}:${secret.toString("base64")}`;
}
