import { z } from "zod";
import { flag, integer } from "../lib/setting-values.ts";
import { setting, type ValuesOf } from "../lib/settings.ts";

export const graphqlSettings = {
  graphiql: setting("GRAPHIQL", flag.default(true)),
  introspection: setting("INTROSPECTION", flag.default(true)),
  /** Limits of GraphQL documents. */
  queryLimits: {
    /** Of an operation: about one for each value that it can answer with. */
    cost: setting("QUERY_COST_LIMIT", integer(1, 1_000_000).default(10_000)),
    /** Of an operation: how deep fields are nested. */
    depth: setting("QUERY_DEPTH_LIMIT", integer(1, 100).default(20)),
    aliases: setting("QUERY_ALIAS_LIMIT", integer(0, 10_000).default(100)),
    directives: setting("QUERY_DIRECTIVE_LIMIT", integer(0, 10_000).default(100)),
    tokens: setting("QUERY_TOKEN_LIMIT", integer(1, 100_000).default(10_000)),
  },
  /** How requests name documents instead of sending their texts. */
  persistedOperations: {
    /** Off: they can't. Allow: they can, and may register texts under their hashes. Only: they must. */
    mode: setting(
      "PERSISTED_OPERATIONS_MODE",
      z.enum(["off", "allow", "only"], "must be one of off, allow, only").default("allow"),
    ),
    /** The path of the file with the documents. */
    manifest: setting("PERSISTED_OPERATIONS", z.string().optional()),
  },
};
export type GraphqlConfig = ValuesOf<typeof graphqlSettings>;
export type QueryLimits = GraphqlConfig["queryLimits"];
export type PersistedOperationsConfig = GraphqlConfig["persistedOperations"];
