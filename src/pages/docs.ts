import type { FastifyInstance } from "fastify";
import { type Assets, findBuiltAssets, serveAssets } from "./assets.ts";
import { pageHead, sendPage, shield } from "./page.ts";

/**
 * Adds `/docs`: the reference of the REST API, in which each call can be tried, over the document at `/openapi.json`.
 * All files are served from this host. Adds nothing if the build's files are missing.
 */
export async function registerDocs(
  app: FastifyInstance,
  { graphiql }: { graphiql: boolean },
  own: Pick<Assets, "path">,
): Promise<void> {
  const swagger = await findBuiltAssets("swagger-ui", "/docs/assets");
  if (swagger === undefined) return;
  serveAssets(app, swagger, ["swagger-ui.css", "swagger-ui-bundle.js"]);
  const head = pageHead(
    "REST API · KYC gateway",
    `<link rel="stylesheet" href="${swagger.path("swagger-ui.css")}">
<link rel="stylesheet" href="${own.path("docs.css")}">
<script src="${swagger.path("swagger-ui-bundle.js")}" defer></script>
<script type="module" src="${own.path("docs.js")}"></script>`,
  );
  const page = `${head}
<body>
<nav><a href="/">${shield}KYC gateway</a>${graphiql ? '<a href="/graphql">GraphQL</a>' : ""}<a href="/openapi.json">OpenAPI</a></nav>
<main id="docs"><p>Loading …</p></main>
<noscript><p>The reference needs JavaScript. The document itself is at <a href="/openapi.json">/openapi.json</a>.</p></noscript>
</body>
</html>
`;
  app.get("/docs", (_request, reply) =>
    sendPage(reply, page, {
      "script-src": "'self'",
      "style-src": "'self'",
      "img-src": "'self' data:",
      "connect-src": "'self'",
    }),
  );
}
