import { Command, InvalidArgumentError } from "commander";
import { wordsOf } from "../vocabulary.ts";
import { WEBHOOK_EVENT_TYPES, type WebhookEventType } from "../webhooks/event-types.ts";
import {
  createEndpoint,
  deleteEndpoint,
  disableEndpoint,
  enableEndpoint,
  rotateSecret,
} from "../webhooks/manage-endpoints.ts";
import { resendEvents } from "../webhooks/resend.ts";
import { print, say } from "./print.ts";
import {
  type AccountOption,
  changeWebhooks,
  parseWhole,
  WEBHOOK_ARGUMENT,
  withAccount,
} from "./webhook-scene.ts";
import { addWebhookViews } from "./webhook-views.ts";

const TYPES = wordsOf(WEBHOOK_EVENT_TYPES);

function parseTypes(list: string): WebhookEventType[] {
  const types = list.split(",").map((type) => type.trim());
  if (types.every((type) => (TYPES as string[]).includes(type))) return types as WebhookEventType[];
  throw new InvalidArgumentError(`Known are ${TYPES.join(", ")}.`);
}

/** The commands below `webhook`. */
export function webhookCommands(): Command {
  const webhook = new Command("webhook").description(
    "manage the webhooks of an account: see docs/webhooks.md",
  );
  addCreateAndRotate(webhook);
  addWebhookViews(webhook);
  addSwitches(webhook);
  addResend(webhook);
  return webhook;
}

function addCreateAndRotate(webhook: Command): void {
  withAccount(webhook.command("create"))
    .description(
      "add a webhook, which gets the events from now on, and print its secret: it can't be shown again",
    )
    .requiredOption("--url <url>", "where events are sent to, such as https://example.com/webhooks")
    .option(
      "--events <types>",
      `the types of events, with commas between them: ${TYPES.join(",")}`,
      parseTypes,
      TYPES,
    )
    .action(async ({ account, url, events }: AccountOption & { url: string; events: WebhookEventType[] }) => {
      const { endpoint, secret } = await changeWebhooks(account, (tx, managing) =>
        createEndpoint(tx, managing, { url, eventTypes: events }),
      );
      print(secret);
      say(`${endpoint.id} sends to ${endpoint.url}. Its public key is ${endpoint.publicKey}.`);
    });
  withAccount(webhook.command("rotate"))
    .description("give a webhook a new secret, and print it: it can't be shown again")
    .argument(...WEBHOOK_ARGUMENT)
    .option("--overlap <hours>", "for how many hours the old secret signs as well, 0 to 720", parseWhole, 24)
    .action(async (id: string, { account, overlap }: AccountOption & { overlap: number }) => {
      const { secret } = await changeWebhooks(account, (tx, managing) =>
        rotateSecret(tx, managing, { id, overlapHours: overlap }),
      );
      print(secret);
    });
}

function addSwitches(webhook: Command): void {
  withAccount(webhook.command("disable"))
    .description("disable a webhook: it gets nothing until it is enabled, and then what happened meanwhile")
    .argument(...WEBHOOK_ARGUMENT)
    .action(async (id: string, { account }: AccountOption) => {
      await changeWebhooks(account, (tx, managing) => disableEndpoint(tx, managing, id));
      say(`${id} is disabled.`);
    });
  withAccount(webhook.command("enable"))
    .description("enable a webhook: it continues where it was")
    .argument(...WEBHOOK_ARGUMENT)
    .action(async (id: string, { account }: AccountOption) => {
      await changeWebhooks(account, (tx, managing) => enableEndpoint(tx, managing, id));
      say(`${id} is enabled.`);
    });
  withAccount(webhook.command("delete"))
    .description("delete a webhook and its stored deliveries")
    .argument(...WEBHOOK_ARGUMENT)
    .action(async (id: string, { account }: AccountOption) => {
      await changeWebhooks(account, (tx, managing) => deleteEndpoint(tx, managing, id));
      say(`${id} is deleted.`);
    });
}

function addResend(webhook: Command): void {
  withAccount(webhook.command("resend"))
    .description("send events to a webhook again, and print their number")
    .argument(...WEBHOOK_ARGUMENT)
    .requiredOption("--from <position>", "the position of the first event", parseWhole)
    .option("--to <position>", "the position of the last event (default: the same)", parseWhole)
    .option("--only-failed", "only those that were given up")
    .action(
      async (id: string, options: AccountOption & { from: number; to?: number; onlyFailed?: boolean }) => {
        const { account, from, to = from, onlyFailed = false } = options;
        const events = await changeWebhooks(account, (tx, managing) =>
          resendEvents(tx, managing, { id, from, to, onlyFailed }),
        );
        print(String(events));
      },
    );
}
