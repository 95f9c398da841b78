import { readFileSync } from "node:fs";
import { packageFile } from "./package-file.ts";

/** Which release this is, as its package says. */
export function readVersion(): string {
  return JSON.parse(readFileSync(packageFile("../package.json"), "utf8")).version;
}
