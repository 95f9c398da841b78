import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  ApolloClient,
  ApolloLink,
  CombinedGraphQLErrors,
  gql,
  HttpLink,
  InMemoryCache,
  type ObservableQuery,
} from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { relayStylePagination } from "@apollo/client/utilities";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { tidyUp } from "../support/gateway.ts";
import {
  createProject,
  type FrontEnd,
  recordingFetch,
  startFrontEnd,
  startTrustedOnly,
} from "./front-end.ts";

interface Page {
  kycs: {
    edges: { node: { id: string; verificationStatus: string } }[];
    pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string; endCursor: string };
  };
}

const require = createRequire(import.meta.url);
const MANIFEST_TOOL = join(
  require.resolve("@apollo/generate-persisted-query-manifest/package.json"),
  "../cli.js",
);

const LIST = gql`
  query KycList($first: Int, $after: String, $last: Int, $before: String) {
    kycs(first: $first, after: $after, last: $last, before: $before) {
      edges { cursor node { id verificationStatus } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
`;
const CREATE = gql`
  mutation CreateKyc($input: CreateKycInput!) {
    createKyc(input: $input) { kycEdge { cursor node { id verificationStatus } } }
  }
`;
const UPDATE = gql`
  mutation UpdateKyc($input: UpdateKycInput!) {
    updateKyc(input: $input) { kyc { id verificationStatus version } }
  }
`;
const DELETE = gql`
  mutation DeleteKyc($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }
`;

const input = (customerId: string) => ({
  ...{ customerId, verificationStatus: "PENDING", documentType: "VISA", documentNumber: "1" },
});

let frontEnd: FrontEnd;
beforeAll(async () => {
  frontEnd = await startFrontEnd(7);
});
afterAll(tidyUp);

function createApollo(options: { url?: string; links?: ApolloLink[]; sent?: string[] } = {}): ApolloClient {
  const http = new HttpLink({
    uri: options.url ?? frontEnd.graphqlUrl,
    headers: frontEnd.headers,
    fetch: recordingFetch(options.sent ?? []),
  });
  return new ApolloClient({
    cache: new InMemoryCache({
      typePolicies: { Query: { fields: { kycs: relayStylePagination(["filter"]) } } },
    }),
    link: ApolloLink.from([...(options.links ?? []), http]),
  });
}

let client: ApolloClient;
beforeEach(() => {
  client = createApollo();
});

/** Opens a list, and answers it with a look at the ids that a component would show. */
async function watch(variables: Record<string, unknown>) {
  const list: ObservableQuery<Page> = client.watchQuery<Page>({ query: LIST, variables });
  let latest: Page | undefined;
  list.subscribe(({ data, dataState }) => {
    if (dataState === "complete") latest = data as Page;
  });
  await expect.poll(() => latest).toBeDefined();
  const shown = () => latest?.kycs.edges.map(({ node }) => node.id) ?? [];
  const pageInfo = () => (latest as Page).kycs.pageInfo;
  const statusOf = (id: string) =>
    latest?.kycs.edges.find(({ node }) => node.id === id)?.node.verificationStatus;
  return { list, shown, pageInfo, statusOf };
}

describe("relayStylePagination", () => {
  test("grows forward to the end of the list", async () => {
    const { list, shown, pageInfo } = await watch({ first: 3 });
    expect(shown()).toEqual(frontEnd.ids.slice(0, 3));
    for (const size of [6, 7]) {
      expect(pageInfo().hasNextPage).toBe(true);
      await list.fetchMore({ variables: { after: pageInfo().endCursor } });
      await expect.poll(() => shown().length).toBe(size);
    }
    expect(shown()).toEqual(frontEnd.ids);
    expect(pageInfo()).toMatchObject({ hasNextPage: false, hasPreviousPage: false });
  });

  test("grows backward to the start of the list", async () => {
    const { list, shown, pageInfo } = await watch({ last: 3 });
    expect(shown()).toEqual(frontEnd.ids.slice(-3));
    for (const size of [6, 7]) {
      expect(pageInfo().hasPreviousPage).toBe(true);
      await list.fetchMore({ variables: { before: pageInfo().startCursor } });
      await expect.poll(() => shown().length).toBe(size);
    }
    expect(shown()).toEqual(frontEnd.ids);
    expect(pageInfo()).toMatchObject({ hasNextPage: false, hasPreviousPage: false });
  });
});

