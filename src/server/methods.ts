import { METHODS } from "node:http";
import type { FastifyInstance, RouteOptions } from "fastify";
import { RequestRefusal } from "../errors.ts";

/** A path that has a route. */
interface Path {
  methods: Set<string>;
  /** How its surface renders a failure. */
  errorHandler: RouteOptions["errorHandler"];
}

/**
 * Records which routes are registered from now on. The returned function makes their paths answer all other methods that
 * Node supports: OPTIONS with 204, others with 405, both with `Allow`. Neither needs a token.
 */
export function watchMethods(app: FastifyInstance): () => void {
  const paths = new Map<string, Path>();
  app.addHook("onRoute", function watch({ url, method, routePath, prefix }) {
    // The CORS plugin's route for preflights.
    if (url.includes("*")) return;
    // Fastify reports only one of the two paths of a prefix's own route.
    for (const path of routePath === "" && prefix !== "" ? [url, `${url}/`] : [url]) {
      const known = paths.get(path) ?? { methods: new Set(), errorHandler: this.errorHandler };
      for (const one of [method].flat()) known.methods.add(one);
      paths.set(path, known);
    }
  });
  return () => {
    for (const method of METHODS) {
      if (!app.supportedMethods.includes(method)) app.addHttpMethod(method);
    }
    for (const [url, path] of [...paths]) answerOtherMethods(app, url, path);
  };
}

function answerOtherMethods(app: FastifyInstance, url: string, { methods, errorHandler }: Path): void {
  // Fastify has registered HEAD after GET.
  const served = [...methods].filter((method) => method !== "HEAD");
  const allowed = [
    ...served.flatMap((method) => (method === "GET" ? [method, "HEAD"] : [method])),
    "OPTIONS",
  ];
  const allow = allowed.join(", ");
  app.options(url, (_request, reply) => reply.code(204).header("allow", allow).send());
  app.route({
    method: METHODS.filter((method) => !allowed.includes(method)),
    url,
    // Refuse before the body is read.
    onRequest: (_request, _reply, done) => {
      done(new RequestRefusal(405, "method_not_allowed", `Only ${allow} can be used here.`, { allow }));
    },
    handler: () => undefined,
    ...(errorHandler && { errorHandler }),
  });
}
