import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import findMyWay from "find-my-way";
import { RequestRefusal } from "../errors.ts";
import { nothingHere } from "./failures.ts";
import { MAX_HEADER_SIZE } from "./http-server.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The path of the routes for other methods, if no route is for the request's own. */
    refusedRoute: string | undefined;
  }
}

/** A path that has a route. */
interface Path {
  url: string;
  methods: Set<string>;
  /** The value of `Allow`, once all routes are known. */
  allow: string;
  /** How its surface renders a failure. */
  errorHandler: FastifyInstance["errorHandler"];
}

/**
 * Refuses requests that no route is for, before their body is read and without a token: with 405 and `Allow` if a route that
 * is registered from now on is for another method of the path, otherwise with 404. The returned function is to be called
 * after the last route. It makes the paths of those routes answer OPTIONS.
 *
 * Most of Node's methods are no route's. A router with one method finds the path of their requests: routes for each of those
 * methods, at each path, would add 60 ms to a start.
 */
export function refuseUnmatched(app: FastifyInstance): () => void {
  const paths = new Map<string, Path>();
  // As in Fastify's router: an id that is too long is like any unknown one.
  const router = findMyWay({ maxParamLength: MAX_HEADER_SIZE });
  app.decorateRequest("refusedRoute", undefined);
  app.addHook("onRoute", function watch({ url, method, routePath, prefix }) {
    // The CORS plugin's route for preflights.
    if (url.includes("*")) return;
    // Fastify reports only one of the two paths of a prefix's own route.
    for (const one of routePath === "" && prefix !== "" ? [url, `${url}/`] : [url]) {
      const { errorHandler } = this;
      const path = paths.get(one) ?? { url: one, methods: new Set(), allow: "", errorHandler };
      // A route of this module.
      if (path.allow !== "") return;
      if (!paths.has(one)) router.on("GET", one, () => {}, path);
      paths.set(one, path);
      for (const name of [method].flat()) path.methods.add(name);
    }
  });
  app.setNotFoundHandler(() => {
    throw nothingHere();
  });
  app.addHook("onRequest", (request, reply, done) => {
    if (!request.is404) return done();
    const found = router.find("GET", request.url);
    if (found) refuseMethod(found.store, request, reply);
    else done(nothingHere());
  });
  return () => {
    const methods = new Set([...paths.values()].flatMap((path) => [...path.methods]));
    for (const path of paths.values()) {
      path.allow = describeMethods(path.methods);
      answerOtherMethods(app, path, methods);
    }
  };
}

/**
 * Answers OPTIONS, and those of `methods` that are not the path's: the route of a parameter, such as an id, that is for them
 * would otherwise take their requests.
 */
function answerOtherMethods(app: FastifyInstance, path: Path, methods: ReadonlySet<string>): void {
  const { url, allow } = path;
  const others = [...methods].filter((method) => !path.methods.has(method));
  app.options(url, (_request, reply) => reply.code(204).header("allow", allow).send());
  if (others.length === 0) return;
  app.route({
    ...{ method: others, url },
    onRequest: (request, reply) => refuseMethod(path, request, reply),
    handler: () => undefined,
  });
}

function refuseMethod(
  { url, allow, errorHandler }: Path,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  request.refusedRoute = url;
  const refusal = new RequestRefusal(405, "method_not_allowed", `Only ${allow} can be used here.`, { allow });
  errorHandler(refusal, request, reply);
}

function describeMethods(methods: ReadonlySet<string>): string {
  // Fastify registers HEAD after GET.
  const served = [...methods].filter((method) => method !== "HEAD");
  const named = served.flatMap((method) => (method === "GET" ? [method, "HEAD"] : [method]));
  return [...named, "OPTIONS"].join(", ");
}
