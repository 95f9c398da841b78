import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { VERSIONS_FOLDER } from "./versions.ts";

// What is installed already takes a second. The lock file has the hash of each package; npm is not to change that file.
const INSTALL = ["install", "--no-save", "--ignore-scripts", "--no-bin-links", "--no-audit", "--no-fund"];

/** Afterwards the versions of PostgreSQL and Node.js that package.json of the folder names are installed there. */
export default async function setup(): Promise<void> {
  await promisify(execFile)("npm", INSTALL, { cwd: VERSIONS_FOLDER });
}
