import type { InjectOptions } from "fastify";
import { getNamedType, isAbstractType, isObjectType } from "graphql";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SCOPES, type Scope } from "../src/auth/scopes.ts";
import { schema } from "../src/graphql/schema.ts";
import { createTestApp, type TestApp } from "./support/app.ts";
import { createRecord } from "./support/records.ts";

/** Who may ask for a root field, and how it is asked for with the id of a record. */
interface FieldRule {
  needs: Scope;
  args: (id: string) => string;
}

const CREATE = '{ customerId: "c", verificationStatus: PENDING, documentType: VISA, documentNumber: "1" }';

/** Every root field of the schema. One that has no rule fails the test below. */
const ROOT_FIELDS: Record<string, FieldRule> = {
  "Query.kyc": { needs: "kyc:read", args: (id) => `(id: "${id}")` },
  "Query.kycs": { needs: "kyc:read", args: () => "(first: 3)" },
  "Query.node": { needs: "kyc:read", args: (id) => `(id: "${id}")` },
  "Query.nodes": { needs: "kyc:read", args: (id) => `(ids: ["${id}"])` },
  "Query.auditEvents": { needs: "audit:read", args: () => "(first: 3)" },
  "Mutation.createKyc": { needs: "kyc:write", args: () => `(input: ${CREATE})` },
  "Mutation.updateKyc": {
    needs: "kyc:write",
    args: (id) => `(input: { id: "${id}", verificationStatus: VERIFIED })`,
  },
  "Mutation.deleteKyc": { needs: "kyc:delete", args: (id) => `(input: { id: "${id}" })` },
};

/** Fields below a record that need a scope more: without it they are null with an error, or show less. */
const GUARDED_FIELDS: Record<string, Scope> = {
  "Kyc.history": "audit:read",
  "Kyc.documentNumber": "kyc:pii",
};

/** Every other field of the schema: whoever may ask for what it hangs on may ask for it. */
const OPEN_WITH_THEIR_PARENTS = new Set(
  [
    ["Kyc", "id", "customerId", "verificationStatus", "documentType", "createdAt", "updatedAt", "version"],
    ["Node", "id"],
    ["KycConnection", "edges", "nodes", "pageInfo", "totalCount"],
    ["KycEdge", "cursor", "node"],
    ["AuditEventConnection", "edges", "nodes", "pageInfo", "totalCount"],
    ["AuditEventEdge", "cursor", "node"],
    ["AuditEvent", "id", "sequence", "at", "action", "kycId", "kycIds", "changedFields", "reason", "surface"],
    ["AuditEvent", "statusBefore", "statusAfter", "tokenId", "tokenName", "requestId"],
    ["PageInfo", "hasNextPage", "hasPreviousPage", "startCursor", "endCursor"],
    ["CreateKycPayload", "kyc", "kycEdge"],
    ["UpdateKycPayload", "kyc"],
    ["DeleteKycPayload", "deletedId"],
  ].flatMap(([type, ...fields]) => fields.map((field) => `${type}.${field}`)),
);

/**
 * Who may call a route: a scope, anybody (`open`), nobody whoever asks (`refused`), or whom GraphQL's own rules
 * let (`graphql`). A request for it changes or reads the record with the id.
 */
type RouteRule =
  | "open"
  | "refused"
  | "graphql"
  | { needs: Scope; status: number; foreign: number; form?: object };

const NEW = { customer_id: "c", verification_status: "pending", document_type: "visa", document_number: "1" };
const read = (foreign: number): RouteRule => ({ needs: "kyc:read", status: 200, foreign });
const change: RouteRule = {
  ...{ needs: "kyc:write", status: 200, foreign: 404 },
  form: { verification_status: "verified" },
};

