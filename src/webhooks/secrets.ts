import { randomBytes, sign } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { type KeyPair, keyPairOf, publicBytes } from "../lib/ed25519.ts";
import type { Keyring } from "../sealing/keyring.ts";

/** The secrets and the key that sign the events of one webhook. */
export interface EndpointSecrets {
  /** `whsec_…`: the receiver has it, too. */
  secret: string;
  /** The secrets before it, oldest first, and until when each signs as well. Epoch milliseconds. */
  previous: { secret: string; until: number }[];
  /** The seed of its Ed25519 key in base64url, which nobody else has. */
  seed: string;
}

/** Bytes. */
const SECRET_LENGTH = 32;
const SEED_LENGTH = 32;

/** A new secret, as Standard Webhooks writes it. */
export function mintSecret(): string {
  return `whsec_${randomBytes(SECRET_LENGTH).toString("base64")}`;
}

/** The secrets of a new webhook. */
export function mintSecrets(): EndpointSecrets {
  return { secret: mintSecret(), previous: [], seed: randomBytes(SEED_LENGTH).toString("base64url") };
}

/** The associated data: sealed secrets open only in their own row. */
const placeOf = (accountId: string, id: string) => `webhook_endpoints ${JSON.stringify([accountId, id])}`;

/** The secrets as they are stored. */
export function sealSecrets(keys: Keyring, accountId: string, id: string, secrets: EndpointSecrets): string {
  return keys.seal(JSON.stringify(secrets), placeOf(accountId, id));
}

/** The stored secrets. Fails with a MissingKeyError without their key, and with an Error if somebody has changed them. */
export function openEndpointSecrets(
  keys: Keyring,
  accountId: string,
  id: string,
  sealed: string,
): EndpointSecrets {
  return JSON.parse(keys.open(sealed, placeOf(accountId, id)));
}

const keyPairIn = ({ seed }: EndpointSecrets): KeyPair => keyPairOf(Buffer.from(seed, "base64url"));

/** The public key that verifies the `v1a` signatures, as Standard Webhooks writes it. */
export function formatPublicKey(secrets: EndpointSecrets): string {
  return `whpk_${publicBytes(keyPairIn(secrets).publicKey).toString("base64")}`;
}

/** Returns the value of the header `webhook-signature` for a text that is sent now, with its id. */
export type SignMessage = (message: { id: string; at: Date; text: string }) => string;

/**
 * Signs with the secret, with the previous ones whose time is not over, and with the Ed25519 key. Callers keep the returned
 * function for further messages: making the key takes as long as several signatures.
 */
export function openSigner(secrets: EndpointSecrets): SignMessage {
  const { privateKey } = keyPairIn(secrets);
  return ({ id, at, text }) => {
    const previous = secrets.previous.filter(({ until }) => at.getTime() < until);
    const symmetric = [secrets, ...previous].map(({ secret }) => new Webhook(secret).sign(id, at, text));
    const signed = Buffer.from(`${id}.${Math.floor(at.getTime() / 1000)}.${text}`);
    return [...symmetric, `v1a,${sign(null, signed, privateKey).toString("base64")}`].join(" ");
  };
}
