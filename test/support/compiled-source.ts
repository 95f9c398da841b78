import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import type { Plugin } from "vitest/config";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
/** Modules resolve libraries from there, and Vitest leaves to Node.js what is there. */
const PLACE = fileURLToPath(new URL("../../node_modules/", import.meta.url));
const PREFIX = ".compiled-source-";
/** No run takes as long. */
const LEFT_OVER_MS = 86_400_000;

/** Vitest loads this file for each project, and this is what they share. */
const shared = globalThis as { compiledSource?: Promise<string> };

/**
 * Makes Node.js load the modules of src, which are compiled once for a run, one file for each. In Vite's module runner,
 * each use of something imported is a call: a request takes a quarter more of the processor there. While Vitest watches the
 * files, the module runner is used, because it notices changes.
 */
export function compiledSource(): Plugin {
  let isWatching = false;
  return {
    name: "compiled-source",
    enforce: "pre",
    configureVitest({ vitest }) {
      isWatching = vitest.config.watch;
    },
    async resolveId(id, importer = "") {
      if (isWatching || !id.startsWith(".") || !id.endsWith(".ts")) return null;
      const file = join(importer, "..", id);
      if (!file.startsWith(SOURCE)) return null;
      shared.compiledSource ??= compile();
      return join(await shared.compiledSource, relative(SOURCE, file).replace(/\.ts$/, ".mjs"));
    },
  };
}

/** Returns the folder of the compiled modules. It is removed when this process ends; if it is killed, by a run after a day. */
async function compile(): Promise<string> {
  for (const name of readdirSync(PLACE).filter((one) => one.startsWith(PREFIX))) {
    const { mtimeMs } = statSync(join(PLACE, name), { throwIfNoEntry: false }) ?? { mtimeMs: Date.now() };
    if (Date.now() - mtimeMs > LEFT_OVER_MS) rmSync(join(PLACE, name), { recursive: true, force: true });
  }
  const folder = mkdtempSync(join(PLACE, PREFIX));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const modules = readdirSync(SOURCE, { recursive: true, encoding: "utf8" });
  const build = await rolldown({
    input: modules.filter((name) => name.endsWith(".ts")).map((name) => join(SOURCE, name)),
    platform: "node",
    external: (id) => !id.startsWith(".") && !isAbsolute(id),
    treeshake: false,
    plugins: [
      {
        name: "own addresses",
        // Files of the package are found from the module's place in src.
        transform: (code, id) => code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href)),
      },
    ],
  });
  await build.write({
    dir: folder,
    preserveModules: true,
    preserveModulesRoot: SOURCE,
    entryFileNames: "[name].mjs",
  });
  await build.close();
  return folder;
}
