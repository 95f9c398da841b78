import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { LRUCache } from "lru-cache";
import { type Cipher, createCipher } from "./cipher.ts";

/**
 * States that a database reaches once and never leaves. A new database has all of them from its first start; one from an
 * earlier release reaches them one after another.
 *
 * `numbers_sealed`: no document number is plain. From now on a plain number is neither shown nor sealed.
 * `numbers_bind`: each new document number is sealed for one version of its record.
 * `numbers_bound`: all document numbers are. From now on a number that is not bound is not shown.
 * `tokens_authentic`: every token has a MAC.
 *
 * `ledger_signed`, which is reached when it is first needed: the ledger has a signing key. From now on a missing one is not
 * replaced without an operator.
 */
export type Milestone =
  | "numbers_sealed"
  | "numbers_bind"
  | "numbers_bound"
  | "tokens_authentic"
  | "ledger_signed";

/** A configured key: its id and 32 secret bytes. */
export interface EncryptionKey {
  id: string;
  secret: Buffer;
}

/** The purpose of a digest. Each purpose has its own key, so that equal texts can't be matched across purposes. */
export type DigestPurpose = "document_number" | "idempotent_request" | "import";

/** A text is sealed under a key that the gateway does not have. */
export class MissingKeyError extends Error {
  readonly keyId: string;

  constructor(keyId: string) {
    super(`the encryption key "${keyId}" is needed and is not among the given ones`);
    this.name = "MissingKeyError";
    this.keyId = keyId;
  }
}

/** Separates a key's id from the sealed text. No key id contains it. */
const SEPARATOR = ".";

/** The id of the key under which a text is sealed. */
export function keyIdOf(sealed: string): string {
  return sealed.slice(0, sealed.indexOf(SEPARATOR));
}

/** The maximum number of derived account keys in the cache. */
const CACHED_ACCOUNTS = 10_000;

/**
 * Seals, authenticates and digests texts under its newest key, and opens texts sealed under any of its keys. It derives
 * further keys from each key with HKDF-SHA-256: one for encryption, one for authentication, and one for digests of each
 * purpose and account.
 */
export class Keyring {
  /** The milestones of the database. They decide how numbers are sealed and which are opened. */
  readonly reached = new Set<Milestone>();
  /** For each key id, the number of texts sealed since the count in the database was updated. */
  readonly sealCounts = new Map<string, number>();
  #keyIds: readonly string[] = [];
  readonly #ciphers = new Map<string, Cipher>();
  readonly #secrets = new Map<string, Buffer>();
  readonly #macKeys = new Map<string, Buffer>();
  readonly #digestKeys = new LRUCache<string, Buffer>({ max: CACHED_ACCOUNTS });

  /** `keys` has at least one key, newest first, with different ids. */
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

  /** Adds these keys, newest first, before the existing ones. No existing key is removed. */
  adopt(keys: readonly EncryptionKey[]): void {
    for (const { id, secret } of keys) {
      if (this.#secrets.has(id)) continue;
      this.#secrets.set(id, secret);
      this.#ciphers.set(id, createCipher(derive(secret, "encrypt")));
    }
    this.#keyIds = [...new Set([...keys.map(({ id }) => id), ...this.#keyIds])];
  }

  /**
   * Encrypts and authenticates the text under the newest key and prefixes the key's id. The result can be opened only with
   * the same associated data, which says where it is stored, including account and record.
   */
  seal(text: string, associatedData: string): string {
    const keyId = this.newestId;
    this.sealCounts.set(keyId, (this.sealCounts.get(keyId) ?? 0) + 1);
    return keyId + SEPARATOR + this.#cipher(keyId).encrypt(text, associatedData);
  }

  /**
   * Opens a sealed text. Fails with a MissingKeyError if the keyring does not have its key, and with an Error that
   * contains no values if it was changed or was sealed with other associated data.
   */
  open(sealed: string, associatedData: string): string {
    const at = sealed.indexOf(SEPARATOR);
    if (at < 0) throw new Error("it is no sealed text");
    return this.#cipher(sealed.slice(0, at)).decrypt(sealed.slice(at + 1), associatedData);
  }

  /** The HMAC-SHA-256 of the text under the newest key, prefixed with the key's id. */
  authenticate(text: string): string {
    return this.newestId + SEPARATOR + this.#mac(this.newestId, text).toString("base64url");
  }

  /** Whether the MAC is valid for this text. Fails with a MissingKeyError if the keyring does not have its key. */
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
   * The HMAC-SHA-256 of the text in base64url under the key `keyId` (default: the newest). Equal texts of one account and
   * purpose have equal digests. Without the key a digest reveals nothing.
   */
  digest(purpose: DigestPurpose, accountId: string, text: string, keyId: string = this.newestId): string {
    return createHmac("sha256", this.#digestKey(keyId, purpose, accountId))
      .update(text)
      .digest("base64url");
  }

  /** Identifies the key with this id. It reveals nothing about the key. */
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
