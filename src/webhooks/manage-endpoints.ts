import { randomBytes } from "node:crypto";
import { z } from "zod";
import { type Administrator, recordAct } from "../administration/record-act.ts";
import type { Executor } from "../db/client.ts";
import { AppError, badUserInput } from "../errors.ts";
import { parseInput, type Raw } from "../parse-input.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { AdministrativeAction } from "../vocabulary.ts";
import { wordsOf } from "../vocabulary.ts";
import { createPolicy } from "./addresses.ts";
import type { StoredEndpoint, WebhookEndpoint } from "./endpoint.ts";
import {
  disableStored,
  enableStored,
  insertEndpoint,
  lockCreation,
  lockEndpoint,
  removeEndpoint,
  rewriteEndpoint,
} from "./endpoint-store.ts";
import { type DisabledReason, WEBHOOK_EVENT_TYPES } from "./event-types.ts";
import { formatPublicKey, mintSecret, mintSecrets, openEndpointSecrets, sealSecrets } from "./secrets.ts";
import { findUrlFault } from "./url.ts";

/** Webhooks of one account. */
const MOST_ENDPOINTS = 20;
const HOUR_MS = 3_600_000;
/** How long the previous secret signs, too, unless the caller says it. */
const OVERLAP_HOURS = 24;
const LONGEST_OVERLAP_HOURS = 30 * 24;
/** Previous secrets that sign at once: each makes the header longer. */
const MOST_PREVIOUS = 4;

/** Who manages the webhooks of an account, and with what. */
export interface Managing {
  accountId: string;
  by: Administrator;
  keys: Keyring;
  /** Networks besides the public ones that webhooks may be in. */
  networks: readonly string[];
  /** Epoch milliseconds. */
  now: number;
}

/** A webhook with its secret, which is shown this once. */
export interface ShownSecret {
  endpoint: ShownEndpoint;
  secret: string;
}

/** A webhook, and the public key of its `v1a` signatures. */
export interface ShownEndpoint extends WebhookEndpoint {
  publicKey: string;
}

const eventTypes = z
  .array(z.enum(wordsOf(WEBHOOK_EVENT_TYPES), `must be ${wordsOf(WEBHOOK_EVENT_TYPES).join(", ")}`))
  .min(1, "must have at least one type")
  .transform((types) => [...new Set(types)]);
const createInput = z.object({ url: z.string("must be a string"), eventTypes });
const updateInput = z.object({
  id: z.string("must be a string"),
  url: z.string("must be a string").optional(),
  eventTypes: eventTypes.optional(),
});
const rotateInput = z.object({
  id: z.string("must be a string"),
  overlapHours: z
    .number()
    .refine(
      (hours) => Number.isInteger(hours) && hours >= 0 && hours <= LONGEST_OVERLAP_HOURS,
      `must be an integer from 0 to ${LONGEST_OVERLAP_HOURS}`,
    )
    .optional(),
});
export type CreateEndpointInput = Raw<typeof createInput>;
export type UpdateEndpointInput = Raw<typeof updateInput>;
export type RotateSecretInput = Raw<typeof rotateInput>;

/** The error for the id of a webhook that the account does not have. */
export function endpointNotFound(): AppError {
  return new AppError("NOT_FOUND", "There is no webhook with this id.");
}

/** The webhook without its secrets. */
export function showEndpoint(keys: Keyring, stored: StoredEndpoint): ShownEndpoint {
  const { sealedSecrets, ...endpoint } = stored;
  const secrets = openEndpointSecrets(keys, stored.accountId, stored.id, sealedSecrets);
  return { ...endpoint, publicKey: formatPublicKey(secrets) };
}

const record = (tx: Executor, { by, now, accountId }: Managing, action: AdministrativeAction, id: string) =>
  recordAct(tx, by, { action, subject: id, at: now }, accountId);

function requireUrl(url: string, networks: readonly string[]): string {
  const fault = findUrlFault(url, createPolicy(networks));
  if (fault !== null) throw badUserInput([{ path: ["url"], kind: "invalid", message: fault }]);
  return new URL(url).href;
}

async function requireEndpoint(tx: Executor, { accountId }: Managing, id: string): Promise<StoredEndpoint> {
  const stored = await lockEndpoint(tx, accountId, id);
  if (!stored) throw endpointNotFound();
  return stored;
}

/** The id of a new webhook. */
export const mintEndpointId = () => `whe_${randomBytes(8).toString("hex")}`;

/**
 * Adds a webhook, which gets the events from now on, and returns it with its secret. `tx` is a transaction, which also
 * gets the event of this act; so it is in each function here. Fails with BAD_USER_INPUT, also if the account has as many
 * webhooks as it may have.
 */
