import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Database } from "../db/client.ts";
import { startRecurring } from "../lib/recurring.ts";
import { spread } from "../lib/spread.ts";
import type { Metrics } from "../metrics.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { createPolicy } from "../webhooks/addresses.ts";
import { type Deliverer, startDeliverer } from "../webhooks/deliverer.ts";
import { readFigures } from "../webhooks/lease-store.ts";
import { DELIVERY_TIMING } from "../webhooks/timing.ts";

/** From one reading of the figures to the next. Milliseconds. */
const FIGURES_MS = 15_000;

interface WebhookProcess {
  config: Pick<Config, "webhookAllowPrivate">;
  db: Database;
  keys: Keyring;
  log: Logger;
  metrics: Pick<Metrics, "countDelivery" | "setWebhooks">;
}

/** Delivers webhooks until it is stopped. */
export function deliverWebhooks({ config, db, keys, log, metrics }: WebhookProcess): Deliverer {
  return startDeliverer({
    ...{ db, keys, log, timing: DELIVERY_TIMING, now: Date.now, onAttempt: metrics.countDelivery },
    policy: createPolicy(config.webhookAllowPrivate),
  });
}

/** Reads the figures of webhooks for the metrics, whichever process delivers them. */
export function watchWebhooks({
  db,
  log,
  metrics,
}: Omit<WebhookProcess, "config" | "keys">): () => Promise<void> {
  return startRecurring({
    work: async () => metrics.setWebhooks(await readFigures(db)),
    pause: () => spread(FIGURES_MS, 0.1),
    onFailure: (err) => log.warn({ err }, "the figures of webhooks could not be read"),
  });
}
