import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
// @ts-expect-error It has no types: it is the path of the compiler for this machine.
import relayCompiler from "relay-compiler";
import {
  commitMutation,
  createOperationDescriptor,
  Environment,
  fetchQuery,
  type GraphQLResponse,
  type GraphQLTaggedNode,
  getRequest,
  getSingularSelector,
  type MutationParameters,
  Network,
  type OperationType,
  type PayloadError,
  RecordSource,
  type RequestParameters,
  Store,
} from "relay-runtime";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT, tidyUp } from "../support/gateway.ts";
import { createProject, type FrontEnd, startFrontEnd, startTrustedOnly } from "./front-end.ts";

/** The components of a front end: what Relay's compiler reads of them. */
const COMPONENTS = `
import { graphql } from "relay-runtime";

graphql\`query ComponentsQuery { ...Components_list ...Components_tail }\`;

graphql\`
  fragment Components_list on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 3 }, cursor: { type: "String" })
  @refetchable(queryName: "ComponentsListQuery") {
    kycs(first: $count, after: $cursor) @connection(key: "Components_kycs") {
      __id
      edges { node { id ...Components_card } }
      pageInfo { hasNextPage endCursor }
    }
  }
\`;

graphql\`
  fragment Components_tail on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 3 }, cursor: { type: "String" })
  @refetchable(queryName: "ComponentsTailQuery") {
    tail: kycs(last: $count, before: $cursor) @connection(key: "Components_tail") {
      edges { node { id } }
      pageInfo { hasPreviousPage startCursor }
    }
  }
\`;

graphql\`
  fragment Components_card on Kyc @refetchable(queryName: "ComponentsCardQuery") {
    customerId
    verificationStatus
    createdAt
    version
  }
\`;

graphql\`
  mutation ComponentsCreateMutation($input: CreateKycInput!, $connections: [ID!]!) {
    createKyc(input: $input) {
      kycEdge @prependEdge(connections: $connections) { cursor node { id ...Components_card } }
    }
  }
\`;

graphql\`
  mutation ComponentsUpdateMutation($input: UpdateKycInput!) {
    updateKyc(input: $input) { kyc { ...Components_card } }
  }
\`;

graphql\`
  mutation ComponentsDeleteMutation($input: DeleteKycInput!, $connections: [ID!]!) {
    deleteKyc(input: $input) { deletedId @deleteEdge(connections: $connections) @deleteRecord }
  }
\`;
`;

const CONFIG = {
  ...{ src: ".", schema: "schema.graphql", language: "javascript", eagerEsModules: false },
  customScalarTypes: { DateTime: "string" },
  noFutureProofEnums: true,
};

let frontEnd: FrontEnd;
let artifact: (name: string) => GraphQLTaggedNode;

async function compile(config: object): Promise<string> {
  const project = await createProject({
    "Components.js": COMPONENTS,
    "schema.graphql": await readFile(join(ROOT, "schema.graphql"), "utf8"),
    "persisted_queries.json": "{}",
    "relay.config.json": JSON.stringify({ ...CONFIG, ...config }),
  });
  await promisify(execFile)(String(relayCompiler), ["relay.config.json"], { cwd: project });
  return project;
}

function loadFrom(project: string): (name: string) => GraphQLTaggedNode {
  const require = createRequire(join(project, "Components.js"));
  return (name) => require(`./__generated__/${name}.graphql.js`);
}

beforeAll(async () => {
  frontEnd = await startFrontEnd(7);
  artifact = loadFrom(await compile({}));
});
afterAll(tidyUp);

type Ask = (request: RequestParameters, variables: object) => object;

function createEnvironment(
  ask: Ask = ({ text }, variables) => ({ query: text, variables }),
  url = frontEnd.graphqlUrl,
): Environment {
  return new Environment({
    network: Network.create(async (request, variables) => {
      const response = await fetch(url, {
        method: "POST",
        headers: { ...frontEnd.headers, "content-type": "application/json" },
        body: JSON.stringify(ask(request, variables)),
      });
      return response.json() as Promise<GraphQLResponse>;
    }),
    store: new Store(new RecordSource()),
  });
}

const load = (environment: Environment, name: string, variables = {}) =>
  fetchQuery<OperationType>(environment, artifact(name), variables).toPromise();

interface Connection {
  __id: string;
  edges: { node: { id: string } }[];
  pageInfo: { hasNextPage: boolean; endCursor: string; hasPreviousPage: boolean; startCursor: string };
}

/** The data that a component with this fragment gets from the first page. */
function see(environment: Environment, fragment: string): Connection {
  const operation = createOperationDescriptor(getRequest(artifact("ComponentsQuery")), {});
  const { data } = environment.lookup(operation.fragment);
  const selector = getSingularSelector(artifact(fragment) as never, data);
  const shown = environment.lookup(selector as never).data as Record<string, Connection>;
  return Object.values(shown)[0] as Connection;
}
const idsOf = ({ edges }: Connection) => edges.map(({ node }) => node.id);

