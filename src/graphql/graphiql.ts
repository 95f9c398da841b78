import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

/** Where the build puts the compressed files; the same folder seen from src/graphql and dist/graphql. */
const builtFiles = new URL("../../dist/graphiql/", import.meta.url);

const javascript = "text/javascript; charset=utf-8";
const assets = {
  "graphiql.js": javascript,
  "graphiql.css": "text/css; charset=utf-8",
  "editor.worker.js": javascript,
  "graphql.worker.js": javascript,
  "json.worker.js": javascript,
};

const firstQuery = `# Welcome to the KYC gateway.
#
# Every record needs a token. Put yours into
# the Headers pane below, in this form:
#
#   {"Authorization": "Bearer …"}
#
# A gateway on its embedded database has left
# one in DATA_DIR, by default .data/dev-token.

query NewestRecords {
  kycs(first: 5) {
    nodes {
      id
      customerId
      verificationStatus
      documentType
      createdAt
    }
    pageInfo {
      hasNextPage
      endCursor
    }
    totalCount
  }
}
`;

const shield =
  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' width='24' height='24' fill='none' " +
  "stroke='#d60590' stroke-width='2' stroke-linecap='round' stroke-linejoin='round'>" +
  "<path d='M12 2.5 4 5.5v6c0 5 3.4 8.3 8 10 4.6-1.7 8-5 8-10v-6Z'/><path d='m8.5 12 2.5 2.5 4.5-5'/></svg>";

/**
 * Serves GraphiQL's script, style and workers below `/graphql/assets/`, from this host alone.
 * Each file has a route of its own, so no part of a request ever becomes a file's path.
 * Adds nothing where the build has left no files.
 */
export async function registerGraphiql(app: FastifyInstance): Promise<void> {
  const version = await builtVersion();
  if (version === undefined) return;
  for (const [name, type] of Object.entries(assets)) {
    app.get(assetPath(version, name), async (request, reply) => {
      const compressed = await readFile(new URL(`${version}/${name}.gz`, builtFiles));
      reply
        .type(type)
        .header("cache-control", "public, max-age=31536000, immutable")
        .header("vary", "accept-encoding")
        .header("x-content-type-options", "nosniff")
        // A worker obeys the policy that comes with its own script: these need no network at all.
        .header("content-security-policy", "default-src 'none'");
      if (quality(request.headers["accept-encoding"], "gzip") === 0) return promisify(gunzip)(compressed);
      return reply.header("content-encoding", "gzip").send(compressed);
    });
  }
}

/** Whether a request to `/graphql` comes from a person's browser, which wants the page and not an answer. */
export function wantsGraphiql(request: FastifyRequest): boolean {
  if (request.method !== "GET" || "query" in (request.query as object)) return false;
  const accept = request.headers.accept;
  const answers = ["application/graphql-response+json", "application/json"];
  return quality(accept, "text/html") > Math.max(...answers.map((type) => quality(accept, type)));
}

/** Answers with the GraphiQL page, or with 404 and the command that helps where it was not built. */
export async function sendGraphiql(reply: FastifyReply): Promise<FastifyReply> {
  const version = await builtVersion();
  if (version === undefined) {
    return reply.code(404).type("text/plain").send("GraphiQL is not built here. Run: npm run build\n");
  }
  const { html, policy } = graphiqlPage(version);
  return reply
    .type("text/html; charset=utf-8")
    .header("content-security-policy", policy)
    .header("referrer-policy", "no-referrer")
    .header("x-content-type-options", "nosniff")
    .header("cache-control", "no-store")
    .send(html);
}

/** The page over the files of one version, and the content security policy it needs. */
function graphiqlPage(version: string): { html: string; policy: string } {
  const script = startScript(version);
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>KYC gateway</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(shield)}">
<link rel="modulepreload" href="${assetPath(version, "graphiql.js")}">
<link rel="stylesheet" href="${assetPath(version, "graphiql.css")}">
<style>
html, body, #graphiql { height: 100%; margin: 0; }
.graphiql-container .graphiql-logo { padding-right: 12px; }
.notice { padding: 2rem; font: 1rem system-ui, sans-serif; }
</style>
</head>
<body>
<div id="graphiql"><p class="notice">Loading GraphiQL …</p></div>
<noscript><p class="notice">GraphiQL needs JavaScript. The API itself answers at this address without it.</p></noscript>
<script type="module">${script}</script>
</body>
</html>
`;
  const hash = createHash("sha256").update(script).digest("base64");
  const policy = [
    "default-src 'none'",
    `script-src 'self' 'sha256-${hash}'`,
    "worker-src 'self'",
    // GraphiQL's editor writes its rules into style elements and attributes while it runs.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return { html, policy };
}

/**
 * Inline, under its hash, because it changes with the gateway and the files' addresses change only with
 * GraphiQL's version. The editor looks for its workers while its module loads, hence the order.
 */
function startScript(version: string): string {
  const workers = {
    graphql: assetPath(version, "graphql.worker.js"),
    json: assetPath(version, "json.worker.js"),
    editorWorkerService: assetPath(version, "editor.worker.js"),
  };
  return `
const workers = ${JSON.stringify(workers)};
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(workers[label] ?? workers.editorWorkerService, { name: label }),
};
const { renderYogaGraphiQL } = await import(${JSON.stringify(assetPath(version, "graphiql.js"))});
const kept = JSON.parse(sessionStorage.getItem("graphiql:tabState"));
const tab = kept?.tabs[kept.activeTabIndex];
renderYogaGraphiQL(document.getElementById("graphiql"), {
  endpoint: "/graphql",
  title: "KYC gateway",
  logo: ${JSON.stringify(shield)},
  defaultQuery: ${JSON.stringify(firstQuery)},
  // A reload finds the tab again by its contents, and would open an empty one otherwise.
  initialQuery: tab?.query,
  initialVariables: tab?.variables,
  defaultEditorToolsVisibility: "headers",
  // Queries and variables hold personal data: they stay out of the address and so of the history, and
  // are forgotten with the tab. Tokens are not kept at all.
  onEditQuery() {},
  storage: sessionStorage,
  shouldPersistHeaders: false,
});
`;
}

function assetPath(version: string, name: string): string {
  return `/graphql/assets/${version}/${name}`;
}

/** The version of GraphiQL in dist, or undefined where the build has not run. */
async function builtVersion(): Promise<string | undefined> {
  try {
    return (await readdir(builtFiles))[0];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** How much a header such as Accept wants a value that it names, from 0 to 1; wildcards count for nothing. */
function quality(header: string | undefined, value: string): number {
  for (const choice of (header ?? "").toLowerCase().split(",")) {
    const [name, ...parameters] = choice.split(";").map((part) => part.trim());
    if (name !== value) continue;
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    return weight === undefined ? 1 : Number(weight.slice(2)) || 0;
  }
  return 0;
}
