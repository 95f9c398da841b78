import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/**
 * Loads a module of src into plain Node, which can't read TypeScript: it is compiled into a file next to dist, where it
 * finds the same libraries as the gateway.
 *
 * @param {string} path of the module in src
 * @returns {Promise<any>} its exports
 */
export async function loadSource(path) {
  const file = new URL(`../../node_modules/.kyc-gateway-${randomUUID()}.mjs`, import.meta.url);
  const build = await rolldown({
    input: fileURLToPath(new URL(`../../src/${path}`, import.meta.url)),
    platform: "node",
    external: (id) => !id.startsWith(".") && !isAbsolute(id),
  });
  try {
    await build.write({ file: fileURLToPath(file), codeSplitting: false });
    return await import(file.href);
  } finally {
    await build.close();
    rmSync(file, { force: true });
  }
}
