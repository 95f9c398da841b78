// Reference (b) with the gateway's duties: `duties.mjs` has those towards a request, `sealed-records.mjs` those towards
// a record.
import Fastify from "fastify";
import mercurius from "mercurius";
import { announce, connect } from "./connect.mjs";
import { HEADERS, logAnswered, newRequestId, openTokens } from "./duties.mjs";
import { createResolvers, schema } from "./schema.mjs";
import { openSealedRecords } from "./sealed-records.mjs";

const run = connect();
const findViewer = openTokens(run);
const resolvers = createResolvers(openSealedRecords(run), ({ call }) => call);

// Fastify's own log writes two lines for each request and makes a logger for it: one line is the duty.
const app = Fastify({ logger: false, genReqId: newRequestId });
app.decorateRequest("viewer", null);
app.addHook("onRequest", (request, reply, done) => {
  reply.headers(HEADERS).header("request-id", request.id);
  done();
});
app.addHook("onResponse", ({ id, method, routeOptions, viewer, body }, { statusCode, elapsedTime }, done) => {
  logAnswered({
    requestId: id,
    method,
    route: String(routeOptions.url),
    status: statusCode,
    ms: elapsedTime,
    viewer,
    operation: body?.operationName,
  });
  done();
});
await app.register(mercurius, {
  schema,
  resolvers,
  jit: 1,
  context: async (request) => {
    const viewer = await findViewer(request.headers.authorization);
    if (!viewer) throw Object.assign(new Error("unauthenticated"), { statusCode: 401 });
    request.viewer = viewer;
    return { call: { viewer, requestId: request.id } };
  },
});
await app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
await announce(app.server);
