import { randomBytes } from "node:crypto";

/** An entry of ENCRYPTION_KEYS, with a new key. */
export function newKey(id: string): string {
  return `${id}:${randomBytes(32).toString("base64")}`;
}
