import type { FastifyInstance, FastifyRequest } from "fastify";
import { findBuiltAssets, serveBuiltAssets, serveOwnAsset } from "./assets.ts";
import { pageHead, sendPage, shield } from "./page.ts";

/**
 * Adds `/docs`: the reference of the REST API, in which each call can be tried, over the document at `/openapi.json`.
 * Everything comes from this host. The token that `tokenFor` has for a request is filled in. Adds nothing where the
 * build has left no files.
 */
export async function registerDocs(
  app: FastifyInstance,
  { graphiql }: { graphiql: boolean },
  tokenFor: (request: FastifyRequest) => Promise<string | null>,
): Promise<void> {
  const swagger = await findBuiltAssets("swagger-ui", "/docs/assets");
  if (swagger === undefined) return;
  serveBuiltAssets(app, swagger, ["swagger-ui.css", "swagger-ui-bundle.js"]);
  const [style, script] = [await serveOwnAsset(app, "docs.css"), await serveOwnAsset(app, "docs.js")];
  const head = pageHead(
    "REST API · KYC gateway",
    `<link rel="stylesheet" href="${swagger.path("swagger-ui.css")}">
<link rel="stylesheet" href="${style}">
<script src="${swagger.path("swagger-ui-bundle.js")}" defer></script>
<script src="${script}" defer></script>`,
  );
  const page = (token: string | null) => `${head}
<body>
<nav><a href="/">${shield}KYC gateway</a>${graphiql ? '<a href="/graphql">GraphQL</a>' : ""}<a href="/openapi.json">OpenAPI</a></nav>
<main id="docs"${token === null ? "" : ` data-token="${token}"`}><p>Loading …</p></main>
<noscript><p>The reference needs JavaScript. The document itself is at <a href="/openapi.json">/openapi.json</a>.</p></noscript>
</body>
</html>
`;
  app.get("/docs", async (request, reply) =>
    sendPage(reply, page(await tokenFor(request)), {
      "script-src": "'self'",
      "style-src": "'self'",
      "img-src": "'self' data:",
      "connect-src": "'self'",
    }),
  );
}
