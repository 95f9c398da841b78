import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import { unavailable } from "../errors.ts";

const FETCH_TIMEOUT_MS = 3000;
/** Older keys are fetched again before they are used, because the provider may have withdrawn one. */
const REFRESH_AFTER_MS = 10 * 60_000;
/** For this long after a failed fetch, requests whose key is known don't wait for another fetch. */
const NO_WAIT_AFTER_FAILURE_MS = 60_000;
/** Minimum interval between fetches, so that tokens with invented key ids don't cause one fetch each. */
const COOLDOWN_MS = 5000;

/**
 * Finds the key of a JWT among the keys that the provider publishes at `url`. The keys are fetched for the first token,
 * when they are old, and when a token names an unknown key. All waiting requests share one fetch, and fetches have a
 * minimum interval. If the provider does not answer, known keys are still used, and a search for another key fails with
 * UNAVAILABLE. Fails with jose's JWKSNoMatchingKey if the provider has no such key. `onFailure` is called for each failed
 * fetch while there are known keys; `elapsed` is a clock in milliseconds.
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
    if (last && elapsed() - last.startedAt < COOLDOWN_MS) return last.done;
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

  /** Fetches the keys if they are old and the provider answers. */
  async function refreshOld(): Promise<void> {
    if (elapsed() - fetchedAt <= REFRESH_AFTER_MS) return;
    const failedLately = elapsed() - failedAt < NO_WAIT_AFTER_FAILURE_MS;
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
  // A redirect could lead to a server that somebody else controls.
  const response = await fetch(url, {
    headers: { accept: "application/json, application/jwk-set+json" },
    redirect: "error",
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new RangeError(`the identity provider answered ${response.status}`);
  }
  return (await response.json()) as JSONWebKeySet;
}
