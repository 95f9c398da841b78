import { createHash } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type BuiltAssets, findBuiltAssets, serveBuiltAssets } from "../pages/assets.ts";
import { pageHead, prefersPage, sendPage, shield } from "../pages/page.ts";
import { exampleTabs } from "./examples.ts";

const FILES = ["graphiql.js", "graphiql.css", "editor.worker.js", "graphql.worker.js", "json.worker.js"];
const findFiles = () => findBuiltAssets("graphiql", "/graphql/assets");

/**
 * Serves GraphiQL's script, style and workers below `/graphql/assets/`, from this host alone.
 * Adds nothing where the build has left no files.
 */
export async function registerGraphiql(app: FastifyInstance): Promise<void> {
  const files = await findFiles();
  if (files) serveBuiltAssets(app, files, FILES);
}

/** Whether a request to `/graphql` comes from a person's browser, which wants the page and not an answer. */
export function wantsGraphiql(request: FastifyRequest): boolean {
  return request.method === "GET" && !("query" in (request.query as object)) && prefersPage(request);
}

/**
 * Answers with the GraphiQL page, or with 404 and the command that helps where it was not built. A token that is given
 * stands in the page's Headers pane.
 */
export async function sendGraphiql(reply: FastifyReply, token: string | null): Promise<FastifyReply> {
  const files = await findFiles();
  if (files === undefined) {
    return reply.code(404).type("text/plain").send("GraphiQL is not built here. Run: npm run build\n");
  }
  const script = startScript(files, token);
  return sendPage(reply, graphiqlPage(files, script), {
    "script-src": `'self' 'sha256-${createHash("sha256").update(script).digest("base64")}'`,
    "worker-src": "'self'",
    // GraphiQL's editor writes its rules into style elements and attributes while it runs.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
  });
}

/** The page over these files, with its script. */
function graphiqlPage(files: BuiltAssets, script: string): string {
  const head = pageHead(
    "GraphQL · KYC gateway",
    `<link rel="modulepreload" href="${files.path("graphiql.js")}">
<link rel="stylesheet" href="${files.path("graphiql.css")}">
<style>
html, body, #graphiql { height: 100%; margin: 0; }
.graphiql-container .graphiql-logo { padding-right: 12px; white-space: nowrap; }
.notice { padding: 2rem; font: 1rem system-ui, sans-serif; }
</style>`,
  );
  return `${head}
<body>
<div id="graphiql"><p class="notice">Loading GraphiQL …</p></div>
<noscript><p class="notice">GraphiQL needs JavaScript. The API itself answers at this address without it.</p></noscript>
<script type="module">${script}</script>
</body>
</html>
`;
}

/**
 * Inline, under its hash, because it changes with the gateway and the files' addresses change only with
 * GraphiQL's version. The editor looks for its workers while its module loads, hence the order.
 */
function startScript(files: BuiltAssets, token: string | null): string {
  const workers = {
    graphql: files.path("graphql.worker.js"),
    json: files.path("json.worker.js"),
    editorWorkerService: files.path("editor.worker.js"),
  };
  return `
const workers = ${JSON.stringify(workers)};
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(workers[label] ?? workers.editorWorkerService, { name: label }),
};
const { renderYogaGraphiQL } = await import(${JSON.stringify(files.path("graphiql.js"))});
const kept = JSON.parse(sessionStorage.getItem("graphiql:tabState"));
const tab = kept?.tabs[kept.activeTabIndex];
renderYogaGraphiQL(document.getElementById("graphiql"), {
  endpoint: "/graphql",
  title: "KYC gateway",
  logo: ${JSON.stringify(shield)},
  defaultQuery: "",
  defaultTabs: ${JSON.stringify(exampleTabs(token !== null))},
  headers: ${token === null ? "undefined" : JSON.stringify(headersWith(token))},
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

/** What stands in the Headers pane. */
const headersWith = (token: string) => JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2);
