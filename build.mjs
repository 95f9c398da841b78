// Makes dist: the compiled gateway, and what it reads besides its own code. It runs before every `npm start`, also
// of several at once: one builds while the others wait, and what is there already is not touched.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { waitForLock } from "fs-native-extensions";

const at = (path) => new URL(path, import.meta.url);

/** Incremental: a gateway that is starting from dist meanwhile must not find a file half written. */
function compile() {
  const compiler = fileURLToPath(new URL("bin/tsc", import.meta.resolve("typescript/package.json")));
  const { status } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
    cwd: at("."),
    stdio: "inherit",
  });
  if (status !== 0) process.exit(1);
}

/** Leaves in dist exactly the migrations of src: one that was renamed must not linger and run twice. */
function copyMigrations() {
  const [source, target] = [at("src/db/migrations/"), at("dist/db/migrations/")];
  const files = (folder) => (existsSync(folder) ? readdirSync(folder, { recursive: true }).sort() : []);
  const isFile = (name) => /\.(sql|json)$/.test(name);
  const same = (name) => readFileSync(new URL(name, source)).equals(readFileSync(new URL(name, target)));
  const names = files(source);
  if (names.join() === files(target).join() && names.filter(isFile).every(same)) return;
  rmSync(target, { recursive: true, force: true });
  cpSync(source, target, { recursive: true });
}

/**
 * Leaves GraphiQL's files compressed in dist/graphiql/<version>, the only folder there.
 * The folder gets that name last, so one that is there is whole, even after an interrupted build.
 */
async function compressGraphiql() {
  const source = new URL("./", import.meta.resolve("@graphql-yoga/graphiql/package.json"));
  const { version } = JSON.parse(readFileSync(new URL("package.json", source), "utf8"));
  const target = at(`dist/graphiql/${version}`);
  if (existsSync(target)) return;

  const unfinished = at("dist/graphiql.unfinished/");
  for (const old of [unfinished, at("dist/graphiql")]) rmSync(old, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const files = {
    "graphiql.js": "yoga-graphiql.es.js",
    "graphiql.css": "graphiql.css",
    "editor.worker.js": "monacoeditorwork/editor.worker.bundle.js",
    "graphql.worker.js": "monacoeditorwork/graphql.worker..bundle.js",
    "json.worker.js": "monacoeditorwork/json.worker.bundle.js",
  };
  await Promise.all(
    Object.entries(files).map(async ([name, from]) => {
      const compressed = await promisify(gzip)(await readFile(new URL(`dist/${from}`, source)));
      await writeFile(new URL(`${name}.gz`, unfinished), compressed);
    }),
  );
  // The package's licence asks to go with its files wherever dist is sent.
  copyFileSync(new URL("LICENSE", source), new URL("LICENSE", unfinished));
  mkdirSync(at("dist/graphiql"), { recursive: true });
  renameSync(unfinished, target);
}

mkdirSync(at("dist"), { recursive: true });
await waitForLock(openSync(at("dist/.lock"), "w"));
compile();
copyMigrations();
await compressGraphiql();
// tsc writes no execute bit, and `npx kyc-gateway` in a checkout runs the file itself.
chmodSync(at("dist/cli.js"), 0o755);
