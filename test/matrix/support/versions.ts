import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A separate package: it has 700 MB, which `npm ci` of the checkout should not install. */
export const VERSIONS_FOLDER = fileURLToPath(new URL("../binaries/", import.meta.url));

const { dependencies } = JSON.parse(readFileSync(join(VERSIONS_FOLDER, "package.json"), "utf8"));

/** The installed packages of one program, by the version in their name: `node-22` is version 22 of `node`. */
function packagesOf(program: string): { version: string; folder: string }[] {
  return Object.keys(dependencies)
    .filter((name) => name.startsWith(`${program}-`))
    .map((name) => ({
      version: name.slice(program.length + 1),
      folder: join(VERSIONS_FOLDER, "node_modules", name),
    }));
}

export const NODES = packagesOf("node").map(({ version, folder }) => ({
  version,
  node: join(folder, "bin/node"),
}));

/** The 18 is the one that all other tests use, which is no package of this folder. */
export const POSTGRES_SERVERS: { version: string; unpacked?: string }[] = [
  ...packagesOf("postgresql").map(({ version, folder }) => ({ version, unpacked: folder })),
  { version: "18" },
];
