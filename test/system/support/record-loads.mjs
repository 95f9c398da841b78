// Writes the URL of every module that this process loads to stderr, if Node.js is started with `--import` of this file.
import { createRequire, register } from "node:module";

const hooks = `
  import { writeSync } from "node:fs";
  export async function load(url, context, next) {
    writeSync(2, "loaded " + url + "\\n");
    return next(url, context);
  }`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
process.once("exit", () => {
  const { cache } = createRequire(import.meta.url);
  process.stderr.write(
    Object.keys(cache)
      .map((file) => `loaded ${file}\n`)
      .join(""),
  );
});
