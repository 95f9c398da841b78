import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { sql } from "drizzle-orm";
import { LRUCache } from "lru-cache";
import type { Database } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { FILE_MODE, letsOthersReplace, makePrivate } from "../lib/private-files.ts";
import { startRecurring } from "../lib/recurring.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { type Head, headColumns, toHead } from "./heads.ts";
import { signHead } from "./sign-head.ts";
import { BrokenLogError, signedHeadsOf } from "./signed-heads.ts";
import { type LogKeys, openLogKeys } from "./signing-keys.ts";
import { rootOf, type TreeHead } from "./tree.ts";

/** Checkpoints of one publication. */
const MOST_CHECKPOINTS = 1000;
/** Heads of one statement. */
const STEP = 1000;
/** Heads that are signed and written together, which takes some milliseconds. */
const SIGNED_TOGETHER = 50;
/** Logs of which a process remembers what it has published. What it has forgotten is published once more. */
const REMEMBERED = 100_000;
/** The first publication comes this soon after the start. Milliseconds. */
const FIRST_AFTER_MS = 10_000;

/** A published head. */
interface PublishedCheckpoint {
  account: string;
  size: number;
  /** The signed note. */
  checkpoint: string;
}

/** A log that does not continue a head that was signed. */
interface BrokenLog {
  account: string;
  /** Its events now, and those of the signed head. */
  size: number;
  signedSize: number;
}

const given = sql.placeholder;
const selectHeadsAfter = statement(
  () => sql`
    select ${headColumns} from ledger_heads where account_id > ${given("after")}
    order by account_id limit ${given("limit")}::int`,
  toHead,
);

interface Publishing {
  db: Database;
  keys: Keyring;
  logName: string | undefined;
  /** Milliseconds. */
  interval: number;
  /** The path of a file that checkpoints are appended to. */
  file: string | undefined;
  onCheckpoint(published: PublishedCheckpoint): void;
  /** Called once for each log that begins not to continue what was signed. */
  onBroken(log: BrokenLog): void;
  /** Called after each publication with the number of logs that do not continue what was signed. */
  onBrokenCount(count: number): void;
  /** Called once for each outage. */
  onFailure(error: unknown): void;
}

/**
 * Publishes the signed heads of all logs that have grown, at this interval, until the returned function is called: anyone
 * who keeps them can show later that a log was rewritten. A publication has 1000 checkpoints at most; the next one goes
 * on with those that are left. One that fails is repeated the next time. A log that does not continue a
 * signed head that this process knows, as after an older copy of the database was restored, is reported and not signed.
 */
export function startPublishing({ interval, onFailure, ...publishing }: Publishing): () => Promise<void> {
  const { keys, file } = publishing;
  if (file !== undefined) signedHeadsOf(keys).readLater(file);
  const publish = createPublisher(publishing);
  return startRecurring({
    work: publish,
    pause: () => interval,
    delay: Math.min(interval, FIRST_AFTER_MS),
    onFailure,
  });
}

/** A function that publishes once. It fails if the database or the file does; then it is repeated as a whole. */
function createPublisher({
  db,
  keys,
  logName,
  file,
  onCheckpoint,
  onBroken,
  onBrokenCount,
}: Omit<Publishing, "interval" | "onFailure">): (isStopped: () => boolean) => Promise<void> {
  // With `max`, the cache would reserve its whole size at each start, which takes 30 ms.
  const published = new LRUCache<string, TreeHead>({ maxSize: REMEMBERED, sizeCalculation: () => 1 });
  const broken = new Set<string>();
  /** The checkpoint of the head; undefined if the log does not continue what was signed. */
  const sign = async (logKeys: LogKeys, head: Head) => {
    const { accountId: account, size } = head;
    try {
      const checkpoint = await signHead(db, logKeys, head);
      broken.delete(account);
      return { account, size, checkpoint };
    } catch (error) {
      if (!(error instanceof BrokenLogError)) throw error;
      if (!broken.has(account)) onBroken({ account, size, signedSize: error.signed.size });
      broken.add(account);
      return undefined;
    }
  };
  const hasGrown = (head: Head) => {
    const last = published.get(head.accountId);
    const isSame = last?.size === head.size && last.root.equals(rootOf(head));
    if (isSame) broken.delete(head.accountId);
    return !isSame;
  };
  /** Returns how many of the heads were published. */
  const publishSome = async (grown: readonly Head[]): Promise<number> => {
    const logKeys = await openLogKeys({ db, keys, logName });
    const lines: PublishedCheckpoint[] = [];
    for (const head of grown) {
      const line = await sign(logKeys, head);
      if (line) lines.push(line);
    }
    if (file !== undefined && lines.length > 0) await appendTo(file, lines);
    for (const line of lines) onCheckpoint(line);
    const signed = new Set(lines.map(({ account }) => account));
    for (const head of grown)
      if (signed.has(head.accountId)) published.set(head.accountId, { size: head.size, root: rootOf(head) });
    return lines.length;
  };
  let after = "";
  const publish = async (isStopped: () => boolean) => {
    for (let count = 0; count < MOST_CHECKPOINTS; ) {
      const heads = await selectHeadsAfter(db, { after, limit: STEP });
      const grown = heads.filter(hasGrown);
      for (let start = 0; start < grown.length; start += SIGNED_TOGETHER) {
        if (isStopped() || count >= MOST_CHECKPOINTS) return;
        const some = grown.slice(start, start + SIGNED_TOGETHER);
        count += await publishSome(some);
        after = (some.at(-1) as Head).accountId;
      }
      after = heads.length < STEP ? "" : (heads.at(-1) as Head).accountId;
      if (after === "" || isStopped()) return;
    }
  };
  return async (isStopped) => {
    await publish(isStopped);
    onBrokenCount(broken.size);
  };
}

/** Opened again each time: a file that was renamed is left alone. */
const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;

/**
 * Appends the checkpoints to the file, which only this user can access, and syncs it. Fails if others could replace the
 * file in its folder. Of a line that did not fit on the disk a part may stay: the next one begins a new line.
 */
async function appendTo(path: string, checkpoints: readonly PublishedCheckpoint[]): Promise<void> {
  if (await letsOthersReplace(dirname(path))) {
    throw Object.assign(new Error(`other users can replace files in ${dirname(path)}`), { code: "EPERM" });
  }
  const file = await open(path, APPEND, FILE_MODE);
  try {
    const stats = await file.stat();
    // A device or pipe is not ours: others may need it.
    if (stats.isFile()) await makePrivate(path);
    const time = new Date().toISOString();
    const lines = checkpoints.map((checkpoint) => `${JSON.stringify({ time, ...checkpoint })}\n`);
    const size = stats.isFile() ? stats.size : 0;
    await file.appendFile((size > 0 && (await endsInsideLine(path, size)) ? "\n" : "") + lines.join(""));
    await file.sync();
  } finally {
    await file.close();
  }
}

async function endsInsideLine(path: string, size: number): Promise<boolean> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
    return buffer[0] !== 0x0a;
  } finally {
    await file.close();
  }
}
