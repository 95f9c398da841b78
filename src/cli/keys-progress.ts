import { SingleBar } from "cli-progress";
import type { Database } from "../db/client.ts";
import type { SealedPlace } from "../sealing/place.ts";
import { say } from "./print.ts";

/** The interval of progress lines if stderr is not a terminal. Milliseconds. */
const PRINT_EVERY_MS = 5000;

/** The number of texts, sealed or not. */
export async function countTexts(db: Database, place: SealedPlace): Promise<number> {
  return [...(await place.countByKey(db)).values()].reduce((sum, count) => sum + count, 0);
}

/** A bar on a terminal, and a line from time to time elsewhere. */
export function showProgress(name: string, total: number): { step: (seen: number) => void; end: () => void } {
  if (process.stderr.isTTY) {
    const bar = new SingleBar({
      format: `${name} {bar} {percentage}% | {value} of {total} | {eta_formatted} left`,
      stream: process.stderr,
    });
    bar.start(total, 0);
    return { step: (seen) => bar.increment(seen), end: () => bar.stop() };
  }
  let done = 0;
  let saidAt = performance.now();
  return {
    step: (seen) => {
      done += seen;
      if (performance.now() - saidAt < PRINT_EVERY_MS) return;
      saidAt = performance.now();
      say(`${name}: ${done} of ${total}`);
    },
    end: () => {},
  };
}
