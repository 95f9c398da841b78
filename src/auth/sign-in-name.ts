import { createHmac } from "node:crypto";
import type { Database } from "../db/client.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { openSecret } from "../sealing/secrets.ts";

/** Returns the name of an identity provider's subject for logs and the audit trail. */
export type NameSignIn = (issuer: string, subject: string) => string;

/** Hexadecimal digits. */
const LENGTH = 16;

/**
 * Opens the function that names subjects. All gateways of the database give the same names. A subject is often a mail
 * address; because the name is keyed with a secret, nobody can find the address by guessing. Fails as `openSecret` does.
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
