import { requireViewer, type Viewer } from "../../auth/scopes.ts";
import { builder } from "./builder.ts";

const TokenType = builder.objectRef<Viewer>("Token").implement({
  description: "The token of a request.",
  fields: (t) => ({
    name: t.exposeString("tokenName", {
      description: "The name that it was created with; `sign-in` for a JWT of your identity provider.",
    }),
    scopes: t.stringList({
      description: "What it may do, such as `kyc:read`.",
      resolve: ({ scopes }) => [...scopes],
    }),
    expiresAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When it ends; null if it does not.",
      resolve: ({ expiresAt }) => expiresAt,
    }),
  }),
});

const ViewerType = builder.objectRef<Viewer>("Viewer").implement({
  description: "Who asks.",
  fields: (t) => ({
    account: t.exposeString("accountId", { description: "The account whose records the token opens." }),
    token: t.field({ type: TokenType, description: "The token.", resolve: (viewer) => viewer }),
  }),
});

builder.queryField("viewer", (t) =>
  t.field({
    type: ViewerType,
    description: "The account and the token of this request. Needs a token, and no scope.",
    resolve: (_root, _args, { viewer }) => requireViewer(viewer),
  }),
);