export async function createEndpoint(
  tx: Executor,
  managing: Managing,
  input: CreateEndpointInput,
  id = mintEndpointId(),
): Promise<ShownSecret> {
  const { accountId, keys, networks, now } = managing;
  const value = parseInput(createInput, input);
  const url = requireUrl(value.url, networks);
  const secrets = mintSecrets();
  const sealedSecrets = sealSecrets(keys, accountId, id, secrets);
  const endpoint = { accountId, id, url, eventTypes: value.eventTypes, sealedSecrets, createdAt: now };
  await lockCreation(tx, accountId);
  const stored = await insertEndpoint(tx, endpoint, MOST_ENDPOINTS);
  if (!stored) {
    const message = `is one more than the ${MOST_ENDPOINTS} webhooks that an account may have`;
    throw badUserInput([{ path: ["url"], kind: "invalid", message }]);
  }
  await record(tx, managing, "webhook_created", id);
  return { endpoint: showEndpoint(keys, stored), secret: secrets.secret };
}

/** Changes the URL or the types of events. What waits is sent to the new URL. Fails with NOT_FOUND and BAD_USER_INPUT. */
export async function updateEndpoint(
  tx: Executor,
  managing: Managing,
  input: UpdateEndpointInput,
): Promise<ShownEndpoint> {
  const { id, ...changes } = parseInput(updateInput, input);
  const stored = await requireEndpoint(tx, managing, id);
  const url = changes.url === undefined ? stored.url : requireUrl(changes.url, managing.networks);
  const eventTypes = changes.eventTypes ?? stored.eventTypes;
  const changed = await rewriteEndpoint(tx, { ...stored, url, eventTypes });
  await record(tx, managing, "webhook_changed", id);
  return showEndpoint(managing.keys, changed);
}

/**
 * Gives the webhook a new secret. The one before signs as well for `overlapHours` (default: 24), and so do those of earlier
 * rotations until their own times; with 0, all of them end at once. Fails with NOT_FOUND and BAD_USER_INPUT, also if too
 * many secrets sign already.
 */
export async function rotateSecret(
  tx: Executor,
  managing: Managing,
  input: RotateSecretInput,
): Promise<ShownSecret> {
  const { accountId, keys, now } = managing;
  const { id, overlapHours = OVERLAP_HOURS } = parseInput(rotateInput, input);
  const stored = await requireEndpoint(tx, managing, id);
  const before = openEndpointSecrets(keys, accountId, id, stored.sealedSecrets);
  const secret = mintSecret();
  const ofBefore = { secret: before.secret, until: now + overlapHours * HOUR_MS };
  const previous = overlapHours > 0 ? [...before.previous.filter(({ until }) => until > now), ofBefore] : [];
  if (previous.length > MOST_PREVIOUS) {
    const message = `must be 0 while ${MOST_PREVIOUS} previous secrets still sign, and ends them then`;
    throw badUserInput([{ path: ["overlapHours"], kind: "invalid", message }]);
  }
  const sealedSecrets = sealSecrets(keys, accountId, id, { ...before, secret, previous });
  const previousUntil = previous.length === 0 ? null : Math.max(...previous.map(({ until }) => until));
  const changed = await rewriteEndpoint(tx, { ...stored, sealedSecrets, previousUntil });
  await record(tx, managing, "webhook_secret_rotated", id);
  return { endpoint: showEndpoint(keys, changed), secret };
}

/**
 * Disables the webhook: its cursor stays, so nothing is lost. One that is disabled already stays as it is, without an
 * event. Fails with NOT_FOUND.
 */
export async function disableEndpoint(
  tx: Executor,
  managing: Managing,
  id: string,
  reason: DisabledReason = "requested",
): Promise<ShownEndpoint> {
  const stored = await requireEndpoint(tx, managing, id);
  const changed = await disableStored(tx, managing.accountId, id, { at: managing.now, reason });
  if (changed) await record(tx, managing, "webhook_disabled", id);
  return showEndpoint(managing.keys, changed ?? stored);
}

/**
 * Disables the webhook for what its receiver at this address did. False, and nothing is done, if it has another address
 * meanwhile, or is gone.
 */
export async function disableFailing(
  tx: Executor,
  managing: Managing,
  { id, url }: { id: string; url: string | undefined },
  reason: DisabledReason,
): Promise<boolean> {
  if ((await lockEndpoint(tx, managing.accountId, id))?.url !== url) return false;
  await disableEndpoint(tx, managing, id, reason);
  return true;
}

/** Enables the webhook: it continues where it was, and what waits has all its attempts again. Fails with NOT_FOUND. */
export async function enableEndpoint(tx: Executor, managing: Managing, id: string): Promise<ShownEndpoint> {
  const stored = await requireEndpoint(tx, managing, id);
  const changed = await enableStored(tx, managing.accountId, id);
  if (changed) await record(tx, managing, "webhook_enabled", id);
  return showEndpoint(managing.keys, changed ?? stored);
}

/** Deletes the webhook and what it knows of deliveries. Fails with NOT_FOUND. */
export async function deleteEndpoint(tx: Executor, managing: Managing, id: string): Promise<void> {
  // Locked first: what a deliverer is just queueing for it is deleted, too.
  if (!(await lockEndpoint(tx, managing.accountId, id))) throw endpointNotFound();
  await removeEndpoint(tx, managing.accountId, id);
  await record(tx, managing, "webhook_deleted", id);
}
