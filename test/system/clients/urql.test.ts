import { readFileSync } from "node:fs";
import {
  type Client,
  type CombinedError,
  createClient,
  fetchExchange,
  gql,
  type OperationResult,
} from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { persistedExchange } from "@urql/exchange-persisted";
import { buildSchema, type IntrospectionQuery, introspectionFromSchema } from "graphql";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { tidyUp } from "../support/gateway.ts";
import { type FrontEnd, recordingFetch, startFrontEnd } from "./front-end.ts";

interface Page {
  kycs: {
    edges: { node: { id: string; verificationStatus: string } }[];
    pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string; endCursor: string };
  };
}

const LIST = gql<Page>`
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
  mutation UpdateKyc($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id verificationStatus } } }
`;
const DELETE = gql`
  mutation DeleteKyc($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }
`;
const input = {
  ...{ customerId: "urql", verificationStatus: "PENDING", documentType: "VISA", documentNumber: "1" },
};

const introspection: IntrospectionQuery = introspectionFromSchema(
  buildSchema(readFileSync("schema.graphql", "utf8")),
);

let frontEnd: FrontEnd;
let client: Client;
beforeAll(async () => {
  frontEnd = await startFrontEnd(7);
});
afterAll(tidyUp);
beforeEach(() => {
  client = createUrql([]);
});

function createUrql(sent: string[], exchanges = [cache()]): Client {
  return createClient({
    url: frontEnd.graphqlUrl,
    exchanges: [...exchanges, fetchExchange],
    preferGetMethod: false,
    fetchOptions: { headers: frontEnd.headers },
    fetch: recordingFetch(sent),
  });
}

/** As its documentation has it, schema awareness included. */
const cache = () =>
  cacheExchange({
    // biome-ignore lint/suspicious/noExplicitAny: the library has another type for the same JSON
    schema: introspection as any,
    keys: { KycConnection: () => null, KycEdge: () => null, PageInfo: () => null },
    resolvers: { Query: { kycs: relayPagination() } },
    updates: {
      Mutation: {
        deleteKyc: (result, _args, cache) =>
          cache.invalidate({ __typename: "Kyc", id: (result.deleteKyc as { deletedId: string }).deletedId }),
        createKyc: (_result, _args, cache) => {
          for (const { fieldName, arguments: given } of cache.inspectFields("Query")) {
            if (fieldName === "kycs") cache.invalidate("Query", fieldName, given);
          }
        },
      },
    },
  });

const idsOf = (result: OperationResult<Page> | undefined) =>
  result?.data?.kycs.edges.map(({ node }) => node.id);
const page = (variables: Record<string, unknown>) => client.query(LIST, variables).toPromise();

test("relayPagination grows forward to the end of the list", async () => {
  const first = await page({ first: 4 });
  expect(first.error).toBeUndefined();
  expect(idsOf(first)).toEqual(frontEnd.ids.slice(0, 4));
  const all = await page({ first: 4, after: first.data?.kycs.pageInfo.endCursor });
  expect(idsOf(all)).toEqual(frontEnd.ids);
  expect(all.data?.kycs.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: false });
});

test("relayPagination grows backward to the start of the list", async () => {
  const last = await page({ last: 4 });
  expect(idsOf(last)).toEqual(frontEnd.ids.slice(-4));
  const all = await page({ last: 4, before: last.data?.kycs.pageInfo.startCursor });
  expect(idsOf(all)).toEqual(frontEnd.ids);
  expect(all.data?.kycs.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: false });
});

test("mutations change the list that is shown", async () => {
  let shown: OperationResult<Page> | undefined;
  const { unsubscribe } = client.query(LIST, { first: 3 }).subscribe((result) => {
    shown = result;
  });
  await expect.poll(() => idsOf(shown)).toHaveLength(3);
  const before = idsOf(shown);

  const made = await client.mutation(CREATE, { input });
  const { id } = made.data.createKyc.kycEdge.node;
  await expect.poll(() => idsOf(shown)?.[0]).toBe(id);

  await client.mutation(UPDATE, { input: { id, verificationStatus: "VERIFIED" } });
  await expect.poll(() => shown?.data?.kycs.edges[0]?.node.verificationStatus).toBe("VERIFIED");

  await client.mutation(DELETE, { input: { id } });
  await expect.poll(() => idsOf(shown)).toEqual(before);
  unsubscribe();
});

test("an error comes with its code and the fields at fault", async () => {
  const { error } = await client.mutation(CREATE, { input: { ...input, customerId: "" } });
  expect((error as CombinedError).graphQLErrors[0]?.extensions).toMatchObject({
    code: "BAD_USER_INPUT",
    fields: [{ path: "input.customerId" }],
  });
});

test.each([false, true])(
  "persisted queries send the text once, and from then on its hash; over GET: %s",
  async (overGet) => {
    const sent: string[] = [];
    const exchange = () => [persistedExchange({ preferGetForPersistedQueries: overGet })];
    const document = `query Persisted { kycs(first: ${overGet ? 2 : 1}) { nodes { id } } }`;
    for (let time = 0; time < 2; time++) {
      const { data, error } = await createUrql(sent, exchange()).query(document, {});
      expect(error).toBeUndefined();
      expect(data.kycs.nodes).toHaveLength(overGet ? 2 : 1);
    }
    expect(sent.map((text) => text.includes("nodes"))).toEqual([false, true, false]);
  },
);
