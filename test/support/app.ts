import { Writable } from "node:stream";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import inject from "light-my-request";
import { type DigestCustomer, openCustomerDigests } from "../../src/audit/customer-digest.ts";
import { createAuthenticator } from "../../src/auth/authenticate.ts";
import { createJwtVerifier } from "../../src/auth/jwt.ts";
import { SCOPES, type Scope } from "../../src/auth/scopes.ts";
import { openSignInNames } from "../../src/auth/sign-in-name.ts";
import { issueToken } from "../../src/auth/tokens.ts";
import { type OpenEventLogs, openEventLogs } from "../../src/changes/event-logs.ts";
import { type Config, parseConfig } from "../../src/config/config.ts";
import type { Database } from "../../src/db/client.ts";
import { isMigrated } from "../../src/db/migrating/pending.ts";
import { createLog } from "../../src/log.ts";
import { createMetrics } from "../../src/metrics.ts";
import { SEALED_PLACES } from "../../src/sealed-places.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { readMilestones } from "../../src/sealing/milestones.ts";
import { createApp } from "../../src/server/app.ts";
import { createTestDatabase, joinTestDatabase } from "./database.ts";
import { newKey } from "./keys.ts";
import { expectDescribed } from "./openapi.ts";

/** A GraphQL answer, as loosely as a client that asks for anything sees it. */
export interface GraphqlAnswer {
  status: number;
  headers: LightMyRequestResponse["headers"];
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the document
  data: any;
  errors: { message: string; path?: (string | number)[]; extensions: GraphqlErrorExtensions }[] | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the request
  extensions: any;
}
interface GraphqlErrorExtensions {
  code: string;
  requestId: string;
  fields?: { path: string; message: string }[];
}

/** A gateway on its own database, without a socket, with what tests need to drive it. */
export interface TestApp {
  app: FastifyInstance;
  db: Database;
  keys: Keyring;
  digestCustomer: DigestCustomer;
  logs: OpenEventLogs;
  databaseUrl: string;
  /** The time that operations see, in epoch milliseconds. If it is not set, they see the real time. */
  clock: { now: number | undefined };
  draining: boolean;
  /** Every line logged so far. */
  logged(): string;
  token(account: string, scopes?: readonly Scope[], expiresAt?: number | null): Promise<string>;
  graphql(
    token: string | null,
    query: string,
    variables?: Record<string, unknown>,
    headers?: Record<string, string>,
  ): Promise<GraphqlAnswer>;
  /** `form` is sent as a form-encoded body, `json` as JSON. Fails if the OpenAPI document has no such answer. */
  rest(
    token: string | null,
    method: NonNullable<InjectOptions["method"]>,
    url: string,
    options?: { form?: Record<string, string> | string; json?: unknown; headers?: Record<string, string> },
  ): Promise<LightMyRequestResponse>;
  close(): Promise<void>;
}

/**
 * Starts a gateway; `env` is its environment. With `beside`, it is another replica on the database of that gateway.
 * `devToken` creates the token that GraphiQL and `/docs` may fill in.
 */
export async function createTestApp(
  env: Record<string, string> = {},
  beside?: Pick<TestApp, "databaseUrl" | "keys"> & Partial<Pick<TestApp, "digestCustomer">>,
  devToken: (db: Database, keys: Keyring) => Promise<string | null> = async () => null,
): Promise<TestApp> {
  // Tests on a busy machine stop for longer than a gateway should.
  const patience = { MAX_EVENT_LOOP_DELAY: "10 min" };
  const config: Config = parseConfig({
    LOG_LEVEL: "trace",
    ENCRYPTION_KEYS: newKey("test"),
    ...patience,
    ...env,
  });
  const { db, url, drop } = await (beside ? joinTestDatabase(beside.databaseUrl) : createTestDatabase());
  const keys = beside?.keys ?? new Keyring(config.encryptionKeys ?? []);
  const start = { isFirst: !beside, now: Date.now(), onWarning: () => {} };
  await readMilestones(db, keys);
  for (const place of SEALED_PLACES) await place.settle?.(db, keys, start);
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const test = { clock: { now: undefined as number | undefined }, draining: false };
  const now = () => test.clock.now ?? Date.now();
  const log = createLog(config.logLevel, sink);
  const logs = openEventLogs(db, config, log);
  const digestCustomer = beside?.digestCustomer ?? (await openCustomerDigests(db, keys));
  const app = await createApp({
    config,
    db,
    keys,
    logs,
    digestCustomer,
    authenticate: createAuthenticator(
      db,
      keys,
      now,
      config.jwt &&
        createJwtVerifier(config.jwt, {
          nameSignIn: await openSignInNames(db, keys),
          now,
          onFailure: () => {},
        }),
    ),
    log,
    metrics: createMetrics({ usage: () => db.usage(), droppedLines: () => 0 }),
    devToken: await devToken(db, keys),
    isReady: () => isMigrated(db.urgent),
    isDraining: () => test.draining,
    isClosed: () => test.draining,
    now,
  });
  // Fastify's own goes straight to its router, past the early refusals.
  app.inject = ((options: InjectOptions | string) =>
    app
      .ready()
      .then(() =>
        inject((raw, response) => app.server.emit("request", raw, response), options),
      )) as FastifyInstance["inject"];
  const authorize = (token: string | null) => (token === null ? {} : { authorization: `Bearer ${token}` });
  return Object.assign(test, {
    app,
    db,
    keys,
    logs,
    digestCustomer,
    databaseUrl: url,
    logged: () => lines.join(""),
    token: (accountId: string, scopes: readonly Scope[] = SCOPES, expiresAt: number | null = null) =>
      issueToken(db, keys, { accountId, name: "test", scopes, expiresAt, now: now() }, null),
    graphql: async (
      token: string | null,
      query: string,
      variables: Record<string, unknown> = {},
      headers: Record<string, string> = {},
    ) => {
      const response = await app.inject({
        method: "POST",
        url: "/graphql",
        headers: { "content-type": "application/json", ...authorize(token), ...headers },
        payload: JSON.stringify({ query, variables }),
      });
      const { data, errors, extensions } = response.json();
      return { status: response.statusCode, headers: response.headers, data, errors, extensions };
    },
    rest: async (token, method, url, { form, json, headers = {} } = {}) => {
      const answer = await app.inject({
        method,
        url,
        headers: {
          ...authorize(token),
          ...(form !== undefined && { "content-type": "application/x-www-form-urlencoded" }),
          ...(json !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(form !== undefined && {
          payload: typeof form === "string" ? form : new URLSearchParams(form).toString(),
        }),
        ...(json !== undefined && { payload: JSON.stringify(json) }),
      });
      expectDescribed(method, url, { status: answer.statusCode, headers: answer.headers, body: answer.body });
      return answer;
    },
    close: async () => {
      await logs.close();
      await app.close();
      await drop();
    },
  } satisfies Omit<TestApp, "clock" | "draining">) as TestApp;
}
