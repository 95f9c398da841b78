import { Command } from "commander";
import { byCommand } from "../administration/record-act.ts";
import { migrate } from "../db/migrating/migrate.ts";
import { borrowDatabase } from "../db/open.ts";
import { createLog, openOutput } from "../log.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import { watchKeyFile } from "../sealing/key-watch.ts";
import { keyFileOf, openKeyring, requireKeySource } from "../sealing/open-keyring.ts";
import { awaitStop, closeInTime } from "../server/stop-signal.ts";
import { deliverWebhooks } from "../server/webhooks.ts";
import { readConfig } from "./command.ts";

/** `deliver`, which runs until a signal stops it. */
export function deliverCommand(): Command {
  return new Command("deliver")
    .description(
      "deliver webhooks until it is stopped, together with all other processes that do: gateways need not with WEBHOOKS=off",
    )
    .action(deliver);
}

async function deliver(): Promise<void> {
  const stop = awaitStop();
  const config = readConfig();
  requireKeySource(config);
  const log = createLog(config.logLevel, await openOutput(config.logBufferLimit, () => {}));
  const { db, address, close } = await borrowDatabase(config, (message) => log.warn(message));
  try {
    await migrate(address);
    const keys = await openKeyring(config, db, SEALED_PLACES, (message) => log.warn(message), byCommand());
    const unwatch = config.encryptionKeys
      ? () => {}
      : watchKeyFile(keyFileOf(config), keys, {
          onNewest: (key) => log.info({ key }, "a new encryption key is in use"),
          onFailure: (err) => log.warn({ err }, "the key file could not be read again"),
        });
    const metrics = { countDelivery: () => {}, setWebhooks: () => {} };
    const stopDelivering = deliverWebhooks({ config, db, keys, log, metrics });
    log.info("delivering webhooks");
    // The timers of the delivery do not keep the process alive.
    const alive = setInterval(() => {}, 2 ** 30);
    const signal = await stop;
    clearInterval(alive);
    log.info({ signal }, "stopping");
    unwatch();
    await stopDelivering();
    log.info("stopped");
  } finally {
    await closeInTime(close());
  }
  // As in `serve`: nothing that is left may keep the process.
  process.exit(0);
}
