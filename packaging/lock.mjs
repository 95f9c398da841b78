// The packages of an installation, according to package-lock.json.
import { readFileSync } from "node:fs";

const ROOT = new URL("../", import.meta.url);

export const readJson = (path) => JSON.parse(readFileSync(new URL(path, ROOT), "utf8"));

/** The location of `name` as the package at `location` finds it: in its own folder, or in a folder above, as in Node. */
function locate(packages, location, name) {
  for (
    let folder = location;
    ;
    folder = folder.slice(0, Math.max(0, folder.lastIndexOf("node_modules/") - 1))
  ) {
    const found = `${folder}${folder && "/"}node_modules/${name}`;
    if (packages[found]) return found;
    if (folder === "") return undefined;
  }
}

/** The names that a package needs, and those that it does without on systems that lack them. */
function namesIn({ dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta }) {
  const isOptionalPeer = (name) => peerDependenciesMeta?.[name]?.optional === true;
  const optional = Object.keys(optionalDependencies ?? {});
  const peers = Object.keys(peerDependencies ?? {}).filter((name) => !isOptionalPeer(name));
  const needed = [...Object.keys(dependencies ?? {}), ...peers];
  return { needed: needed.filter((name) => !optional.includes(name)), optional };
}

/**
 * The packages that the `roots` (locations in the lock) depend on: each location with its entry, the locations that it
 * depends on, and whether it is optional. npm's own marks don't help, because a package that a development tool also needs
 * has none. Fails if a needed package is missing from the lock.
 */
export function dependenciesOf(packages, roots) {
  const found = new Map();
  const visit = (location, optional) => {
    const known = found.get(location);
    if (known && (!known.optional || optional)) return;
    const names = namesIn(packages[location]);
    const one = { location, entry: packages[location], optional, dependsOn: [] };
    found.set(location, one);
    for (const [name, isOptional] of [
      ...names.needed.map((needed) => [needed, false]),
      ...names.optional.map((wanted) => [wanted, true]),
    ]) {
      const target = locate(packages, location, name);
      if (!target && isOptional) continue;
      if (!target)
        throw new Error(`package-lock.json lacks ${name}, which ${location || "the gateway"} needs`);
      one.dependsOn.push(target);
      visit(target, optional || isOptional);
    }
  };
  for (const root of roots) visit(root, false);
  return found;
}

/** The name of the package at a location. */
export const nameAt = (location) =>
  location.slice(location.lastIndexOf("node_modules/") + "node_modules/".length);
