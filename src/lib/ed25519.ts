import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";

/** DER before the 32 bytes of a private key, by RFC 8410. */
const PRIVATE_KEY_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
/** A public key's fields besides its bytes, by RFC 8037. Node.js 20 takes at least ten times as long for DER. */
const PUBLIC_JWK = { kty: "OKP", crv: "Ed25519" };

/** An Ed25519 key pair. */
export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** The key pair of a seed of 32 random bytes. Making it takes as long as several signatures, so callers that sign often keep it. */
export function keyPairOf(seed: Uint8Array): KeyPair {
  const key = Buffer.concat([PRIVATE_KEY_PREFIX, seed]);
  const privateKey = createPrivateKey({ key, format: "der", type: "pkcs8" });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** The public key with these 32 bytes. Fails if there are more or less. */
export function publicKeyOf(bytes: Uint8Array): KeyObject {
  const x = Buffer.from(bytes).toString("base64url");
  return createPublicKey({ key: { ...PUBLIC_JWK, x }, format: "jwk" });
}

/** The 32 bytes of a public key. */
export function publicBytes(publicKey: KeyObject): Buffer {
  return Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
}
