import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { LRUCache } from "lru-cache";
import { type Cipher, createCipher } from "./cipher.ts";
import type { Milestone } from "./milestones.ts";

/** A key as it is configured: its id, and 32 secret bytes. */
export interface EncryptionKey {
  id: string;
  secret: Buffer;
}

/** What a digest stands for: each purpose has a key of its own, so that equal texts can't be matched across them. */
export type DigestPurpose = "document_number" | "idempotent_request";

/** A text that is sealed under a key that the gateway was not given. */
export class MissingKeyError extends Error {
  readonly keyId: string;

  constructor(keyId: string) {
    super(`the encryption key "${keyId}" is needed and is not among the given ones`);
    this.name = "MissingKeyError";
    this.keyId = keyId;
  }
}

/** Between the id of the key and what it sealed: no id of a key may have it. */
const SEPARATOR = ".";

/** The id of the key under which a text is sealed. */
export function keyIdOf(sealed: string): string {
  return sealed.slice(0, sealed.indexOf(SEPARATOR));
}

/** Derived account keys that are kept. */
const CACHED_ACCOUNTS = 10_000;

/**
 * Seals, authenticates and digests under the newest of its keys, and opens what any of them sealed. From each key it
 * derives others with HKDF-SHA-256: one that encrypts, one that authenticates, and for digests one for each purpose and
 * account.
 */
export class Keyring {
  /** What the database of these keys has reached: this decides how numbers are sealed, and which are opened. */
  readonly reached = new Set<Milestone>();
  /** How many texts each key has sealed since that was added to the database's count, by the key's id. */
  readonly sealCounts = new Map<string, number>();
  #keyIds: readonly string[] = [];
  readonly #ciphers = new Map<string, Cipher>();
  readonly #secrets = new Map<string, Buffer>();
  readonly #macKeys = new Map<string, Buffer>();
  readonly #digestKeys = new LRUCache<string, Buffer>({ max: CACHED_ACCOUNTS });

  /** The newest key first; at least one, with ids that differ. */
  constructor(keys: readonly EncryptionKey[]) {
    if (keys.length === 0) throw new Error("a keyring needs a key");
    this.adopt(keys);
  }

  /** Newest first. */
  get keyIds(): readonly string[] {
    return this.#keyIds;
  }

  get newestId(): string {
    return this.#keyIds[0] as string;
  }

  /** Takes these keys, the newest first, before those that it has already, none of which it loses. */
  adopt(keys: readonly EncryptionKey[]): void {
    for (const { id, secret } of keys) {
      if (this.#secrets.has(id)) continue;
      this.#secrets.set(id, secret);
      this.#ciphers.set(id, createCipher(derive(secret, "encrypt")));
    }
    this.#keyIds = [...new Set([...keys.map(({ id }) => id), ...this.#keyIds])];
  }

  /**
   * The text, encrypted and authenticated under the newest key, with that key's id before it. It can be opened with
   * the same `place` only: what names where it lies, account and record included.
   */
  seal(text: string, place: string): string {
    const keyId = this.newestId;
    this.sealCounts.set(keyId, (this.sealCounts.get(keyId) ?? 0) + 1);
    return keyId + SEPARATOR + this.#cipher(keyId).encrypt(text, place);
  }

  /**
   * The text that was sealed at the place. Fails with a MissingKeyError if its key is not among these, and with an
   * Error without values if it was sealed elsewhere or changed since.
   */
  open(sealed: string, place: string): string {
    const at = sealed.indexOf(SEPARATOR);
    if (at < 0) throw new Error("it is no sealed text");
    return this.#cipher(sealed.slice(0, at)).decrypt(sealed.slice(at + 1), place);
  }

  /** The keyed HMAC-SHA-256 of the text under the newest key, with that key's id before it. */
  authenticate(text: string): string {
    return this.newestId + SEPARATOR + this.#mac(this.newestId, text).toString("base64url");
  }

  /** Whether the MAC was made of this text. Fails with a MissingKeyError if its key is not among these. */
  isAuthentic(mac: string, text: string): boolean {
    const at = mac.indexOf(SEPARATOR);
    if (at < 0) return false;
    const given = Buffer.from(mac.slice(at + 1), "base64url");
    const expected = this.#mac(mac.slice(0, at), text);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  #mac(keyId: string, text: string): Buffer {
    let key = this.#macKeys.get(keyId);
    if (!key) {
      key = derive(this.#secret(keyId), "authenticate");
      this.#macKeys.set(keyId, key);
    }
    return createHmac("sha256", key).update(text).digest();
  }

  #secret(keyId: string): Buffer {
    const secret = this.#secrets.get(keyId);
    if (!secret) throw new MissingKeyError(keyId);
    return secret;
  }

  #cipher(keyId: string): Cipher {
    const cipher = this.#ciphers.get(keyId);
    if (!cipher) throw new MissingKeyError(keyId);
    return cipher;
  }

  /**
   * The keyed HMAC-SHA-256 of the text in base64url: equal for equal texts of one account and purpose, and of no use
   * without the key. `keyId` says under which of the keys; the newest unless told.
   */
  digest(purpose: DigestPurpose, accountId: string, text: string, keyId: string = this.newestId): string {
    return createHmac("sha256", this.#digestKey(keyId, purpose, accountId))
      .update(text)
      .digest("base64url");
  }

  /** What tells the key of this id from any other: of no use without it. */
  fingerprint(keyId: string): string {
    return derive(this.#secret(keyId), "fingerprint").toString("base64url");
  }

  #digestKey(keyId: string, purpose: DigestPurpose, accountId: string): Buffer {
    const name = `${keyId} ${purpose} ${accountId}`;
    let key = this.#digestKeys.get(name);
    if (!key) {
      key = derive(this.#secret(keyId), `digest ${purpose} ${accountId}`);
      this.#digestKeys.set(name, key);
    }
    return key;
  }
}

function derive(secret: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "kyc-gateway", purpose, 32));
}