function mutate(
  environment: Environment,
  name: string,
  variables: MutationParameters["variables"],
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    commitMutation<MutationParameters>(environment, {
      mutation: artifact(name),
      variables,
      onCompleted: (data, errors: readonly PayloadError[] | null | undefined) =>
        errors?.length ? reject(errors) : resolve(data),
      onError: reject,
    });
  });
}

describe("a refetchable connection", () => {
  test("grows forward to the end of the list", async () => {
    const environment = createEnvironment();
    await load(environment, "ComponentsQuery");
    expect(idsOf(see(environment, "Components_list"))).toEqual(frontEnd.ids.slice(0, 3));
    for (const size of [6, 7]) {
      const { pageInfo } = see(environment, "Components_list");
      expect(pageInfo.hasNextPage).toBe(true);
      await load(environment, "ComponentsListQuery", { count: 3, cursor: pageInfo.endCursor });
      expect(idsOf(see(environment, "Components_list"))).toEqual(frontEnd.ids.slice(0, size));
    }
    expect(see(environment, "Components_list").pageInfo.hasNextPage).toBe(false);
  });

  test("grows backward to the start of the list", async () => {
    const environment = createEnvironment();
    await load(environment, "ComponentsQuery");
    for (const size of [3, 6]) {
      expect(idsOf(see(environment, "Components_tail"))).toEqual(frontEnd.ids.slice(-size));
      const { pageInfo } = see(environment, "Components_tail");
      expect(pageInfo.hasPreviousPage).toBe(true);
      await load(environment, "ComponentsTailQuery", { count: 3, cursor: pageInfo.startCursor });
    }
    expect(idsOf(see(environment, "Components_tail"))).toEqual(frontEnd.ids);
    expect(see(environment, "Components_tail").pageInfo.hasPreviousPage).toBe(false);
  });
});

const record = (environment: Environment, id: string) => environment.getStore().getSource().get(id);

test("node fetches a record again", async () => {
  const environment = createEnvironment();
  const id = String(frontEnd.ids[2]);
  const data = await load(environment, "ComponentsCardQuery", { id });
  expect((data as { node: object }).node).toMatchObject({ __id: id });
  expect(record(environment, id)).toMatchObject({ __typename: "Kyc", customerId: "customer-4", version: 1 });
});

test("mutations change the connection: a new edge leads it, a changed record is new, a deleted one leaves", async () => {
  const environment = createEnvironment();
  await load(environment, "ComponentsQuery");
  const { __id, ...before } = see(environment, "Components_list");
  const fields = {
    customerId: "relay",
    verificationStatus: "PENDING",
    documentType: "VISA",
    documentNumber: "1",
  };
  await mutate(environment, "ComponentsCreateMutation", { input: fields, connections: [__id] });
  const [id = "", ...others] = idsOf(see(environment, "Components_list"));
  expect(others).toEqual(before.edges.map(({ node }) => node.id));
  expect(record(environment, id)).toMatchObject({ customerId: "relay", verificationStatus: "PENDING" });

  await mutate(environment, "ComponentsUpdateMutation", { input: { id, verificationStatus: "VERIFIED" } });
  expect(record(environment, id)).toMatchObject({ verificationStatus: "VERIFIED", version: 2 });

  await mutate(environment, "ComponentsDeleteMutation", { input: { id }, connections: [__id] });
  expect(idsOf(see(environment, "Components_list"))).toEqual(others);
});

test("a mutation that fails tells its code", async () => {
  const failure = mutate(createEnvironment(), "ComponentsDeleteMutation", {
    ...{ input: { id: "0000000000000000" }, connections: [] },
  });
  await expect(failure).rejects.toMatchObject([{ extensions: { code: "NOT_FOUND" } }]);
});

test.each(["SHA256", "MD5"])(
  "the documents that its compiler persists under %s are all that a gateway runs",
  async (algorithm) => {
    const project = await compile({ persistConfig: { file: "persisted_queries.json", algorithm } });
    artifact = loadFrom(project);
    const url = await startTrustedOnly(frontEnd, join(project, "persisted_queries.json"));
    for (const name of ["id", "doc_id", "documentId"]) {
      const ask: Ask = ({ id, text }, variables) => ({ [name]: id, query: text, variables });
      const environment = createEnvironment(ask, url);
      await load(environment, "ComponentsQuery");
      expect(idsOf(see(environment, "Components_list"))).toEqual(frontEnd.ids.slice(0, 3));
    }
  },
);
