import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Assets, findBuiltAssets, serveAssets } from "../../pages/assets.ts";
import { pageHead, prefersPage, sendPage, shield } from "../../pages/page.ts";
import { exampleTabs } from "./examples.ts";

const FILES = ["graphiql.js", "graphiql.css", "editor.worker.js", "graphql.worker.js", "json.worker.js"];

/**
 * Serves GraphiQL's script, style and workers below `/graphql/assets/`, from this host alone. Returns the function that
 * answers with the page or, if the build's files are missing, with 404 and the command that builds them.
 */
export async function registerGraphiql(
  app: FastifyInstance,
  own: Pick<Assets, "path">,
): Promise<(reply: FastifyReply) => FastifyReply> {
  const files = await findBuiltAssets("graphiql", "/graphql/assets");
  if (!files) {
    const words = "GraphiQL is not built here. Run: npm run build\n";
    return (reply) => reply.code(404).type("text/plain").send(words);
  }
  serveAssets(app, files, FILES);
  const html = graphiqlPage(files, own.path("start-graphiql.js"), settingsOf(files));
  return (reply) =>
    sendPage(reply, html, {
      "script-src": "'self'",
      "worker-src": "'self'",
      // GraphiQL's editor writes its rules into style elements and attributes while it runs.
      "style-src": "'self' 'unsafe-inline'",
      "img-src": "'self' data:",
      "font-src": "'self' data:",
      "connect-src": "'self'",
    });
}

/** Whether a request to `/graphql` asks for the page, as a browser does, and not for an answer. */
export function wantsGraphiql(request: FastifyRequest): boolean {
  return request.method !== "POST" && !("query" in (request.query as object)) && prefersPage(request);
}

/** The page that loads these files. The script at `start` fills it. */
function graphiqlPage(files: Assets, start: string, settings: object): string {
  // No text in it can end the script element.
  const json = JSON.stringify(settings).replaceAll("<", "\\u003c");
  const head = pageHead(
    "GraphQL · KYC gateway",
    `<link rel="modulepreload" href="${files.path("graphiql.js")}">
<link rel="stylesheet" href="${files.path("graphiql.css")}">
<style>
html, body, #graphiql { height: 100%; margin: 0; }
.graphiql-container .graphiql-logo { padding-right: 12px; white-space: nowrap; }
/* The tabs keep the offset of an animation, so that pressing a button moves a tab away from the pointer. */
.graphiql-container .graphiql-tab { transform: none !important; }
@media (max-width: 700px) {
  .graphiql-container #graphiql-session { flex-direction: column; }
  .graphiql-container .graphiql-horizontal-drag-bar { display: none; }
  .graphiql-container .graphiql-editors, .graphiql-container .graphiql-response { min-height: 0; }
}
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

/** The settings that the page's script reads from the page. */
function settingsOf(files: Assets): object {
  return {
    script: files.path("graphiql.js"),
    workers: {
      graphql: files.path("graphql.worker.js"),
      json: files.path("json.worker.js"),
      editorWorkerService: files.path("editor.worker.js"),
    },
    logo: shield,
    tabs: { withToken: exampleTabs(true), withoutToken: exampleTabs(false) },
  };
}
