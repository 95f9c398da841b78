import type { Authenticate } from "../auth/authenticate.ts";
import { AppError } from "../errors.ts";
import { withinSpans } from "../lib/span-scope.ts";

/** From one check of all watched tokens to the next. Milliseconds. */
const CHECK_MS = 500;
/** A token that was looked up less than so long ago is not looked up again. Milliseconds. */
const FRESH_MS = 300;

/** Calls back once if the token of this header stops being valid. The returned function ends the watch. */
type WatchToken = (authorization: string | undefined, onInvalid: () => void) => () => void;

/**
 * Watches the tokens of long requests. Requests with one token share its look-up, and the look-ups of all tokens are sent
 * together. If the database can't be reached, no callback is called. Nothing is read if no token is watched.
 */
export function createTokenWatch(authenticate: Authenticate): WatchToken {
  const watched = new Map<string | undefined, Set<() => void>>();
  let timer: NodeJS.Timeout | undefined;

  function check(): void {
    for (const [authorization, callbacks] of watched) {
      authenticate(authorization, FRESH_MS).catch((error) => {
        if (!(error instanceof AppError) || error.code !== "UNAUTHENTICATED") return;
        for (const callback of callbacks) callback();
      });
    }
  }

  return (authorization, onInvalid) => {
    const callbacks = watched.get(authorization) ?? new Set();
    watched.set(authorization, callbacks);
    // One function can be given several times.
    const callback = () => onInvalid();
    callbacks.add(callback);
    timer ??= withinSpans([], () => setInterval(check, CHECK_MS).unref());
    return () => {
      callbacks.delete(callback);
      if (callbacks.size === 0 && watched.get(authorization) === callbacks) watched.delete(authorization);
      if (watched.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  };
}
