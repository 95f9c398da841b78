import { createHmac } from "node:crypto";
import type { Database } from "../db/client.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { openSecret } from "../sealing/secrets.ts";

/** Returns the digest of a customer's id, which differs from account to account. */
export type DigestCustomer = (accountId: string, customerId: string) => Buffer;

/** Bytes: so many that two customers never have the same. */
const LENGTH = 16;

/**
 * Opens the function that digests the ids of customers for the trail. All gateways of the database compute the same
 * digests. They are keyed with a secret, so without the encryption keys nobody can find an id by trying. Fails as
 * `openSecret` does.
 */
export async function openCustomerDigests(db: Database, keys: Keyring): Promise<DigestCustomer> {
  const secret = await openSecret(db, keys, "customers of events");
  return (accountId, customerId) =>
    createHmac("sha256", secret)
      .update(JSON.stringify([accountId, customerId]))
      .digest()
      .subarray(0, LENGTH);
}
