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

/** Leaves in dist nothing of a source that is gone: the package would have it. */
function removeStale() {
  for (const name of readdirSync(at("dist"), { recursive: true })) {
    if (!/\.(js|js\.map|css)$/.test(name)) continue;
    const source = name.startsWith("pages/browser/") ? name : name.replace(/\.js(\.map)?$/, ".ts");
    if (!existsSync(at(`src/${source}`))) rmSync(at(`dist/${name}`), { force: true });
  }
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

/** Leaves in dist what pages load besides libraries. */
function copyPageFiles() {
  mkdirSync(at("dist/pages/browser"), { recursive: true });
  for (const name of readdirSync(at("src/pages/browser"))) {
    const [source, target] = [at(`src/pages/browser/${name}`), at(`dist/pages/browser/${name}`)];
    if (existsSync(target) && readFileSync(source).equals(readFileSync(target))) continue;
    copyFileSync(source, new URL(`${target}.unfinished`));
    renameSync(new URL(`${target}.unfinished`), target);
  }
}

/**
 * Leaves a library's files compressed in dist/<folder>/<version>, the only folder there, and its licences with them:
 * they ask to go wherever dist is sent. `files` has the name of each file and where the package has it.
 * The folder gets its name last, so one that is there is whole, even after an interrupted build.
 */
async function compressLibrary(folder, manifest, files, licences) {
  const source = new URL("./", manifest);
  const { version } = JSON.parse(readFileSync(new URL("package.json", source), "utf8"));
  const target = at(`dist/${folder}/${version}`);
  if (existsSync(target)) return;

  const unfinished = at(`dist/${folder}.unfinished/`);
  for (const old of [unfinished, at(`dist/${folder}`)]) rmSync(old, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await Promise.all(
    Object.entries(files).map(async ([file, from]) => {
      const compressed = await promisify(gzip)(await readFile(new URL(from, source)));
      await writeFile(new URL(`${file}.gz`, unfinished), compressed);
    }),
  );
  for (const licence of licences) copyFileSync(new URL(licence, source), new URL(licence, unfinished));
  mkdirSync(at(`dist/${folder}`), { recursive: true });
  renameSync(unfinished, target);
}

mkdirSync(at("dist"), { recursive: true });
await waitForLock(openSync(at("dist/.lock"), "w"));
compile();
copyMigrations();
copyPageFiles();
removeStale();
await compressLibrary(
  "graphiql",
  import.meta.resolve("@graphql-yoga/graphiql/package.json"),
  {
    "graphiql.js": "dist/yoga-graphiql.es.js",
    "graphiql.css": "dist/graphiql.css",
    "editor.worker.js": "dist/monacoeditorwork/editor.worker.bundle.js",
    "graphql.worker.js": "dist/monacoeditorwork/graphql.worker..bundle.js",
    "json.worker.js": "dist/monacoeditorwork/json.worker.bundle.js",
  },
  ["LICENSE"],
);
await compressLibrary(
  "swagger-ui",
  import.meta.resolve("swagger-ui-dist/package.json"),
  { "swagger-ui.css": "swagger-ui.css", "swagger-ui-bundle.js": "swagger-ui-bundle.js" },
  ["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"],
);
// tsc writes no execute bit, and `npx kyc-gateway` in a checkout runs the file itself.
chmodSync(at("dist/cli.js"), 0o755);
