// Fails if node_modules, which is packed, is not what package-lock.json has: then other versions would be shipped than
// were tested.
import { existsSync } from "node:fs";
import { dependenciesOf, readJson } from "./lock.mjs";

/** A line for each package of an installation that node_modules lacks, or has in another version. */
export function findStale(packages) {
  const stale = [];
  for (const { location, entry, optional } of dependenciesOf(packages, [""]).values()) {
    if (location === "") continue;
    const manifest = `${location}/package.json`;
    if (!existsSync(new URL(`../${manifest}`, import.meta.url))) {
      if (!optional) stale.push(`${location} is missing`);
    } else if (readJson(manifest).version !== entry.version) {
      stale.push(`${location} is ${readJson(manifest).version} instead of ${entry.version}`);
    }
  }
  return stale;
}

if (process.argv[1] === import.meta.filename) {
  const { devDependencies: _, ...manifest } = readJson("package.json");
  const stale = findStale({ ...readJson("package-lock.json").packages, "": manifest });
  if (stale.length > 0) {
    console.error(`node_modules is not what package-lock.json has: run npm ci.\n${stale.join("\n")}`);
    process.exitCode = 1;
  }
}
