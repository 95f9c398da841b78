import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Database } from "../db/client.ts";
import { makePrivate, replaceFile } from "../lib/private-files.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { SCOPES } from "./scopes.ts";
import { hashToken } from "./token-secret.ts";
import { findToken, grantScope, issueToken, withdrawToken } from "./tokens.ts";

const ACCOUNT = "demo";
const NAME = "development";

/** The file with the token for development of the gateway with this data folder. */
export const devTokenFile = (dataDir: string): string => join(resolve(dataDir), "dev-token");

/**
 * Afterwards `file` (readable by its owner alone) holds a token of the account `demo` with every scope. A token
 * that the file holds already is kept, also one that was revoked since. Returns the token, null for a revoked one. One
 * that an earlier release made sees what it saw: it gets `kyc:pii`, and no other token does. If the file can't be
 * written, this fails, and no token is left that opens anything.
 */
export async function ensureDevToken(
  db: Database,
  keys: Keyring,
  file: string,
  now: number,
): Promise<string | null> {
  const known = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const hash = hashToken(known.trim());
  const token = await findToken(db, keys, hash);
  if (token) {
    await grantScope(db, keys, { hash, scope: "kyc:pii" });
    await makePrivate(file);
    return token.revokedAt === null ? known.trim() : null;
  }
  const secret = await issueToken(db, keys, {
    accountId: ACCOUNT,
    name: NAME,
    scopes: SCOPES,
    expiresAt: null,
    now,
  });
  await replaceFile(file, `${secret}\n`).catch(async (error) => {
    await withdrawToken(db, keys, secret, now);
    throw error;
  });
  return secret;
}
