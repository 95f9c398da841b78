import type { Logger } from "pino";
import { byGateway } from "../administration/record-act.ts";
import type { DigestCustomer } from "../audit/customer-digest.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../db/client.ts";
import { startSweep } from "../idempotency/sweep.ts";
import { startExpiry } from "../kyc/lifecycle/expiry-job.ts";
import { startRetention } from "../kyc/lifecycle/retention-job.ts";
import { endPlainNumbers, sealPlainNumbers } from "../kyc/number/sealed-numbers.ts";
import { startCensus } from "../kyc/record-census.ts";
import { startSettlingStatusSince } from "../kyc/status-since.ts";
import { startPublishing } from "../ledger/publish-checkpoints.ts";
import { startSealer } from "../ledger/seal.ts";
import { startRecurring } from "../lib/recurring.ts";
import type { Metrics } from "../metrics.ts";
import { watchKeyFile } from "../sealing/key-watch.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { watchMilestones } from "../sealing/milestones.ts";
import { keyFileOf } from "../sealing/open-keyring.ts";
import { registerNewestKey } from "../sealing/registry.ts";
import { countSeals } from "../sealing/seal-counts.ts";
import { deliverWebhooks, watchWebhooks } from "./webhooks.ts";

const SEAL_AGAIN_AFTER_MS = 10_000;

export interface Background {
  config: Config;
  db: Database;
  digestCustomer: DigestCustomer;
  keys: Keyring;
  log: Logger;
  metrics: Metrics;
}

/**
 * Starts all background jobs. The returned function stops them all at the same time, because each can wait for a database
 * that does not answer, and a stop may take ten seconds in total.
 */
export function startBackground(background: Background): () => Promise<void> {
  const { db, digestCustomer, keys, log, metrics } = background;
  const stops = [
    followKeyFile(background),
    sealWhatIsPlain(background),
    startCensus(db, {
      onCensus: metrics.setCensus,
      onFailure: (err) => log.warn({ err }, "the records could not be counted for the metrics"),
    }),
    countSeals(db, keys, {
      onTotals: metrics.setSeals,
      onMany: (key, seals) =>
        log.warn({ key, seals }, "an encryption key has sealed half of what it may: change to a new one"),
      onFailure: (err) => log.warn({ err }, "what the encryption keys have sealed could not be counted"),
    }),
    watchMilestones(db, keys, {
      onMissing: (milestone) =>
        log.error({ milestone }, "somebody has removed a milestone from the database: it still holds here"),
      onFailure: (err) => log.warn({ err }, "the milestones of the database could not be read"),
    }),
    startSettlingStatusSince(db, {
      onSettled: (records) => log.info({ records }, "it was found out since when records have their status"),
      onFailure: (err) =>
        log.warn({ err }, "it could not be found out yet since when records have their status"),
    }),
    expireRecords(background),
    eraseAfterRetention(background),
    startSweep({ db, log }),
    startSealer({
      ...{ db, log, openDigests: async () => digestCustomer },
      onSealed: (_logs, events) => metrics.countSealedEvents(events),
      onAllSealed: metrics.setAllSealed,
    }),
    publishCheckpoints(background),
    watchWebhooks(background),
    ...(background.config.webhooks ? [deliverWebhooks(background).stop] : []),
  ];
  return async () => {
    await Promise.all(stops.map((stop) => stop()));
  };
}

/** Adds new keys from the key file. Without a file, keys change only with a start. */
function followKeyFile({ config, db, keys, log }: Background): () => void {
  if (config.encryptionKeys) return () => {};
  return watchKeyFile(keyFileOf(config), keys, {
    onNewest: (key) => {
      log.info({ key }, "a new encryption key is in use");
      // A start without this key is refused from now on, as after a start with it.
      registerNewestKey(db, Date.now(), async () => keys, byGateway()).catch((err) =>
        log.warn({ err }, "the new encryption key could not be registered"),
      );
    },
    onFailure: (err) => log.warn({ err }, "the key file could not be read again"),
  });
}

/** Records that can't expire are logged again after so long. Milliseconds. */
const LOG_AGAIN_MS = 3_600_000;

function expireRecords({ config, db, digestCustomer, keys, log, metrics }: Background): () => Promise<void> {
  let [named, namedAt] = [0, 0];
  const expiring = { db, keys, digestCustomer, notices: config.expiryNotices };
  return startExpiry(expiring, {
    onBatch: metrics.countExpiry,
    onNoneDue: metrics.setNoneDue,
    onUnreadable: (records, kycIds) => {
      if (records === named && performance.now() - namedAt < LOG_AGAIN_MS) return;
      [named, namedAt] = [records, performance.now()];
      log.warn(
        { records, kycIds },
        "records can't expire, because their document numbers can't be decrypted",
      );
    },
    onFailure: (err) => log.warn({ err }, "records could not expire yet"),
  });
}

function eraseAfterRetention({ config, db, digestCustomer, log, metrics }: Background): () => Promise<void> {
  const { retention } = config;
  if (!retention) return async () => {};
  metrics.setNoneToErase();
  return startRetention(
    { db, digestCustomer, retention },
    {
      onBatch: metrics.countErased,
      onEnd: (records) => {
        if (records > 0)
          log.info({ records, retention }, "records were erased after their time of retention");
      },
      onNoneLeft: metrics.setNoneToErase,
      onFailure: (err) => log.warn({ err }, "records could not be erased after their time of retention yet"),
    },
  );
}

/** An operator who keeps the log or the file of checkpoints can prove later that the ledger was rewritten. */
function publishCheckpoints({ config, db, keys, log, metrics }: Background): () => Promise<void> {
  return startPublishing({
    ...{ db, keys, logName: config.auditLogName },
    ...{ interval: config.auditCheckpointInterval, file: config.auditCheckpointFile },
    onCheckpoint: (published) => log.info(published, "the signed head of a log"),
    onBroken: (broken) =>
      log.error(broken, "a log does not continue a head that was signed: it is not signed any more"),
    onBrokenCount: metrics.setBrokenLogs,
    onFailure: (err) => log.warn({ err }, "the signed heads of the logs could not be published"),
  });
}

/** Encrypts what an earlier release has left plain, and tries again until nothing is plain and nothing plain is accepted. */
function sealWhatIsPlain({ db, keys, log }: Background): () => Promise<void> {
  const ending = new AbortController();
  const stop = startRecurring({
    work: async (isStopped) => {
      if (keys.reached.has("numbers_sealed")) return;
      const { resealed } = await sealPlainNumbers(db, keys, ending.signal);
      if (resealed > 0) log.info({ sealed: resealed }, "plain document numbers were encrypted");
      if (!isStopped()) await endPlainNumbers(db, keys, Date.now());
    },
    pause: () => SEAL_AGAIN_AFTER_MS,
    onFailure: (err) => log.warn({ err }, "plain document numbers could not be encrypted yet"),
  });
  return () => {
    ending.abort();
    return stop();
  };
}
