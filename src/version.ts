import { readFileSync } from "node:fs";
import { beside } from "./beside.ts";

/** Which release this is, as its package says. */
export function readVersion(): string {
  return JSON.parse(readFileSync(beside("../package.json"), "utf8")).version;
}
