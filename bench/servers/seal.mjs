// Document numbers sealed as the gateway seals them, so that both read the same table.
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomFillSync,
} from "node:crypto";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** @typedef {{ id: string, version: number }} Version a record at one of its versions */

/** @param {string} keys the newest of the ENCRYPTION_KEYS is the only one that is used */
export function openSeal(keys) {
  const [keyId, base64] = /** @type {[string, string]} */ (keys.split(":"));
  const derive = (/** @type {string} */ purpose) =>
    createSecretKey(
      Buffer.from(hkdfSync("sha256", Buffer.from(base64, "base64"), "kyc-gateway", purpose, 32)),
    );
  const key = derive("encrypt");
  /** @type {Map<string, import("node:crypto").KeyObject>} */
  const digestKeys = new Map();
  const digestKey = (/** @type {string} */ account) => {
    const known = digestKeys.get(account) ?? derive(`digest document_number ${account}`);
    digestKeys.set(account, known);
    return known;
  };
  const place = (/** @type {string} */ account, /** @type {Version} */ { id, version }) =>
    Buffer.from(`kycs ${account} ${id} ${version}`);
  const prefix = `${keyId}.`;
  return {
    /** The number in AES-256-GCM, padded, with the account, the id and the version as associated data. */
    seal: (/** @type {string} */ number, /** @type {string} */ account, /** @type {Version} */ record) => {
      const nonce = nextNonce();
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(place(account, record));
      const sealed = [nonce, cipher.update(pad(number), "utf8"), cipher.final(), cipher.getAuthTag()];
      return prefix + Buffer.concat(sealed).toString("base64url");
    },
    /** Fails unless it was sealed for this version of the record. */
    unseal: (/** @type {string} */ sealed, /** @type {string} */ account, /** @type {Version} */ record) => {
      const bytes = Buffer.from(sealed.slice(prefix.length), "base64url");
      const end = bytes.length - TAG_BYTES;
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(place(account, record)).setAuthTag(bytes.subarray(end));
      const number = decipher.update(bytes.subarray(NONCE_BYTES, end));
      decipher.final();
      return unpad(number.toString());
    },
    /** A digest that finds equal numbers in one account without revealing them. */
    digest: (/** @type {string} */ number, /** @type {string} */ account) =>
      createHmac("sha256", digestKey(account)).update(number).digest("base64url"),
  };
}

const FILLER = "\0";
const SHORTEST = 16;

/** Up to 16, 32, 64 … bytes. */
function pad(/** @type {string} */ number) {
  const bytes = Buffer.byteLength(number);
  let length = SHORTEST;
  while (length < bytes) length *= 2;
  return number + FILLER.repeat(length - bytes);
}

function unpad(/** @type {string} */ padded) {
  const end = padded.indexOf(FILLER);
  return end === -1 ? padded : padded.slice(0, end);
}

// Drawn for many numbers at once: one draw takes as long as one encryption.
const drawn = Buffer.alloc(NONCE_BYTES * 256);
let used = drawn.length;

function nextNonce() {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  used += NONCE_BYTES;
  return Buffer.from(drawn.subarray(used - NONCE_BYTES, used));
}
