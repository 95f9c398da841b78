// Builds dist: the gateway with its libraries in a few files, and the other files that it reads. With the hundreds of files
// of the libraries, a start would take a third longer. It runs before every `npm start`. If several run at once, one builds
// and the others wait. Files that exist already are not touched.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { constants, gzip } from "node:zlib";
import { waitForLock } from "fs-native-extensions";
import { rolldown } from "rolldown";
import { parseAst } from "rolldown/parseAst";
import { create } from "tar";

const at = (path) => new URL(path, import.meta.url);

/** Libraries that are more than code: they load a program or machine code from their own folders. */
const SEPARATE = /^(@electric-sql\/pglite|fs-native-extensions)(\/|$)/;

/**
 * Libraries that other libraries load and the gateway does not use; without this, each start would read them. prom-client
 * loads OpenTelemetry's API for exemplars, and no metric has exemplars. Fastify loads compilers for JSON schemas, and no
 * route has a schema.
 */
const UNUSED = [
  { importer: /\/prom-client\//, id: /^@opentelemetry\/api$/ },
  { importer: /\/fastify\//, id: /^@fastify\/(ajv-compiler|fast-json-stringify-compiler)$/ },
];

const WITHOUT_UNUSED = {
  name: "without unused libraries",
  resolveId: (id, importer = "") =>
    UNUSED.some((one) => one.id.test(id) && one.importer.test(importer)) ? "\0unused" : null,
  load: (id) => (id === "\0unused" ? "export {};" : null),
};

/** Leaves in dist the gateway, and the thread of its embedded engine. */
async function bundle() {
  const build = await rolldown({
    cwd: fileURLToPath(at(".")),
    input: { cli: "src/cli/main.ts", "engine-worker": "src/db/embedded/engine-worker.ts" },
    platform: "node",
    external: SEPARATE,
    plugins: [WITHOUT_UNUSED],
    // For libraries without `exports`: their ES modules, of which only the used parts get into the bundle.
    resolve: { mainFields: ["module", "main"] },
  });
  const { output } = await build.generate({
    sourcemap: true,
    // V8 keeps text in ASCII with one byte for each character: it is read and parsed in half of the time.
    comments: false,
    minify: { compress: false, mangle: false, codegen: { asciiOnly: true, removeWhitespace: false } },
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
  });
  await build.close();
  // The chunks are written before the entries that load them.
  for (const one of output.sort((a, b) => Number(a.isEntry ?? false) - Number(b.isEntry ?? false))) {
    leave(one.fileName, one.code === undefined ? one.source : mendSpreads(one.code));
  }
  leave("licences.txt", describeLibraries(output.flatMap(({ moduleIds = [] }) => moduleIds)));
}

/** Names the prototype that each object literal has anyway. */
const PROTOTYPE = "__proto__: Object.prototype, ";

/**
 * Makes no object literal begin with a spread. After one, Node.js 20 defines each further property by its slowest path, which
 * takes 2 to 3 µs (0.02 µs in Node.js 22): 30 µs of a request. Once Node.js 20 is not supported, this function can go.
 */
function mendSpreads(code) {
  const at = [];
  const look = (node) => {
    if (node === null || typeof node !== "object") return;
    if (node.type === "ObjectExpression" && node.properties.length > 1) {
      const [first] = node.properties;
      if (first.type === "SpreadElement") at.push(first.start);
    }
    for (const value of Object.values(node)) look(value);
  };
  look(parseAst(code));
  at.sort((a, b) => a - b);
  return [0, ...at].map((from, i) => (i > 0 ? PROTOTYPE : "") + code.slice(from, at[i])).join("");
}

/** The libraries that these modules belong to, with their licences: they ask to go wherever the code is sent. */
function describeLibraries(modules) {
  const folders = new Set(
    modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id) ?? []),
  );
  return [...folders]
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      const text = file ? `\n\n${readFileSync(join(folder, file), "utf8").trim()}` : "";
      return `${name} ${version} (${license})${text}\n`;
    })
    .sort()
    .join("\n");
}

const left = new Set();

/** Leaves a file in dist, all at once: a gateway that is starting meanwhile must not find it half written. */
function leave(name, contents) {
  left.add(name);
  const target = at(`dist/${name}`);
  if (existsSync(target) && readFileSync(target).equals(Buffer.from(contents))) return;
  writeFileSync(new URL(`${target}.unfinished`), contents);
  renameSync(new URL(`${target}.unfinished`), target);
}

/** Leaves in dist no code but what was left there now, and nothing that an interrupted build began: the package would have it. */
function removeStale() {
  for (const name of readdirSync(at("dist"), { recursive: true })) {
    if (/\.(js|map|css|unfinished)$/.test(name) && !left.has(name)) {
      rmSync(at(`dist/${name}`), { force: true, recursive: true });
    }
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
    leave(`pages/browser/${name}`, readFileSync(at(`src/pages/browser/${name}`)));
  }
}

/**
 * Writes a library's files, compressed, and its licences to dist/<folder>/<version>, and removes other versions. The
 * licences must accompany the files in dist. `files` maps the name of each file to its path in the package. The folder is
 * renamed last: if it exists, it is complete, even after an interrupted build.
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

/**
 * Leaves in dist the files of a new embedded database with all migrations. They are the same each time, and making them takes
 * seconds and much memory: a gateway unpacks them instead. The code and the migrations must be in dist.
 */
async function prepareDatabase() {
  const manifest = new URL("../package.json", import.meta.resolve("@electric-sql/pglite"));
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  const target = fileURLToPath(at(`dist/new-database/${version}-${hashOfMigrations()}.tar.br`));
  if (existsSync(target)) return;
  rmSync(at("dist/new-database"), { recursive: true, force: true });
  mkdirSync(at("dist/new-database"));

  // A short name: the path of the database's socket in it may have some hundred bytes.
  const dataDir = mkdtempSync(join(tmpdir(), "kyc-"));
  const files = join(dataDir, "pgdata");
  try {
    const engine = new Worker(at("dist/engine-worker.js"), { workerData: files });
    await once(engine, "message");
    engine.postMessage(null);
    await once(engine, "exit");
    const cli = fileURLToPath(at("dist/cli.js"));
    await promisify(execFile)(process.execPath, [cli, "migrate"], {
      cwd: dataDir,
      env: { DATA_DIR: dataDir },
    });
    const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 6, [constants.BROTLI_PARAM_LGWIN]: 24 } };
    await create({ cwd: files, file: `${target}.unfinished`, portable: true, brotli }, ["."]);
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
  renameSync(`${target}.unfinished`, target);
}

/** Changes if any of the migrations in dist does. */
function hashOfMigrations() {
  const folder = at("dist/db/migrations/");
  const files = readdirSync(folder).filter((name) => name.endsWith(".sql"));
  const hash = createHash("sha256");
  for (const name of files.sort()) hash.update(readFileSync(new URL(name, folder)));
  return hash.digest("hex").slice(0, 8);
}

mkdirSync(at("dist"), { recursive: true });
await waitForLock(openSync(at("dist/.lock"), "w"));
await bundle();
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
await prepareDatabase();
// A new file has no execute bit, and `npx kyc-gateway` in a checkout runs the file itself.
chmodSync(at("dist/cli.js"), 0o755);
