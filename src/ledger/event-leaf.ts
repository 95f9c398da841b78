import { hash } from "node:crypto";
import type { AuditEvent } from "../audit/event.ts";

/** The first line of every leaf: a leaf of another form has another line here. */
const VERSION = "kyc-gateway event v1";

/** Bytes of the random salt of a hashed text. */
export const SALT_LENGTH = 16;

/** The values of an event that are in its leaf. */
export interface LeafEvent
  extends Pick<
    AuditEvent,
    | "at"
    | "tokenId"
    | "requestId"
    | "subject"
    | "kycIds"
    | "statusBefore"
    | "statusAfter"
    | "documentTypeAfter"
    | "versionAfter"
  > {
  accountId: string;
  surface: string;
  action: string;
  changedFields: readonly string[];
}

/** The values that its log adds. Free texts are in a leaf as salted hashes only, so that they can be erased. */
export interface LeafSeal {
  position: number;
  /** By `saltedHash`. */
  tokenNameHash: Buffer;
  /** By `saltedHash`; null if the event does not name who signed in. */
  actorHash: Buffer | null;
  /** By `saltedHash`; null if the event has no reason. */
  reasonHash: Buffer | null;
}

/**
 * The canonical text of an event: one line per value, in a fixed order. Two different events never have the same
 * text: no value contains a space or a line end, and a value that is absent has no line.
 *
 * It contains no name of a token or a person, and no reason: they are or can contain personal data, and a plain hash
 * of a short text can be guessed. It contains no digest of a customer's id either.
 */
export function toLeaf(event: LeafEvent, seal: LeafSeal): string {
  return (
    `${VERSION}\naccount ${escaped(event.accountId)}\nposition ${seal.position}\ntime ${event.at}\n` +
    `token ${escaped(event.tokenId)}\ntoken-name-hash ${seal.tokenNameHash.toString("hex")}\n` +
    lineOf("actor-hash", seal.actorHash?.toString("hex") ?? null) +
    `surface ${escaped(event.surface)}\nrequest ${escaped(event.requestId)}\naction ${escaped(event.action)}\n` +
    lineOf("subject", event.subject) +
    linesOf("record", event.kycIds) +
    linesOf("changed", event.changedFields) +
    lineOf("status-before", event.statusBefore) +
    lineOf("status-after", event.statusAfter) +
    lineOf("document-type-after", event.documentTypeAfter) +
    lineOf("version-after", event.versionAfter === null ? null : String(event.versionAfter)) +
    lineOf("reason-hash", seal.reasonHash?.toString("hex") ?? null)
  );
}

const lineOf = (name: string, value: string | null) => (value === null ? "" : `${name} ${escaped(value)}\n`);

function linesOf(name: string, values: readonly string[]): string {
  let lines = "";
  for (const value of values) lines += lineOf(name, value);
  return lines;
}

/** SHA-256 of the salt and the text in UTF-8. Without the salt the text can't be guessed from it. */
export function saltedHash(salt: Uint8Array, text: string): Buffer {
  if (salt.length !== SALT_LENGTH) throw new Error(`a salt has ${SALT_LENGTH} bytes, not ${salt.length}`);
  return hash("sha256", Buffer.concat([salt, Buffer.from(text)]), "buffer");
}

const PLAIN = /^[\w.~-]*$/;
const LEFT_BY_ENCODE_URI = /[!'()*]/g;

/**
 * Percent-encoding by RFC 3986: each byte of the UTF-8 text except A-Z a-z 0-9 - . _ ~ becomes % and two upper-case
 * hex digits. Fails with URIError if the text has half of a surrogate pair, which PostgreSQL can't store.
 */
export function escaped(text: string): string {
  if (PLAIN.test(text)) return text;
  return encodeURIComponent(text).replace(
    LEFT_BY_ENCODE_URI,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
