import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { milestones } from "../db/key-schema.ts";
import { toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { startRecurring } from "../lib/recurring.ts";
import type { Keyring, Milestone } from "./keyring.ts";

/** How often a gateway reads them. Milliseconds. */
const LOOK_EVERY_MS = 2000;
/** Within this time every gateway that can reach the database has read a new milestone. Milliseconds. */
export const KNOWN_WITHIN_MS = 3 * LOOK_EVERY_MS;

const given = sql.placeholder;

const selectNames = statement(
  (db) => db.select({ name: milestones.name }).from(milestones),
  ([name]: [Milestone]) => name,
);

/** Adds the database's milestones to the keyring. Returns those that the keyring has and the database has lost. */
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

/** Records a milestone in the database and the keyring. It is safe to repeat. `now` is in epoch milliseconds. */
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
 * Keeps the keyring's milestones up to date until the returned function is called. A milestone that somebody removes from
 * the database still holds in this process; `onMissing` is called once for each.
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
