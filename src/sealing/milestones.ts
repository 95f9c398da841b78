import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { milestones, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { startRecurring } from "../lib/recurring.ts";
import type { Keyring } from "./keyring.ts";

/**
 * What a database has reached for good. A new one has all of these from its first start; one that an earlier release
 * made reaches them one after the other.
 *
 * `numbers_sealed`: no document number is plain any more. A plain one is neither shown nor sealed.
 * `numbers_bind`: each document number that is written is sealed for one version of its record.
 * `numbers_bound`: all of them are. One that is not is not shown.
 * `tokens_authentic`: every token has its MAC.
 */
export type Milestone = "numbers_sealed" | "numbers_bind" | "numbers_bound" | "tokens_authentic";

/** How often a gateway looks. Milliseconds. */
const LOOK_EVERY_MS = 2000;
/** How long after it was recorded every gateway that reaches the database knows a milestone. Milliseconds. */
export const KNOWN_WITHIN_MS = 3 * LOOK_EVERY_MS;

const given = sql.placeholder;

const selectNames = statement(
  (db) => db.select({ name: milestones.name }).from(milestones),
  ([name]: [Milestone]) => name,
);

/** Afterwards the keys follow what the database has reached. Returns what was reached before and is missing now. */
export async function readMilestones(db: Executor, keys: Keyring): Promise<Milestone[]> {
  const reached = new Set(await selectNames(db, {}));
  const missing = [...keys.reached].filter((name) => !reached.has(name));
  for (const name of reached) keys.reached.add(name);
  return missing;
}

const insert = statement((db) =>
  db
    .insert(milestones)
    .values({ name: given("name"), reachedAt: given("now") })
    .onConflictDoNothing(),
);

/** Afterwards the database has reached it, and the keys follow it. Repeating is safe. `now` is in epoch milliseconds. */
export async function recordMilestone(
  db: Executor,
  keys: Keyring,
  name: Milestone,
  now: number,
): Promise<void> {
  await insert(db, { name, now: toTimestamptz(now) });
  keys.reached.add(name);
}

/**
 * Lets the keys follow what the database reaches, until the returned function is called. What was reached stays so,
 * also if somebody removes it from the database: `onMissing` gets each of those once.
 */
export function watchMilestones(
  db: Executor,
  keys: Keyring,
  { onMissing, onFailure }: { onMissing(name: Milestone): void; onFailure(error: unknown): void },
): () => Promise<void> {
  const reported = new Set<Milestone>();
  const look = async () => {
    for (const name of await readMilestones(db, keys)) {
      if (!reported.has(name)) onMissing(name);
      reported.add(name);
    }
  };
  return startRecurring({ work: look, pause: () => LOOK_EVERY_MS, delay: LOOK_EVERY_MS, onFailure });
}
