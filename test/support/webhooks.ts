import { byCommand } from "../../src/administration/record-act.ts";
import { startSealer } from "../../src/ledger/seal.ts";
import { createPolicy } from "../../src/webhooks/addresses.ts";
import { startDeliverer } from "../../src/webhooks/deliverer.ts";
import type { Delivering, DeliveryOutcome } from "../../src/webhooks/delivering.ts";
import type { WebhookEventType } from "../../src/webhooks/event-types.ts";
import { createEndpoint, type ShownSecret } from "../../src/webhooks/manage-endpoints.ts";
import { DELIVERY_TIMING, type DeliveryTiming } from "../../src/webhooks/timing.ts";
import type { TestApp } from "./app.ts";
import { plainDigests } from "./ledger.ts";

const LOOPBACK = ["127.0.0.0/8"];
const ALL: WebhookEventType[] = ["kyc.created", "kyc.updated", "kyc.deleted"];

/** A schedule of milliseconds in the place of days. */
export const SHORT_TIMING: DeliveryTiming = {
  ...DELIVERY_TIMING,
  ...{ schedule: [0, 20, 40, 60, 80, 100], jitter: 0.1, timeoutMs: 300 },
  ...{ leaseMs: 2000, lookMs: 40, followMs: 100, graceMs: 200, wakeMs: 500 },
};

/** Adds a webhook as an operator does, also one on the loopback. */
export function addWebhook(
  { db, keys }: Pick<TestApp, "db" | "keys">,
  accountId: string,
  url: string,
  eventTypes: WebhookEventType[] = ALL,
  networks: readonly string[] = LOOPBACK,
): Promise<ShownSecret> {
  const managing = { accountId, by: byCommand(), keys, networks, now: Date.now() };
  return db.transaction((tx) => createEndpoint(tx, managing, { url, eventTypes }));
}

/** A deliverer of a test, and a sealer: without one, no event has a position. */
export interface TestDeliverer {
  outcomes: DeliveryOutcome[];
  lines: { message: string; details: Record<string, unknown> }[];
  stop(): Promise<void>;
}

/** Starts both on the database of the gateway. */
export function startTestDeliverer(
  { db, keys }: Pick<TestApp, "db" | "keys">,
  changes: Partial<Delivering> = {},
): TestDeliverer {
  const outcomes: DeliveryOutcome[] = [];
  const lines: TestDeliverer["lines"] = [];
  const log = {
    warn: (details: object, message: string) => void lines.push({ message, details: { ...details } }),
    error: (details: object, message: string) => void lines.push({ message, details: { ...details } }),
  };
  const stopSealer = startSealer({ db, openDigests: plainDigests, log: { warn: () => {}, error: () => {} } });
  const deliverer = startDeliverer({
    ...{ db, keys, log: log as Delivering["log"], policy: createPolicy(LOOPBACK), timing: SHORT_TIMING },
    ...{ now: Date.now, onAttempt: (outcome: DeliveryOutcome) => void outcomes.push(outcome) },
    ...changes,
  });
  return {
    outcomes,
    lines,
    stop: async () => {
      await Promise.all([deliverer.stop(), stopSealer()]);
    },
  };
}
