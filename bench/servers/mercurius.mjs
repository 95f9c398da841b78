// Reference (b): Mercurius with its JIT on Fastify, as its documentation recommends it for speed. It has none of the
// gateway's duties.
import Fastify from "fastify";
import mercurius from "mercurius";
import { announce, connect } from "./connect.mjs";
import { openRecords } from "./records.mjs";
import { createResolvers, schema } from "./schema.mjs";

const call = { viewer: { accountId: String(process.env.ACCOUNT) } };
const resolvers = createResolvers(openRecords(connect()), () => call);

const app = Fastify();
await app.register(mercurius, { schema, resolvers, jit: 1 });
await app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
await announce(app.server);
