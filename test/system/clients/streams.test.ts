import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache, Observable } from "@apollo/client";
import { createClient as createUrql, fetchExchange, subscriptionExchange } from "@urql/core";
import { EventSource } from "eventsource";
import { print } from "graphql";
import { createClient as createSse } from "graphql-sse";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient, kycFields } from "../support/client.ts";
import { tidyUp } from "../support/gateway.ts";
import { type FrontEnd, startFrontEnd } from "./front-end.ts";

const CHANGED = "subscription Changes { kycChanged { cursor action kycId kyc { customerId } } }";
const QUERY = "query { changeCursor }";

let frontEnd: FrontEnd;
let rest: Client;
let made = 0;
beforeAll(async () => {
  frontEnd = await startFrontEnd(0);
  rest = createClient(frontEnd.url, frontEnd.headers.authorization?.slice("Bearer ".length) ?? "");
});
afterAll(tidyUp);

/** Creates records until one arrives: a client does not say when it is subscribed. Answers with the customers that arrived. */
async function untilSome(arrived: string[]): Promise<void> {
  await expect
    .poll(
      async () => {
        made += 1;
        await rest.form("POST", "/v1/kyc", kycFields(`live-${made}`, "P-1"));
        return arrived.length;
      },
      { timeout: 15_000, interval: 300 },
    )
    .toBeGreaterThan(2);
  const first = Number(arrived[0]?.slice("live-".length));
  expect(arrived).toEqual(arrived.map((_, n) => `live-${first + n}`));
}
// biome-ignore lint/suspicious/noExplicitAny: each client has a type of its own for the same JSON
const customerOf = (result: any): string => result.data.kycChanged.kyc.customerId;

test("graphql-sse receives changes, and queries", async () => {
  const client = createSse({ url: frontEnd.graphqlUrl, headers: frontEnd.headers });
  const arrived: string[] = [];
  const failed = new Promise((_resolve, reject) => {
    client.subscribe(
      { query: CHANGED },
      { next: (result) => arrived.push(customerOf(result)), error: reject, complete: () => {} },
    );
  });
  await Promise.race([untilSome(arrived), failed]);
  for await (const { data } of client.iterate({ query: QUERY }))
    expect(data).toEqual({ changeCursor: expect.stringMatching(/^[\w-]+$/) });
  client.dispose();
});

test("urql receives changes through graphql-sse, and through its own fetch", async () => {
  const sse = createSse({ url: frontEnd.graphqlUrl, headers: frontEnd.headers });
  const throughSse = subscriptionExchange({
    forwardSubscription: ({ query = "", variables }) => ({
      subscribe: (sink) => {
        // biome-ignore lint/suspicious/noExplicitAny: as its documentation has it
        const unsubscribe = sse.subscribe({ query, variables: variables as any }, sink as any);
        return { unsubscribe };
      },
    }),
  });
  for (const options of [
    { exchanges: [throughSse] },
    { exchanges: [fetchExchange], fetchSubscriptions: true },
  ]) {
    const client = createUrql({
      ...{ url: frontEnd.graphqlUrl, fetchOptions: { headers: frontEnd.headers }, preferGetMethod: false },
      ...options,
    });
    const arrived: string[] = [];
    const { unsubscribe } = client.subscription(CHANGED, {}).subscribe((result) => {
      arrived.push(customerOf(result));
    });
    await untilSome(arrived);
    unsubscribe();
  }
  sse.dispose();
});

test("Apollo Client receives changes through its link over graphql-sse", async () => {
  const sse = createSse({ url: frontEnd.graphqlUrl, headers: frontEnd.headers });
  const stream = new ApolloLink(
    ({ query, variables, operationName }) =>
      new Observable((sink) =>
        // biome-ignore lint/suspicious/noExplicitAny: as graphql-sse's recipe has it
        sse.subscribe({ query: print(query), variables, operationName }, sink as any),
      ),
  );
  const http = new HttpLink({ uri: frontEnd.graphqlUrl, headers: frontEnd.headers });
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.split(({ operationType }) => operationType === "subscription", stream, http),
  });
  const arrived: string[] = [];
  const subscription = client
    .subscribe({ query: gql(CHANGED) })
    .subscribe((result) => arrived.push(customerOf(result)));
  await untilSome(arrived);
  expect((await client.query({ query: gql(QUERY) })).data).toMatchObject({ changeCursor: expect.anything() });
  subscription.unsubscribe();
  sse.dispose();
});

test("an EventSource receives changes by GET", async () => {
  const source = new EventSource(`${frontEnd.graphqlUrl}?query=${encodeURIComponent(CHANGED)}`, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...frontEnd.headers } }),
  });
  const arrived: string[] = [];
  const cursors: string[] = [];
  source.addEventListener("next", ({ data, lastEventId }) => {
    arrived.push(customerOf(JSON.parse(data)));
    cursors.push(lastEventId);
    expect(lastEventId).toBe(JSON.parse(data).data.kycChanged.cursor);
  });
  await untilSome(arrived);
  expect(new Set(cursors).size).toBe(cursors.length);
  source.close();
});
