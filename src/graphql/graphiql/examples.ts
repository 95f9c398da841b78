const WITH_TOKEN = `# Welcome to the KYC gateway. Press the pink
# button, and this query is answered: the token
# for development is in the Headers pane below.
#
# To have something to look at:
#   npx kyc-gateway demo
`;

const WITHOUT_TOKEN = `# Welcome to the KYC gateway.
#
# Every record needs a token. Put yours into
# the Headers pane below, in this form:
#
#   {"Authorization": "Bearer …"}
#
# A gateway on its embedded database has left
# one in DATA_DIR, by default .data/dev-token.
`;

const list = `query Newest {
  kycs(first: 5) {
    nodes {
      id
      customerId
      verificationStatus
      documentType
      createdAt
    }
    pageInfo {
      hasNextPage
      endCursor
    }
    totalCount
  }
}
`;

const page = `# The records behind a cursor. Take the endCursor
# of each answer as the next one's "after", in the
# Variables pane below.

query Page($after: String) {
  kycs(first: 5, after: $after) {
    edges {
      cursor
      node {
        id
        customerId
        verificationStatus
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`;

const filter = `query Filter($filter: KycFilter) {
  kycs(first: 10, filter: $filter) {
    totalCount
    nodes {
      id
      customerId
      verificationStatus
      documentType
      createdAt
    }
  }
}
`;

const changes = `# Stays open and shows each change of your
# account's records as it happens: press the
# button, and then create a record in another tab.

subscription Changes($after: String) {
  kycChanged(after: $after) {
    cursor
    at
    action
    kycId
    kyc {
      customerId
      verificationStatus
      version
    }
  }
}
`;

const create = `mutation Create($input: CreateKycInput!) {
  createKyc(input: $input) {
    kyc {
      id
      verificationStatus
      createdAt
      version
    }
  }
}
`;

const update = `# Put a record's id into the Variables pane below.
# expectedVersion guards against lost changes.

mutation Update($input: UpdateKycInput!) {
  updateKyc(input: $input) {
    kyc {
      id
      verificationStatus
      updatedAt
      version
    }
  }
}
`;

const remove = `# Deletes a record for good: put its id into the
# Variables pane below.

mutation Delete($input: DeleteKycInput!) {
  deleteKyc(input: $input) {
    deletedId
  }
}
`;

const ID = "the record's id";

/** The operations that GraphiQL opens with, each in its own tab. */
export function exampleTabs(hasToken: boolean): { query: string; variables?: string }[] {
  const tab = (query: string, variables: object) => ({
    query,
    variables: JSON.stringify(variables, null, 2),
  });
  return [
    { query: `${hasToken ? WITH_TOKEN : WITHOUT_TOKEN}\n${list}` },
    tab(page, { after: null }),
    tab(filter, { filter: { verificationStatus: "VERIFIED", documentType: "PASSPORT" } }),
    tab(create, {
      input: {
        customerId: "WAz8eIbvDR60rouK",
        verificationStatus: "PENDING",
        documentType: "PASSPORT",
        documentNumber: "123456789",
      },
    }),
    tab(update, { input: { id: ID, verificationStatus: "VERIFIED", expectedVersion: 1 } }),
    tab(remove, { input: { id: ID } }),
    tab(changes, { after: null }),
  ];
}
