import type { AddressInfo } from "node:net";
import { Command, InvalidArgumentError } from "commander";
import type { Logger } from "pino";
import { byCommand } from "../administration/record-act.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../db/client.ts";
import { migrate } from "../db/migrating/migrate.ts";
import { isMigrated } from "../db/migrating/pending.ts";
import { joinDatabase } from "../db/open.ts";
import type { OpenDatabase } from "../db/open-server.ts";
import { isWritable } from "../db/writable.ts";
import { createLog, openOutput } from "../log.ts";
import { createProcessMetrics, type ProcessMetrics } from "../metrics.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import { watchKeyFile } from "../sealing/key-watch.ts";
import { keyFileOf, openKeyring, requireKeySource } from "../sealing/open-keyring.ts";
import { awaitStop, closeInTime, type Stop, StoppedAtStart, unlessStopped } from "../server/stop-signal.ts";
import { deliverWebhooks, watchWebhooks } from "../server/webhooks.ts";
import { toUrl } from "../server/welcome.ts";
import type { Deliverer } from "../webhooks/deliverer.ts";
import { readConfig } from "./command.ts";

/** `deliver`, which runs until a signal stops it. */
export function deliverCommand(): Command {
  return new Command("deliver")
    .description(
      "deliver webhooks until it is stopped, together with all other processes that do; gateways with WEBHOOKS=off do not",
    )
    .option(
      "--port <port>",
      "serve /health, /ready and /metrics on this port of HOST; 0 uses a free one, which the log names",
      toPort,
    )
    .action(deliver);
}

function toPort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError("It must be an integer from 0 to 65535.");
}

async function deliver({ port }: { port?: number }): Promise<void> {
  const stop = awaitStop();
  const config = readConfig();
  requireKeySource(config);
  let droppedLines = 0;
  const output = await openOutput(config.logBufferLimit, (lines) => {
    droppedLines += lines;
  });
  const log = createLog(config.logLevel, output);
  try {
    const database = await unlessStopped(
      stop,
      joinDatabase(config, (message) => log.warn(message)),
    );
    try {
      await deliverUntil(stop, { config, database, log, port, droppedLines: () => droppedLines });
    } finally {
      await closeInTime(database.close());
    }
  } catch (error) {
    if (!(error instanceof StoppedAtStart)) throw error;
    log.info({ signal: error.signal }, "stopped before it delivered");
  }
  // As in `serve`: nothing that is left may keep the process alive.
  process.exit(0);
}

interface DeliverOptions {
  config: Config;
  database: OpenDatabase;
  log: Logger;
  port: number | undefined;
  /** How many lines of the log were lost. */
  droppedLines(): number;
}

async function deliverUntil(
  stop: Stop,
  { config, database: { db, target }, log, port, droppedLines }: DeliverOptions,
): Promise<void> {
  await unlessStopped(stop, migrate(target));
  const keys = await unlessStopped(
    stop,
    openKeyring(config, db, SEALED_PLACES, (message) => log.warn(message), byCommand()),
  );
  const unwatch = config.encryptionKeys
    ? () => {}
    : watchKeyFile(keyFileOf(config), keys, {
        onNewest: (key) => log.info({ key }, "a new encryption key is in use"),
        onFailure: (err) => log.warn({ err }, "the key file could not be read again"),
      });
  const metrics = createProcessMetrics({ usage: () => db.usage(), droppedLines });
  const state: DeliverState = { deliverer: undefined, isStopping: false };
  const closeProbes =
    port === undefined ? undefined : await serveProbes({ ...config, port }, { db, log, metrics, state });
  const deliverer = deliverWebhooks({ config, db, keys, log, metrics });
  state.deliverer = deliverer;
  log.info("delivering webhooks");
  // The timers of the delivery do not keep the process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  const signal = await stop;
  clearInterval(alive);
  state.isStopping = true;
  log.info({ signal }, "stopping");
  unwatch();
  // The probes end last: until then, `/ready` says that the process stops, and `/metrics` counts the last attempts.
  await deliverer.stop();
  await closeProbes?.();
  log.info("stopped");
}

interface DeliverState {
  /** Undefined until it has started. */
  deliverer: Deliverer | undefined;
  isStopping: boolean;
}

/** Serves the state of this process until the returned function is called. Fails if the address can't be listened on. */
async function serveProbes(
  config: Config,
  { db, log, metrics, state }: { db: Database; log: Logger; metrics: ProcessMetrics; state: DeliverState },
): Promise<() => Promise<void>> {
  // Loaded only if it is needed: otherwise this process has no HTTP server.
  const { createProbeApp } = await import("../server/probe-app.ts");
  const app = createProbeApp({
    ...{ config, db, log, metrics },
    isReady: async () =>
      state.deliverer?.isDelivering() === true &&
      (await isWritable(db.urgent)) &&
      (await isMigrated(db.urgent)),
    isDraining: () => state.isStopping,
    isClosed: () => state.isStopping,
  });
  await app.listen({ port: config.port, host: config.host });
  const stopWatching = watchWebhooks({ db, log, metrics });
  const { port } = app.server.address() as AddressInfo;
  log.info({ url: toUrl(config.host, port) }, "serving /health, /ready and /metrics");
  return async () => {
    app.server.closeAllConnections();
    await closeInTime(Promise.all([app.close(), stopWatching()]));
  };
}
