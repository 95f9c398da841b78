import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import {
  type BuiltAssets,
  findBuiltAssets,
  findOwnAsset,
  serveBuiltAssets,
  serveOwnAsset,
} from "../pages/assets.ts";
import { pageHead, prefersPage, sendPage, shield } from "../pages/page.ts";
import { exampleTabs } from "./examples.ts";

const FILES = ["graphiql.js", "graphiql.css", "editor.worker.js", "graphql.worker.js", "json.worker.js"];
const START = "start-graphiql.js";
const findFiles = () => findBuiltAssets("graphiql", "/graphql/assets");

/**
 * Serves GraphiQL's script, style and workers below `/graphql/assets/`, from this host alone.
 * Adds nothing where the build has left no files.
 */
export async function registerGraphiql(app: FastifyInstance): Promise<void> {
  const files = await findFiles();
  if (!files) return;
  serveBuiltAssets(app, files, FILES);
  await serveOwnAsset(app, START);
}

/** Whether a request to `/graphql` comes from a person's browser, which wants the page and not an answer. */
export function wantsGraphiql(request: FastifyRequest): boolean {
  return request.method !== "POST" && !("query" in (request.query as object)) && prefersPage(request);
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
  const { path } = await findOwnAsset(START);
  return sendPage(reply, graphiqlPage(files, path, settingsOf(files, token)), {
    "script-src": "'self'",
    "worker-src": "'self'",
    // GraphiQL's editor writes its rules into style elements and attributes while it runs.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
  });
}

/** The page over these files, which the script at `start` fills. */
function graphiqlPage(files: BuiltAssets, start: string, settings: object): string {
  // Nothing in it ends the element.
  const json = JSON.stringify(settings).replaceAll("<", "\\u003c");
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
<script type="application/json" id="settings">${json}</script>
<script type="module" src="${start}"></script>
</body>
</html>
`;
}

/** What the page's script takes from the page. */
function settingsOf(files: BuiltAssets, token: string | null): object {
  return {
    script: files.path("graphiql.js"),
    workers: {
      graphql: files.path("graphql.worker.js"),
      json: files.path("json.worker.js"),
      editorWorkerService: files.path("editor.worker.js"),
    },
    logo: shield,
    defaultTabs: exampleTabs(token !== null),
    ...(token !== null && { headers: headersWith(token) }),
  };
}

/** What stands in the Headers pane. */
const headersWith = (token: string) => JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2);
