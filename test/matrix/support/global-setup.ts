import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { VERSIONS_FOLDER } from "./versions.ts";

// If everything is installed already, this takes a second. npm must not change the lock file, which has the hashes.
const INSTALL = ["install", "--no-save", "--ignore-scripts", "--no-bin-links", "--no-audit", "--no-fund"];

/** Afterwards the versions of PostgreSQL and Node.js that package.json of the folder names are installed there. */
export default async function setup(): Promise<void> {
  await promisify(execFile)("npm", INSTALL, { cwd: VERSIONS_FOLDER });
}
