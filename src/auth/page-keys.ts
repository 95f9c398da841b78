import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** How long a link with a key works. Milliseconds. */
export const PAGE_KEY_LIFETIME_MS = 3_600_000;

const SHAPE = /^([0-9a-z]{8,9})\.[\w-]{22}\.[\w-]{43}$/;

/**
 * A key that a page can exchange once for the token for development, until `PAGE_KEY_LIFETIME_MS` after `now` (epoch
 * milliseconds). It is authenticated with the token itself: only those who can read the token can make keys.
 */
export function makePageKey(token: string, now: number): string {
  const claim = `${now.toString(36)}.${randomBytes(16).toString("base64url")}`;
  return `${claim}.${authenticate(claim, token)}`;
}

/** The keys of one gateway. Those made before it started are refused: it can't know which of them were used. */
export class PageKeys {
  readonly #token: string;
  readonly #startedAt: number;
  /** The time when each used key was made, until the key expires. */
  readonly #used = new Map<string, number>();

  /** `now` is in epoch milliseconds. */
  constructor(token: string, now: number) {
    this.#token = token;
    this.#startedAt = now;
  }

  /** Whether the key is authentic, not expired, and was not used before. Afterwards it counts as used. */
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
