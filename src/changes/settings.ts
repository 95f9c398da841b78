import { integer } from "../lib/setting-values.ts";
import { setting, type ValuesOf } from "../lib/settings.ts";

export const changesSettings = {
  /** Streams and waiting requests for events that a process serves at once. */
  maxSubscribers: setting("MAX_SUBSCRIBERS", integer(1, 1_000_000).default(5000)),
  /** The same of one account. */
  maxAccountSubscribers: setting("MAX_SUBSCRIBERS_PER_ACCOUNT", integer(1, 1_000_000).default(2000)),
};
export type ChangesConfig = ValuesOf<typeof changesSettings>;
