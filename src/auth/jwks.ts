import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import { unavailable } from "../errors.ts";

/** Milliseconds. */
const FETCH_TIMEOUT = 3000;
/** Keys that are older are fetched again before they are used: the provider may have dropped one. Milliseconds. */
const REFRESH_AFTER = 10 * 60_000;
/** How long after a fetch that failed nobody waits for another while known keys can serve. Milliseconds. */
const IMPATIENCE = 60_000;
/** Tokens that name keys which nobody has must not make one fetch each. Milliseconds. */
const COOLDOWN = 5000;

/**
 * Finds the key that a JWT is signed with among those that the provider publishes at `url`. They are fetched when
 * the first token comes, when they have become old, and when a token names one that is not among them; at most once
 * in a while, and once for all who wait. Where the provider does not answer, known keys go on serving, and asking for
 * others fails with UNAVAILABLE. Fails with jose's JWKSNoMatchingKey where the provider has no such key.
 * `onFailure` hears of each fetch that failed while there were known keys; `elapsed` is a clock in milliseconds.
 */
export function createKeySource(
  url: string,
  onFailure: (error: unknown) => void,
  elapsed: () => number = () => performance.now(),
): JWTVerifyGetKey {
  let keys: JWTVerifyGetKey | undefined;
  let fetchedAt = 0;
  let last: { startedAt: number; done: Promise<void> } | undefined;
  let failedAt = Number.NEGATIVE_INFINITY;

  function refresh(): Promise<void> {
    if (last && elapsed() - last.startedAt < COOLDOWN) return last.done;
    const startedAt = elapsed();
    const attempt = fetchKeys(url).then((fetched) => {
      keys = createLocalJWKSet(fetched);
      fetchedAt = startedAt;
    });
    last = { startedAt, done: attempt };
    attempt.catch((error) => {
      failedAt = elapsed();
      if (keys) onFailure(error);
    });
    return attempt;
  }

  /** Afterwards the keys are as fresh as the provider lets them be. */
  async function refreshOld(): Promise<void> {
    if (elapsed() - fetchedAt <= REFRESH_AFTER) return;
    const failedLately = elapsed() - failedAt < IMPATIENCE;
    const fresh = refresh().catch(() => {});
    if (!failedLately) await fresh;
  }

  return async (header, token) => {
    if (keys) {
      await refreshOld();
      try {
        return await keys(header, token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      }
    }
    await refresh().catch((error) => {
      throw unavailable(error);
    });
    return (keys as JWTVerifyGetKey)(header, token);
  };
}

async function fetchKeys(url: string): Promise<JSONWebKeySet> {
  // A redirect could lead to where anyone can answer.
  const response = await fetch(url, {
    headers: { accept: "application/json, application/jwk-set+json" },
    redirect: "error",
    signal: AbortSignal.timeout(FETCH_TIMEOUT),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new RangeError(`the identity provider answered ${response.status}`);
  }
  return (await response.json()) as JSONWebKeySet;
}
