import { type Command, Option } from "commander";
import { wordsOf } from "../vocabulary.ts";
import type { WebhookDelivery } from "../webhooks/delivery-list-store.ts";
import type { StoredEndpoint } from "../webhooks/endpoint.ts";
import { findEndpoint, findEndpoints } from "../webhooks/endpoint-store.ts";
import { DELIVERY_STATES, type DeliveryState } from "../webhooks/event-types.ts";
import { pageDeliveries } from "../webhooks/list-deliveries.ts";
import { type ShownEndpoint, showEndpoint } from "../webhooks/manage-endpoints.ts";
import { CommandFailure, type CommandScene } from "./command.ts";
import { print, printTable } from "./print.ts";
import {
  type AccountOption,
  manageWebhooksOf,
  parseWhole,
  WEBHOOK_ARGUMENT,
  withAccount,
} from "./webhook-scene.ts";

const DELIVERIES_SHOWN = 100;
interface JsonOption {
  json: boolean;
}
const jsonOption = () => new Option("--json", "print JSON").default(false);

async function requireEndpoint(scene: CommandScene, account: string, id: string): Promise<StoredEndpoint> {
  const stored = await findEndpoint(scene.db, account, id);
  if (stored) return stored;
  throw new CommandFailure(`the account ${account} has no webhook ${id}`);
}

const time = (millis: number | null) => (millis === null ? null : new Date(millis).toISOString());

/** A webhook as `--json` prints it. */
const toJson = ({ accountId, ...endpoint }: ShownEndpoint) => ({
  ...{ id: endpoint.id, account: accountId, url: endpoint.url, eventTypes: endpoint.eventTypes },
  ...{
    state: endpoint.disabledAt === null ? "enabled" : "disabled",
    disabledReason: endpoint.disabledBecause,
  },
  ...{ disabled: time(endpoint.disabledAt), created: time(endpoint.createdAt), position: endpoint.position },
  ...{ lastSuccess: time(endpoint.lastSuccessAt), failingSince: time(endpoint.failingSince) },
  ...{ publicKey: endpoint.publicKey, previousSecretUntil: time(endpoint.previousUntil) },
});

function printEndpoints(endpoints: readonly ShownEndpoint[], json: boolean): void {
  const rows = endpoints.map(toJson);
  if (json) {
    print(JSON.stringify(rows, null, 2));
    return;
  }
  printTable(
    ["webhook", "url", "events", "state", "position"],
    rows.map(({ id, url, eventTypes, state, disabledReason, position }) => [
      ...[id, url, eventTypes],
      ...[disabledReason === null ? state : `${state}: ${disabledReason}`, String(position)],
    ]),
  );
}

function printDeliveries(deliveries: readonly WebhookDelivery[], json: boolean): void {
  const rows = deliveries.map(({ nextAttemptAt, lastAttemptAt, ...delivery }) => ({
    ...delivery,
    ...{ nextAttempt: time(nextAttemptAt), lastAttempt: time(lastAttemptAt) },
  }));
  if (json) {
    print(JSON.stringify(rows, null, 2));
    return;
  }
  printTable(
    ["position", "event", "record", "state", "attempts", "last result", "next attempt"],
    rows.map((row) => [
      ...[String(row.position), row.eventType, row.kycId, row.state, String(row.attempts)],
      ...[row.lastResult ?? "", row.nextAttempt ?? ""],
    ]),
  );
}

/** Adds `list`, `show` and `deliveries`. */
export function addWebhookViews(webhook: Command): void {
  withAccount(webhook.command("list"))
    .description("list the webhooks, without their secrets")
    .addOption(jsonOption())
    .action(async ({ account, json }: AccountOption & JsonOption) => {
      const shown = await manageWebhooksOf(account, async ({ keys }, { db }) =>
        (await findEndpoints(db, account)).map((stored) => showEndpoint(keys, stored)),
      );
      printEndpoints(shown, json);
    });
  withAccount(webhook.command("show"))
    .description("show one webhook")
    .argument(...WEBHOOK_ARGUMENT)
    .addOption(jsonOption())
    .action(async (id: string, { account, json }: AccountOption & JsonOption) => {
      const shown = await manageWebhooksOf(account, async ({ keys }, scene) =>
        toJson(showEndpoint(keys, await requireEndpoint(scene, account, id))),
      );
      if (json) return print(JSON.stringify(shown, null, 2));
      printTable(
        ["property", "value"],
        Object.entries(shown).map(([name, value]) => [name, String(value ?? "")]),
      );
    });
  withAccount(webhook.command("deliveries"))
    .description("list the latest deliveries of a webhook, newest first")
    .argument(...WEBHOOK_ARGUMENT)
    .addOption(new Option("--state <state>", "only those in this state").choices(wordsOf(DELIVERY_STATES)))
    .option("--limit <number>", `how many, up to ${DELIVERIES_SHOWN}`, parseWhole, 20)
    .addOption(jsonOption())
    .action(
      async (id: string, options: AccountOption & JsonOption & { state?: DeliveryState; limit: number }) => {
        const { account, state, limit, json } = options;
        const page = await manageWebhooksOf(account, async (_managing, scene) => {
          await requireEndpoint(scene, account, id);
          return pageDeliveries(scene.db, account, id, { first: limit, filter: { state } }).page();
        });
        printDeliveries(page.items, json);
      },
    );
}
