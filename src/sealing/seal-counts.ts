import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { startRecurring } from "../lib/recurring.ts";
import type { Keyring } from "./keyring.ts";

/**
 * The number of texts that one key may seal. Up to this limit, the probability that two of its random nonces are equal is
 * below 2^-32 (NIST SP 800-38D).
 */
export const MOST_SEALS = 2 ** 32;
/** From half of it on, operators should change to a new key. */
export const MANY_SEALS = MOST_SEALS / 2;
/** How many texts a process counts in advance at once. */
const SEALS_AHEAD = 10_000;
/** Milliseconds. */
const ADD_EVERY_MS = 60_000;

const given = sql.placeholder;
const add = statement(
  () => sql`
    update encryption_keys set seals = seals + ${given("count")} where id = ${given("id")} returning seals::float8`,
  ([seals]: [number]) => seals,
);

/**
 * Adds this process's counts of sealed texts to those in the database. Returns the new totals, by key id, of the keys
 * that have sealed something since the last call. A killed process loses the counts that it has not added.
 */
export async function addSealCounts(db: Executor, keys: Keyring): Promise<Map<string, number>> {
  const totals = new Map<string, number>();
  for (const [id, count] of keys.sealCounts) {
    if (count === 0) continue;
    const [total] = await add(db, { id, count });
    // The key is not registered yet: its count is added later.
    if (total === undefined) continue;
    keys.sealCounts.set(id, (keys.sealCounts.get(id) ?? 0) - count);
    totals.set(id, total);
  }
  return totals;
}

/**
 * Makes sure that the database has counted at least so many more texts than were sealed. A process that seals many at once
 * calls it before each batch: if it is killed, the count is a little too high, and never too low. `addSealCounts` subtracts
 * what was not used.
 */
export async function countSealsAhead(db: Executor, keys: Keyring, batch: number): Promise<void> {
  const id = keys.newestId;
  if ((keys.sealCounts.get(id) ?? 0) + batch <= 0) return;
  const count = SEALS_AHEAD + batch;
  const [total] = await add(db, { id, count });
  if (total !== undefined) keys.sealCounts.set(id, (keys.sealCounts.get(id) ?? 0) - count);
}

const selectTotals = statement(
  () => sql`select id, seals::float8 from encryption_keys`,
  ([id, seals]: [string, number]) => [id, seals] as const,
);

/**
 * Adds the counts every minute, and a last time when the returned function is called. `onMany` is called once for each key
 * that has sealed so many texts that it should be replaced. `onTotals` gets what each key of the database has
 * sealed, at the start and every minute.
 */
export function countSeals(
  db: Executor,
  keys: Keyring,
  {
    onMany,
    onTotals = () => {},
    onFailure,
  }: {
    onMany(keyId: string, seals: number): void;
    onTotals?(totals: ReadonlyMap<string, number>): void;
    onFailure(error: unknown): void;
  },
): () => Promise<void> {
  const reported = new Set<string>();
  const work = async () => {
    for (const [id, seals] of await addSealCounts(db, keys)) {
      if (seals < MANY_SEALS || reported.has(id)) continue;
      reported.add(id);
      onMany(id, seals);
    }
  };
  const addAndReport = async () => {
    await work();
    onTotals(new Map(await selectTotals(db, {})));
  };
  const stop = startRecurring({ work: addAndReport, pause: () => ADD_EVERY_MS, onFailure });
  return async () => {
    await stop();
    await work().catch(onFailure);
  };
}
