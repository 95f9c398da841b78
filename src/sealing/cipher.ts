import { createCipheriv, createDecipheriv, createSecretKey, randomFillSync } from "node:crypto";

const ALGORITHM = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Nonces are drawn from the system in batches of this size, because one draw costs as much as an encryption. */
const NONCES_DRAWN = 256;

/** AES-256-GCM under one key. */
export interface Cipher {
  /** Returns nonce, ciphertext and tag in base64url. */
  encrypt(text: string, associatedData: string): string;
  /** Fails, with an error that contains no values, unless this key encrypted it with the same associated data. */
  decrypt(encrypted: string, associatedData: string): string;
}

/** `key` has 32 bytes. A nonce is random: a key may encrypt some 2^32 texts (NIST SP 800-38D). */
export function createCipher(key: Buffer): Cipher {
  const secret = createSecretKey(key);
  return {
    encrypt: (text, associatedData) => {
      const nonce = nextNonce();
      const cipher = createCipheriv(ALGORITHM, secret, nonce).setAAD(Buffer.from(associatedData));
      const head = cipher.update(text, "utf8");
      const tail = cipher.final();
      return Buffer.concat([nonce, head, tail, cipher.getAuthTag()]).toString("base64url");
    },
    decrypt: (encrypted, associatedData) => {
      const bytes = Buffer.from(encrypted, "base64url");
      if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new Error("a sealed text is cut short");
      const tagAt = bytes.length - TAG_BYTES;
      const decipher = createDecipheriv(ALGORITHM, secret, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(associatedData)).setAuthTag(bytes.subarray(tagAt));
      try {
        // Decipher to bytes. If asked for text, Node creates a stream decoder, which takes a fifth of the total time.
        const text = decipher.update(bytes.subarray(NONCE_BYTES, tagAt));
        decipher.final();
        return text.toString();
      } catch {
        throw new Error(
          "a sealed text can't be opened: it was changed, or sealed elsewhere or under another key",
        );
      }
    },
  };
}

const drawn = Buffer.alloc(NONCE_BYTES * NONCES_DRAWN);
let used = drawn.length;

function nextNonce(): Buffer {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  // A copy, because the buffer is refilled.
  const nonce = Buffer.from(drawn.subarray(used, used + NONCE_BYTES));
  used += NONCE_BYTES;
  return nonce;
}
