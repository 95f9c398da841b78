import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Administrator } from "../administration/record-act.ts";
import type { Database } from "../db/client.ts";
import { makePrivate, replaceFile } from "../lib/private-files.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { SCOPES } from "./scopes.ts";
import { hashToken } from "./token-secret.ts";
import { findToken, grantScope, issueToken, withdrawToken } from "./tokens.ts";

const ACCOUNT = "demo";
const NAME = "development";
/** The scopes that a development token of an earlier release can lack. */
const NEW_SCOPES = ["kyc:pii", "kyc:hold", "webhooks:manage"] as const;

/** The path of the file with the development token in this data folder. */
export const devTokenFile = (dataDir: string): string => join(resolve(dataDir), "dev-token");

/**
 * Afterwards `file`, which only its owner can read, contains a token of the account `demo` with every scope. An existing
 * token is kept, even if it has been revoked. Returns the token, or null if it is revoked. A development token of an
 * earlier release gets the scopes that were added since; no other token does. If the file can't be written, this fails,
 * and no usable token remains.
 */
export async function ensureDevToken(
  db: Database,
  keys: Keyring,
  file: string,
  now: number,
  by: Administrator | null,
): Promise<string | null> {
  const known = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const hash = hashToken(known.trim());
  const token = await findToken(db, keys, hash);
  if (token) {
    for (const scope of NEW_SCOPES) await grantScope(db, keys, { hash, scope, now }, by);
    await makePrivate(file);
    return token.revokedAt === null ? known.trim() : null;
  }
  const issue = { accountId: ACCOUNT, name: NAME, scopes: SCOPES, expiresAt: null, now };
  const secret = await issueToken(db, keys, issue, by);
  await replaceFile(file, `${secret}\n`).catch(async (error) => {
    await withdrawToken(db, keys, secret, now, by);
    throw error;
  });
  return secret;
}
