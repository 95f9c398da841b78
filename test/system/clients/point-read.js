// Runs in the browser: reads one record through each client library, set up as its documentation shows first.
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { createClient, fetchExchange } from "@urql/core";
import { GraphQLClient } from "graphql-request";
import { Environment, fetchQuery, Network, RecordSource, Store } from "relay-runtime";
// Relay's compiler makes it.
import PointReadQuery from "./__generated__/PointReadQuery.graphql.js";

const FIELDS = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";
const READ = `query ReadKyc($id: ID!) { kyc(id: $id) { ${FIELDS} } }`;

/** Each resolves with the record as its client returns it. */
const reads = {
  "Apollo Client": async (uri, headers, id) => {
    const client = new ApolloClient({ cache: new InMemoryCache(), link: new HttpLink({ uri, headers }) });
    const { data } = await client.query({ query: gql(READ), variables: { id } });
    return data.kyc;
  },
  urql: (url, headers, id) => readByUrql({ url, fetchOptions: { headers } }, id),
  "urql, POST": (url, headers, id) =>
    readByUrql({ url, fetchOptions: { headers }, preferGetMethod: false }, id),
  Relay: async (url, headers, id) => {
    const network = Network.create(async ({ text: query }, variables) => {
      const accept = "application/graphql-response+json; charset=utf-8, application/json; charset=utf-8";
      const response = await fetch(url, {
        method: "POST",
        headers: { ...headers, accept, "content-type": "application/json" },
        body: JSON.stringify({ query, variables }),
      });
      return response.json();
    });
    const environment = new Environment({ network, store: new Store(new RecordSource()) });
    const { kyc } = await fetchQuery(environment, PointReadQuery, { id }).toPromise();
    return kyc;
  },
  "graphql-request": async (url, headers, id) => {
    const { kyc } = await new GraphQLClient(url, { headers }).request(READ, { id });
    return kyc;
  },
};

async function readByUrql(options, id) {
  const { data } = await createClient({ ...options, exchanges: [fetchExchange] })
    .query(READ, { id })
    .toPromise();
  return data.kyc;
}

globalThis.readRecord = (client, url, headers, id) => reads[client](url, headers, id);