test("mutations change the list that is shown: a new record leads it, a changed one is new, a deleted one no longer exists", async () => {
  const { shown, statusOf } = await watch({ first: 3 });
  const before = shown();
  const made = await client.mutate<{
    createKyc: { kycEdge: { cursor: string; node: { __typename: string; id: string } } };
  }>({
    mutation: CREATE,
    variables: { input: input("apollo") },
    update(cache, { data }) {
      const { cursor, node } = data?.createKyc.kycEdge ?? {};
      cache.modify({
        fields: {
          kycs: (known, { toReference }) => ({
            ...known,
            edges: [{ __typename: "KycEdge", cursor, node: node && toReference(node) }, ...known.edges],
          }),
        },
      });
    },
  });
  const id = String(made.data?.createKyc.kycEdge.node.id);
  await expect.poll(shown).toEqual([id, ...before]);

  await client.mutate({ mutation: UPDATE, variables: { input: { id, verificationStatus: "VERIFIED" } } });
  await expect.poll(() => statusOf(id)).toBe("VERIFIED");

  await client.mutate<{ deleteKyc: { deletedId: string } }>({
    mutation: DELETE,
    variables: { input: { id } },
    update(cache, { data }) {
      cache.evict({ id: String(cache.identify({ __typename: "Kyc", id: data?.deleteKyc.deletedId })) });
      cache.gc();
    },
  });
  await expect.poll(shown).toEqual(before);
});

test("an error comes with its code and the fields at fault", async () => {
  const error = await client
    .mutate({ mutation: CREATE, variables: { input: { ...input("c"), documentNumber: "" } } })
    .catch((error) => error);
  expect(CombinedGraphQLErrors.is(error)).toBe(true);
  expect((error as CombinedGraphQLErrors).errors[0]?.extensions).toMatchObject({
    code: "BAD_USER_INPUT",
    fields: [{ path: "input.documentNumber" }],
  });
});

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

describe("automatic persisted queries", () => {
  test.each([false, true])("send the text once, and from then on its hash; over GET: %s", async (overGet) => {
    const links = () => [new PersistedQueryLink({ sha256, useGETForHashedQueries: overGet })];
    const sent: string[] = [];
    const variables = { first: 2 };
    const first = createApollo({ links: links(), sent });
    const query = overGet ? gql`query ByGet($first: Int) { kycs(first: $first) { nodes { id } } }` : LIST;
    await first.query({ query, variables });
    expect(sent.map((text) => text.includes("nodes") || text.includes("edges"))).toEqual([false, true]);
    const second = createApollo({ links: links(), sent });
    const { data } = await second.query<{ kycs: object }>({ query, variables });
    expect(sent).toHaveLength(3);
    expect(sent[2]).not.toMatch(/nodes|edges/);
    expect(data?.kycs).toBeDefined();
  });
});

test("a manifest of Apollo's tool is all that a gateway runs", async () => {
  const project = await createProject({
    "list.graphql": "query KycList($first: Int) { kycs(first: $first) { nodes { id } } }\n",
    "persisted-query-manifest.config.json": JSON.stringify({
      documents: ["*.graphql"],
      output: "manifest.json",
    }),
  });
  await promisify(execFile)(process.execPath, [MANIFEST_TOOL], {
    cwd: project,
  });
  const manifest = join(project, "manifest.json");
  const { generatePersistedQueryIdsFromManifest } = await import("@apollo/persisted-query-lists");
  const { default: loadedManifest } = await import(manifest, { with: { type: "json" } });
  const sent: string[] = [];
  const trusted = createApollo({
    url: await startTrustedOnly(frontEnd, manifest),
    links: [
      new PersistedQueryLink(
        generatePersistedQueryIdsFromManifest({ loadManifest: async () => loadedManifest }),
      ),
    ],
    sent,
  });
  const query = gql`query KycList($first: Int) { kycs(first: $first) { nodes { id } } }`;
  const { data } = await trusted.query<{ kycs: { nodes: { id: string }[] } }>({
    query,
    variables: { first: 2 },
  });
  expect(data?.kycs.nodes.map(({ id }) => id)).toEqual(frontEnd.ids.slice(0, 2));
  expect(sent.join()).not.toContain("nodes");

  const other = createApollo({ url: await startTrustedOnly(frontEnd, manifest) });
  const error = await other.query({ query: LIST }).catch((error) => error);
  expect((error as CombinedGraphQLErrors).errors[0]?.extensions?.code).toBe("PERSISTED_QUERY_ID_REQUIRED");
});
