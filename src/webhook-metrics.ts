import { Counter, Gauge, type Registry } from "prom-client";
import type { DeliveryOutcome } from "./webhooks/delivering.ts";
import type { WebhookFigures } from "./webhooks/lease-store.ts";

/** Gets what happens to webhooks. */
export interface WebhookMetrics {
  countDelivery(outcome: DeliveryOutcome): void;
  /** The work that all webhooks on the database have before them. */
  setWebhooks(figures: WebhookFigures): void;
}

const OUTCOMES = ["delivered", "failed", "given_up"] as const satisfies DeliveryOutcome[];

/** Adds the figures of webhooks. */
export function addWebhooks(registry: Registry): WebhookMetrics {
  const gauge = (name: string, help: string) => {
    const added = new Gauge({ name, help, registers: [registry] });
    added.set(0);
    return added;
  };
  const attempts = new Counter({
    name: "webhook_attempts_total",
    help: "Attempts of this process to deliver an event to a webhook: delivered, failed and to be repeated, or given up.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  for (const outcome of OUTCOMES) attempts.inc({ outcome }, 0);
  const states = new Gauge({
    name: "webhooks",
    help: "Webhooks of all accounts by state. Each process counts: take the maximum.",
    labelNames: ["state"],
    registers: [registry],
  });
  const behind = gauge(
    "webhook_lag_events",
    "Events that the last enabled webhook has not come to, by position. Each process counts: take the maximum.",
  );
  const held = gauge(
    "webhook_held_events",
    "Deliveries that have waited for five seconds, because they or an earlier change of their record failed; up to 100,000. Each process counts: take the maximum.",
  );
  const set = (figures: WebhookFigures) => {
    states.set({ state: "enabled" }, figures.enabled);
    states.set({ state: "disabled" }, figures.disabled);
    behind.set(figures.behind);
    held.set(figures.held);
  };
  set({ enabled: 0, disabled: 0, behind: 0, held: 0 });
  return { countDelivery: (outcome) => attempts.inc({ outcome }), setWebhooks: set };
}
