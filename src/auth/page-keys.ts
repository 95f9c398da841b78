import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** How long a link with a key is valid. Milliseconds. */
export const PAGE_KEY_LIFETIME_MS = 3_600_000;

const SHAPE = /^([0-9a-z]{8,9})\.[\w-]{22}\.[\w-]{43}$/;

/**
 * Creates a key that a page can exchange once for the development token, until `PAGE_KEY_LIFETIME_MS` after `now` (epoch
 * milliseconds). It is authenticated with the token itself, so only those who can read the token can create keys.
 */
export function makePageKey(token: string, now: number): string {
  const claim = `${now.toString(36)}.${randomBytes(16).toString("base64url")}`;
  return `${claim}.${authenticate(claim, token)}`;
}

/** Checks page keys. Keys that were created before the gateway started are refused, because they may have been used. */
export class PageKeys {
  readonly #token: string;
  readonly #startedAt: number;
  /** The creation times of used keys that have not expired. */
  readonly #used = new Map<string, number>();

  /** `now` is in epoch milliseconds. */
  constructor(token: string, now: number) {
    this.#token = token;
    this.#startedAt = now;
  }

  /** Whether the key is authentic, not expired, and unused. Afterwards it is used. */
  redeem(key: string, now: number): boolean {
    const madeAt = Number.parseInt(SHAPE.exec(key)?.[1] ?? "", 36);
    const claim = key.slice(0, key.lastIndexOf("."));
    if (Number.isNaN(madeAt) || !isEqual(key, `${claim}.${authenticate(claim, this.#token)}`)) return false;
    const earliest = Math.max(this.#startedAt, now - PAGE_KEY_LIFETIME_MS);
    for (const [used, usedMadeAt] of this.#used) if (usedMadeAt < earliest) this.#used.delete(used);
    if (madeAt < earliest || this.#used.has(key)) return false;
    this.#used.set(key, madeAt);
    return true;
  }
}

function authenticate(claim: string, token: string): string {
  return createHmac("sha256", token).update(`page key ${claim}`).digest("base64url");
}

function isEqual(given: string, expected: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(expected)];
  return left.length === right.length && timingSafeEqual(left, right);
}
