import type { FastifyInstance, FastifyRequest } from "fastify";
import { RequestRefusal } from "../errors.ts";
import { usedTls } from "../lib/header-text.ts";
import { readVersion } from "../version.ts";
import type { Assets } from "./assets.ts";
import { pageHead, prefersPage, sendPage, shield } from "./page.ts";

/** Adds `/`: a page that describes the gateway and links to its other pages. Clients that prefer no page get a 404. */
export function registerLanding(
  app: FastifyInstance,
  config: { graphiql: boolean; databaseUrl: string | undefined },
  own: Pick<Assets, "path">,
): void {
  const head = pageHead(
    "KYC gateway",
    `<link rel="stylesheet" href="${own.path("landing.css")}">
<script type="module" src="${own.path("landing.js")}"></script>`,
  );
  app.get("/", (request, reply) => {
    reply.header("vary", "accept");
    if (!prefersPage(request))
      throw new RequestRefusal(404, "route_unknown", "There is nothing at this address.");
    const html = `${head}\n<body>\n${landing(originOf(request), config)}</body>\n</html>\n`;
    return sendPage(reply, html, { "script-src": "'self'", "style-src": "'self'", "img-src": "data:" });
  });
}

/** The origin of the request's URL, or a placeholder if its host is not plain. */
function originOf({ host, headers }: FastifyRequest): string {
  // The gateway itself serves plain HTTP.
  const scheme = usedTls(headers) ? "https" : "http";
  return `${scheme}://${/^([\w.-]+|\[[\da-f:]+\])(:\d+)?$/i.test(host) ? host : "gateway.example"}`;
}

const card = (path: string, title: string, words: string) =>
  `<li><a href="${path}"><h2>${title}</h2><p>${words}</p><code>${path}</code></a></li>`;

function landing(
  origin: string,
  { graphiql, databaseUrl }: { graphiql: boolean; databaseUrl: string | undefined },
): string {
  const embedded = databaseUrl === undefined;
  const token = embedded ? "$(cat .data/dev-token)" : "$TOKEN";
  return `<header>
${shield}
<h1>KYC gateway</h1>
<p>Know-Your-Customer records over GraphQL, and over REST for the clients that were there before.</p>
</header>
<main>
<ul class="cards">
${graphiql ? card("/graphql", "GraphQL", "GraphiQL: the documented schema, and examples to run.") : ""}
${card("/docs", "REST API", "Every call explained, and ready to be tried.")}
${card("/openapi.json", "OpenAPI 3.1", "The REST API for generators and other tools.")}
</ul>
<section>
<h2>A token first</h2>
<p>Every record needs one. ${
    embedded
      ? "This gateway runs on its embedded database, and has left one in <code>.data/dev-token</code> (or wherever its <code>DATA_DIR</code> is)."
      : "Whoever runs this gateway makes them:"
  }</p>
${embedded ? "" : "<pre>npx kyc-gateway token create --account demo --name first --scopes kyc:read,kyc:write,kyc:pii</pre>"}
</section>
<section>
<h2>A first request</h2>
<pre>curl <b>${origin}/graphql</b> \\
  -H "Authorization: Bearer ${token}" -H "Content-Type: application/json" \\
  -d '{"query": "{ kycs(first: 5) { nodes { id verificationStatus } } }"}'</pre>
<pre>curl <b>${origin}/v1/kyc</b> -H "Authorization: Bearer ${token}"</pre>
</section>
<section>
<h2>Something to look at</h2>
<p>This adds 200 made-up records to the account <code>demo</code>, also if it has some:</p>
<pre>npx kyc-gateway demo --again</pre>
</section>
<section>
<h2>For operators</h2>
<p><a href="/health">/health</a> the process is alive · <a href="/ready">/ready</a> it can serve ·
<a href="/metrics">/metrics</a> figures for Prometheus</p>
<p>The README that came with it leads to the documents about configuration and operation. This is release ${readVersion()}.</p>
</section>
</main>
`;
}
