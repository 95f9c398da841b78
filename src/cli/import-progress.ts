import { SingleBar } from "cli-progress";
import type { LineCounts } from "../import/store.ts";
import { say } from "./print.ts";

/** Between two lines that say how far it is, without a terminal. */
const SAY_EVERY_MS = 5000;

interface Shown {
  /** So many bytes are read, and the lines have these outcomes. */
  step: (bytes: number, counts: LineCounts) => void;
  end: () => void;
}

const linesOf = ({ imported, unchanged, bad }: LineCounts) => imported + unchanged + bad;

/**
 * Shows how far an import is: with a bar on a terminal, and with a line from time to time elsewhere. `size` is the size
 * of the file in bytes, if it is known. `unit` says what is counted.
 */
export function showImportProgress(size: number | undefined, unit: "lines" | "records"): Shown {
  const startedAt = performance.now();
  let first: number | undefined;
  const rateOf = (lines: number) => {
    first ??= lines;
    return Math.round(((lines - first) / (performance.now() - startedAt)) * 1000);
  };
  if (process.stderr.isTTY && size !== undefined) return showBar(size, rateOf);
  let saidAt = startedAt;
  return {
    step: (bytes, counts) => {
      const lines = linesOf(counts);
      const rate = rateOf(lines);
      if (performance.now() - saidAt < SAY_EVERY_MS) return;
      saidAt = performance.now();
      const share = size === undefined ? "" : `, ${Math.floor((bytes / Math.max(1, size)) * 100)} %`;
      say(`${lines} ${unit}${share}, ${rate} a second, ${counts.bad} bad`);
    },
    end: () => {},
  };
}

function showBar(size: number, rateOf: (lines: number) => number): Shown {
  const bar = new SingleBar({
    format: "{bar} {percentage}% | {lines} lines | {rate} a second | {bad} bad | {eta_formatted} left",
    stream: process.stderr,
  });
  bar.start(size, 0, { lines: 0, rate: 0, bad: 0 });
  return {
    step: (bytes, counts) => {
      const lines = linesOf(counts);
      bar.update(Math.min(bytes, size), { lines, rate: rateOf(lines), bad: counts.bad });
    },
    end: () => bar.stop(),
  };
}
