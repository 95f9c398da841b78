import type { Database } from "../../db/client.ts";
import { Area, type Finding, type Stage } from "./finding.ts";

export const clocks = new Area("clocks");

/** From this difference on, records of several replicas are visibly out of order. Milliseconds. */
const NOTICEABLE_MS = 1000;
/** From this difference on, sign-ins of an identity provider are refused, and tokens expire at a wrong time. Milliseconds. */
const HARMFUL_MS = 30_000;
const SAMPLES = 3;

/** Compares this machine's clock with the database's, and with what gateways have written before. */
export async function checkClocks(db: Database, stage: Stage): Promise<Finding[]> {
  const offsets = [];
  for (let n = 0; n < SAMPLES; n++) offsets.push(await measure(db));
  const { offset, error } = offsets.reduce((best, one) => (one.error < best.error ? one : best));
  const amount = Math.max(0, Math.abs(offset) - error);
  const found = `this machine's is ${describe(offset)} the database's (± ${Math.ceil(error)} ms)`;
  const todo = "Keep the clocks of all machines right with NTP (chronyc tracking, timedatectl)";
  const compared =
    amount > HARMFUL_MS
      ? clocks.problem("database", found, todo)
      : amount > NOTICEABLE_MS
        ? clocks.warning("database", found, todo)
        : clocks.ok("database", found);
  return [compared, ...(stage === "current" ? await checkPast(db) : [])];
}

/** How far this clock is ahead, and how wrong that can be. Milliseconds. */
async function measure(db: Database): Promise<{ offset: number; error: number }> {
  const sent = Date.now();
  const from = performance.now();
  const [row] = await db.execute<{ at: number }>(
    "select (extract(epoch from clock_timestamp()) * 1000)::float8 as at",
  );
  const took = performance.now() - from;
  return { offset: sent + took / 2 - Number(row?.at), error: took / 2 };
}

/** After a clock was set back, new times are before stored ones. */
async function checkPast(db: Database): Promise<Finding[]> {
  const [row] = await db.execute<{ at: number | null }>(
    `select (extract(epoch from greatest((select max(created_at) from encryption_keys),
       (select max(reached_at) from milestones))) * 1000)::float8 as at`,
  );
  const ahead = Number(row?.at ?? 0) - Date.now();
  if (ahead < HARMFUL_MS) return [];
  const found = `a gateway has written a time to the database that is ${describe(ahead)} this machine's`;
  return [clocks.problem("history", found, "Set this machine's clock right, or find the one that was ahead")];
}

function describe(millis: number): string {
  const amount = Math.abs(millis);
  const direction = millis < 0 ? "behind" : "ahead of";
  if (amount < 1000) return `${Math.round(amount)} ms ${direction}`;
  const seconds = Math.round(amount / 1000);
  return seconds < 7200 ? `${seconds} s ${direction}` : `${Math.round(seconds / 3600)} h ${direction}`;
}
