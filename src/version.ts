import { readFileSync } from "node:fs";

/** Which release this is, as its package says. */
export function readVersion(): string {
  // The same file seen from src and dist.
  return JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
}
