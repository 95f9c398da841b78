// Prints a CycloneDX bill of materials: all that the package installs, has in its own files and serves to browsers.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { dependenciesOf, nameAt, readJson } from "./lock.mjs";

/** Packages whose files are served to browsers as they are. They contain other libraries. */
const GRAPHIQL = "node_modules/@graphql-yoga/graphiql";
const SWAGGER_UI = "node_modules/swagger-ui-dist";

/** The contents of its bundle according to swagger-ui-dist: names with sizes, without versions. */
const SWAGGER_PARTS = `${SWAGGER_UI}/log.bundle-sizes.swagger-ui.txt`;

const purlOf = (name, version) =>
  `pkg:npm/${name.replace("@", "%40")}${version === undefined ? "" : `@${version}`}`;

function component(name, { version, integrity, license }, properties, scope = "required") {
  const [group, short] = name.startsWith("@") ? name.split("/") : [undefined, name];
  const hash = /^sha512-(.+)$/.exec(integrity ?? "");
  return {
    type: "library",
    "bom-ref": purlOf(name, version),
    ...(group && { group }),
    name: short,
    ...(version && { version }),
    scope,
    ...(hash && { hashes: [{ alg: "SHA-512", content: Buffer.from(hash[1], "base64").toString("hex") }] }),
    ...(license && { licenses: [{ expression: license }] }),
    purl: purlOf(name, version),
    properties: properties.map(([key, value]) => ({ name: `kyc-gateway:${key}`, value })),
  };
}

/** The lines of a bundle's own list: `name: 12.3 KB (4 %)`. */
function swaggerParts() {
  const lines = readFileSync(new URL(`../${SWAGGER_PARTS}`, import.meta.url), "utf8").split("\n");
  return lines.flatMap((line) => /^((?:@[\w.-]+\/)?[\w.-]+): [\d.]+ [KM]?B \(/.exec(line)?.[1] ?? []);
}

/** The names and versions of the libraries that a build has made part of the gateway's own files. */
export function librariesIn(licences) {
  return [...licences.matchAll(/^((?:@[\w.-]+\/)?[\w.-]+) (\d[\w.+-]*) \(.*\)$/gm)].map(
    ([, name, version]) => ({ name, version }),
  );
}

/** The bill, from a lock and a manifest that fit together, and the licences in dist of a build from them. */
export function billOfMaterials(lock, manifest, licences) {
  const packages = { ...lock.packages, "": { ...manifest, devDependencies: undefined } };
  const components = new Map();
  const edges = new Map();
  const add = (one, dependsOn = []) => {
    const ref = one["bom-ref"];
    const known = components.get(ref);
    if (!known) components.set(ref, one);
    else known.properties = mergeProperties(known.properties, one.properties);
    edges.set(ref, new Set([...(edges.get(ref) ?? []), ...dependsOn]));
    return ref;
  };
  const refAt = (location) => purlOf(nameAt(location), packages[location].version);

  const installed = dependenciesOf(packages, [""]);
  for (const { location, entry, optional, dependsOn } of installed.values()) {
    if (location === "") continue;
    const one = component(
      nameAt(location),
      entry,
      [["installed", "node_modules"]],
      optional ? "optional" : "required",
    );
    add(one, dependsOn.map(refAt));
  }
  const served = [...dependenciesOf(packages, [GRAPHIQL]).values()].map(({ location, entry, dependsOn }) => {
    // The versions are those of its own release. For indirect dependencies they may differ slightly.
    const isExact = location === GRAPHIQL || installed.has(location);
    return add(
      component(nameAt(location), entry, [
        ["served-in", "dist/graphiql"],
        ...(isExact ? [] : [["version", "as the lock has it"]]),
      ]),
      dependsOn.map(refAt),
    );
  });
  const parts = swaggerParts().map((name) =>
    add(
      component(name, {}, [
        ["served-in", "dist/swagger-ui"],
        ["version", "not stated by swagger-ui-dist"],
      ]),
    ),
  );
  const swagger = add(
    component(nameAt(SWAGGER_UI), packages[SWAGGER_UI], [["served-in", "dist/swagger-ui"]]),
    parts,
  );

  const builtIn = librariesIn(licences).map(({ name, version }) => {
    const isIt = ([location, entry]) =>
      location.endsWith(`node_modules/${name}`) && entry.version === version;
    const found = Object.entries(packages).find(isIt);
    if (!found)
      throw new Error(`package-lock.json lacks ${name} ${version}, which is built into dist: build again`);
    return add(component(name, found[1], [["built-into", "dist"]]));
  });

  const root = purlOf(manifest.name, manifest.version);
  edges.set(root, new Set([...installed.get("").dependsOn.map(refAt), ...builtIn, served[0], swagger]));
  return {
    ...{ bomFormat: "CycloneDX", specVersion: "1.5", serialNumber: `urn:uuid:${randomUUID()}`, version: 1 },
    metadata: {
      timestamp: new Date().toISOString(),
      lifecycles: [{ phase: "build" }],
      component: {
        ...{ type: "application", "bom-ref": root, name: manifest.name, version: manifest.version },
        ...{
          description: manifest.description,
          purl: root,
          licenses: [{ license: { id: manifest.license } }],
        },
      },
    },
    components: [...components.values()].sort((a, b) => (a["bom-ref"] < b["bom-ref"] ? -1 : 1)),
    dependencies: [...edges].map(([ref, on]) => ({ ref, dependsOn: [...on].sort() })),
  };
}

function mergeProperties(known, more) {
  const isKnown = ({ name, value }) => known.some((one) => one.name === name && one.value === value);
  return [...known, ...more.filter((one) => !isKnown(one))];
}

if (process.argv[1] === import.meta.filename) {
  const licences = readFileSync(new URL("../dist/licences.txt", import.meta.url), "utf8");
  const bill = billOfMaterials(readJson("package-lock.json"), readJson("package.json"), licences);
  process.stdout.write(`${JSON.stringify(bill, null, 2)}\n`);
}
