import { type Command, InvalidArgumentError } from "commander";
import type { Executor } from "../db/client.ts";
import { requireKeySource } from "../sealing/open-keyring.ts";
import type { Managing } from "../webhooks/manage-endpoints.ts";
import { type CommandScene, withKnownDatabase } from "./command.ts";
import { ACCOUNT_NAME } from "./names.ts";
import { openKeys } from "./open-keys.ts";

export interface AccountOption {
  account: string;
}

/** Parses a whole number of at least 0. */
export function parseWhole(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number from 0 on.");
}

/** Does the work in the context of managing an account's webhooks. */
export function manageWebhooksOf<T>(
  account: string,
  work: (managing: Managing, scene: CommandScene) => Promise<T>,
): Promise<T> {
  return withKnownDatabase(async (scene) => {
    const { config, by } = scene;
    const keys = await openKeys(scene);
    const networks = config.webhookAllowPrivate;
    const managing = { accountId: account, by, keys, networks, now: Date.now() };
    return work(managing, scene);
  }, requireKeySource);
}

/** As `manageWebhooksOf`, in a transaction. */
export const changeWebhooks = <T>(
  account: string,
  work: (tx: Executor, managing: Managing) => Promise<T>,
): Promise<T> => manageWebhooksOf(account, (managing, { db }) => db.transaction((tx) => work(tx, managing)));

/** The command with the option that names the account. */
export const withAccount = (command: Command) =>
  command.requiredOption("--account <account>", "the account that the webhook belongs to", ACCOUNT_NAME);
/** The argument that names the webhook. */
export const WEBHOOK_ARGUMENT = ["<id>", "its id, as `webhook list` shows it"] as const;