/** Every route of the router. One that has no rule fails the test below. */
const ROUTES: Record<string, RouteRule> = {
  "GET /v1/kyc": read(200),
  "HEAD /v1/kyc": read(200),
  "POST /v1/kyc": { needs: "kyc:write", status: 201, foreign: 201, form: NEW },
  "GET /v1/kyc/": read(200),
  "HEAD /v1/kyc/": read(200),
  "POST /v1/kyc/": { needs: "kyc:write", status: 201, foreign: 201, form: NEW },
  "GET /v1/kyc/:id": read(404),
  "HEAD /v1/kyc/:id": read(404),
  "PUT /v1/kyc/:id": change,
  "PATCH /v1/kyc/:id": change,
  "POST /v1/kyc/:id": change,
  "DELETE /v1/kyc/:id": { needs: "kyc:delete", status: 200, foreign: 404 },
  ...all("refused", "/v1/kyc", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"),
  ...all("refused", "/v1/kyc/:id", "OPTIONS", "TRACE"),
  ...all("graphql", "/graphql", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
  ...all("open", "/graphql/assets/*", "GET", "HEAD"),
  ...all("open", "/", "GET", "HEAD"),
  ...all("open", "/assets/*", "GET", "HEAD"),
  ...all("open", "/docs", "GET", "HEAD"),
  ...all("open", "/docs/assets/*", "GET", "HEAD"),
  ...all("open", "/openapi.json", "GET", "HEAD"),
  ...all("open", "/health", "GET", "HEAD"),
  ...all("open", "/ready", "GET", "HEAD"),
  ...all("open", "/metrics", "GET", "HEAD"),
};

function all(rule: RouteRule, url: string, ...methods: string[]): Record<string, RouteRule> {
  return Object.fromEntries(methods.map((method) => [`${method} ${url}`, rule]));
}

const COMBINATIONS = Array.from({ length: 2 ** SCOPES.length }, (_, bits) =>
  SCOPES.filter((_scope, index) => bits & (1 << index)),
);
const SECRET = "SECRET-OF-ACME";

let gateway: TestApp;
let owner: string;
let stranger: string;
const tokens = new Map<readonly Scope[], string>();
let id: string;

beforeAll(async () => {
  gateway = await createTestApp();
  owner = await gateway.token("acme");
  stranger = await gateway.token("globex");
  for (const scopes of COMBINATIONS) tokens.set(scopes, await gateway.token("acme", scopes));
});
afterAll(() => gateway.close());
beforeEach(async () => {
  id = await createRecord(gateway, owner, { documentNumber: SECRET });
});

const stored = async () =>
  (await gateway.db.execute("select id, version from kycs where account_id = 'acme' order by id")).map(
    ({ id, version }) => `${id} ${version}`,
  );

/** Asks for everything below a field, as deep as the schema goes. */
function everythingOf(typeName: string): string {
  const type = schema.getType(typeName);
  if (isAbstractType(type)) return `{ __typename ... on Kyc ${everythingOf("Kyc")} }`;
  if (!isObjectType(type)) return "";
  const fields = Object.values(type.getFields());
  return `{ ${fields.map((field) => `${field.name} ${everythingOf(getNamedType(field.type).name)}`).join(" ")} }`;
}

const rootTypes = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
const rootFields = rootTypes.flatMap((type) =>
  Object.values(type?.getFields() ?? {}).map((field) => ({
    name: `${type?.name}.${field.name}`,
    type,
    field,
  })),
);

describe("GraphQL", () => {
  test("has a rule for every field of the schema, and no rule for what is not there", () => {
    const others = Object.values(schema.getTypeMap())
      .filter((type) => "getFields" in type && !("isOneOf" in type) && !type.name.startsWith("__"))
      .filter((type) => !rootTypes.some((root) => root === type))
      .flatMap((type) =>
        Object.keys((type as { getFields(): object }).getFields()).map((field) => `${type.name}.${field}`),
      );
    expect(rootFields.map(({ name }) => name).sort()).toEqual(Object.keys(ROOT_FIELDS).sort());
    expect(others.sort()).toEqual([...OPEN_WITH_THEIR_PARENTS, ...Object.keys(GUARDED_FIELDS)].sort());
  });

  const ask = (token: string | null, { type, field, name }: (typeof rootFields)[number], of: string) => {
    const kind =
      type === schema.getQueryType()
        ? "query"
        : type === schema.getMutationType()
          ? "mutation"
          : "subscription";
    const args = ROOT_FIELDS[name]?.args(of);
    return gateway.graphql(
      token,
      `${kind} { ${field.name}${args} ${everythingOf(getNamedType(field.type).name)} }`,
    );
  };

  test.each(rootFields)("$name is for tokens with its scope alone", async (root) => {
    const rule = ROOT_FIELDS[root.name] as FieldRule;
    for (const scopes of COMBINATIONS) {
      const before = await stored();
      const { data, errors } = await ask(tokens.get(scopes) as string, root, id);
      if (scopes.includes(rule.needs)) {
        expect(data[root.field.name]).not.toBeNull();
        for (const { path, extensions } of errors ?? []) {
          expect(path?.at(-1)).toBe("history");
          expect(extensions.code).toBe("FORBIDDEN");
        }
        const answer = JSON.stringify(data);
        if (scopes.includes("audit:read")) expect(errors, `${scopes}`).toBeUndefined();
        else expect(answer).not.toContain("tokenName");
        if (!scopes.includes("kyc:pii")) expect(answer).not.toContain(SECRET);
        else if (root.name === "Query.kyc") expect(answer).toContain(SECRET);
        if (root.name === "Mutation.deleteKyc")
          id = await createRecord(gateway, owner, { documentNumber: SECRET });
      } else {
        expect(
          errors?.map(({ extensions }) => extensions.code),
          `${scopes}`,
        ).toEqual(["FORBIDDEN"]);
        expect(errors?.[0]?.message).toContain(rule.needs);
        expect(JSON.stringify(data) ?? "").not.toContain(SECRET);
        expect(await stored()).toEqual(before);
      }
    }
  });

  test.each(rootFields)("$name opens nothing to another account, nor to nobody", async (root) => {
    const before = await stored();
    for (const token of [stranger, null, "kyc_wrong"]) {
      const { data, errors } = await ask(token, root, id);
      expect(JSON.stringify({ data, errors })).not.toMatch(new RegExp(`${SECRET}|"customer-1"`));
      if (token !== stranger) expect(errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
    }
    expect(await stored()).toEqual(before);
  });
});

/** The routes of the router, as it prints them: a tree of parts of addresses with their methods. */
function routes(): string[] {
  const parts: string[] = [];
  return gateway.app
    .printRoutes({ commonPrefix: false })
    .split("\n")
    .flatMap((line) => {
      const [, indent = "", part = "", methods = ""] = /^([│├└─\s]*)(\S+) \((.*)\)$/.exec(line) ?? [];
      if (part === "") return [];
      parts.splice(indent.length / 4 - 1, Number.POSITIVE_INFINITY, part);
      const url = parts.join("").replace(/\/assets\/.*/, "/assets/*");
      return methods.split(", ").map((method) => `${method} ${url}`);
    });
}

describe("REST", () => {
  test("has a rule for every route of the router, and no rule for what is not there", () => {
    const found = new Set(routes());
    // They are there once the front end is built.
    for (const url of ["/graphql/assets/*", "/docs/assets/*", "/docs"]) {
      for (const method of ["GET", "HEAD"]) found.add(`${method} ${url}`);
    }
    expect([...found].sort()).toEqual(Object.keys(ROUTES).sort());
  });

  const ask = (route: string, token: string | null, of: string) => {
    const [method, url = ""] = route.split(" ");
    const rule = ROUTES[route];
    return gateway.app.inject({
      method: method as NonNullable<InjectOptions["method"]>,
      url: url.replace(":id", of),
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        "content-type": "application/x-www-form-urlencoded",
      },
      ...(typeof rule === "object" &&
        rule.form && { payload: new URLSearchParams({ ...rule.form }).toString() }),
    });
  };
  const guarded = Object.keys(ROUTES).filter((route) => typeof ROUTES[route] === "object");

  test.each(guarded)("%s is for tokens with its scope alone", async (route) => {
    const rule = ROUTES[route] as Exclude<RouteRule, string>;
    for (const scopes of COMBINATIONS) {
      const before = await stored();
      const { statusCode, body } = await ask(route, tokens.get(scopes) as string, id);
      const allowed = scopes.includes(rule.needs);
      if (!scopes.includes("kyc:pii")) expect(body).not.toContain(SECRET);
      expect(statusCode, `${scopes}`).toBe(allowed ? rule.status : 403);
      if (allowed && route.startsWith("DELETE"))
        id = await createRecord(gateway, owner, { documentNumber: SECRET });
      if (allowed) continue;
      if (!route.startsWith("HEAD")) expect(body).toContain(rule.needs);
      expect(body).not.toContain(SECRET);
      expect(await stored()).toEqual(before);
    }
  });

  test.each(guarded)("%s opens nothing to another account, nor to nobody", async (route) => {
    const rule = ROUTES[route] as Exclude<RouteRule, string>;
    const before = await stored();
    const foreign = await ask(route, stranger, id);
    expect(foreign.statusCode).toBe(rule.foreign);
    for (const token of [null, "kyc_wrong"]) expect((await ask(route, token, id)).statusCode).toBe(401);
    expect(foreign.body).not.toMatch(new RegExp(`${SECRET}|${id}`));
    expect(await stored()).toEqual(before);
  });

  test.each(Object.keys(ROUTES).filter((route) => ROUTES[route] === "refused"))(
    "%s is refused whoever asks, and does nothing",
    async (route) => {
      const before = await stored();
      for (const token of [owner, stranger, null]) {
        const { statusCode, body } = await ask(route, token, id);
        expect(statusCode).toBe(405);
        expect(body).not.toContain(SECRET);
      }
      expect(await stored()).toEqual(before);
    },
  );

  test.each(["/health", "/ready", "/metrics"])("%s tells nobody anything of a record", async (url) => {
    const { statusCode, body } = await ask(`GET ${url}`, null, id);
    expect(statusCode).toBe(200);
    expect(body).not.toMatch(new RegExp(`${SECRET}|${id}|acme`));
  });

  test.each(Object.keys(ROUTES).filter((route) => ROUTES[route] === "graphql"))(
    "%s without a document opens nothing",
    async (route) => {
      const { statusCode, body } = await ask(route, null, id);
      expect(statusCode).toBeLessThan(500);
      expect(body).not.toContain(SECRET);
    },
  );
});
