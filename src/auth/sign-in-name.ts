import { createHmac } from "node:crypto";
import type { Database } from "../db/client.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { openSecret } from "../sealing/secrets.ts";

/** The name that a subject of an identity provider has in logs and in the audit trail. */
export type NameSignIn = (issuer: string, subject: string) => string;

/** Hexadecimal digits. */
const LENGTH = 16;

/**
 * Names subjects, in the same way on every gateway of the database. A subject is often a mail address: without the
 * secret nobody can find out by trying which one a name stands for. Fails as `openSecret` does.
 */
export async function openSignInNames(db: Database, keys: Keyring): Promise<NameSignIn> {
  const secret = await openSecret(db, keys, "sign-in names");
  return (issuer, subject) => {
    const digest = createHmac("sha256", secret)
      .update(JSON.stringify([issuer, subject]))
      .digest("hex");
    return `jwt_${digest.slice(0, LENGTH)}`;
  };
}
