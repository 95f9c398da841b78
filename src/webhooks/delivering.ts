import type { Database } from "../db/client.ts";
import type { FailureLog } from "../log.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { AddressPolicy } from "./addresses.ts";
import type { Lookup } from "./attempt.ts";
import type { DeliveryTiming } from "./timing.ts";

/** How an attempt ended, for the metrics. */
export type DeliveryOutcome = "delivered" | "failed" | "given_up";

/** Everything that a process needs to deliver. */
export interface Delivering {
  db: Database;
  keys: Keyring;
  log: FailureLog;
  policy: AddressPolicy;
  timing: DeliveryTiming;
  now(): number;
  onAttempt(outcome: DeliveryOutcome): void;
  /** Only for tests: the system's otherwise. */
  lookup?: Lookup | undefined;
  ca?: string | undefined;
}
