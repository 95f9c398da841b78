import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import type { Plugin } from "vitest/config";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
/** Modules resolve libraries from there, and Vitest leaves to Node.js what is there. */
const PLACE = fileURLToPath(new URL("../../node_modules/", import.meta.url));

/**
 * Makes Node.js load the modules of src, which are compiled once for all tests, one file for each. In Vite's module runner,
 * each use of something imported is a call: a request takes a quarter more of the processor there. While Vitest watches the
 * files, the module runner is used, because it notices changes.
 */
export function compiledSource(): Plugin {
  let compiled: Promise<string> | undefined;
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
      compiled ??= compile();
      return join(await compiled, relative(SOURCE, file).replace(/\.ts$/, ".mjs"));
    },
  };
}

/** Returns the folder of the compiled modules. It is removed when this process ends. */
async function compile(): Promise<string> {
  const folder = mkdtempSync(join(PLACE, ".compiled-source-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const modules = readdirSync(SOURCE, { recursive: true, encoding: "utf8" });
  const build = await rolldown({
    input: modules.filter((name) => /^(?!.*\/browser\/).*\.ts$/.test(name)).map((name) => join(SOURCE, name)),
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
