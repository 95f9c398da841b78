// The schema of the servers on Mercurius. The resolver shapes each row once, so that every field of it is a plain property,
// which Mercurius's JIT reads directly.
import { fromGraphql, toConnection, toGraphql } from "./shapes.mjs";

export const schema = `
  scalar DateTime
  enum VerificationStatus { PENDING IN_REVIEW VERIFIED FAILED EXPIRED }
  enum DocumentType { PASSPORT DRIVERS_LICENSE ID_CARD RESIDENCE_PERMIT VISA OTHER }
  type Kyc {
    id: ID!
    customerId: String!
    verificationStatus: VerificationStatus!
    documentType: DocumentType!
    documentNumber: String!
    createdAt: DateTime!
    updatedAt: DateTime!
    version: Int!
  }
  type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
  type KycEdge { cursor: String! node: Kyc! }
  type KycConnection { edges: [KycEdge!]! pageInfo: PageInfo! }
  input KycFilter { customerId: String verificationStatus: VerificationStatus documentType: DocumentType }
  input CreateKycInput {
    customerId: String!
    verificationStatus: VerificationStatus!
    documentType: DocumentType!
    documentNumber: String!
  }
  input UpdateKycInput {
    id: ID!
    verificationStatus: VerificationStatus
    documentType: DocumentType
    documentNumber: String
    expectedVersion: Int
  }
  type CreateKycPayload { kyc: Kyc! }
  type UpdateKycPayload { kyc: Kyc! }
  type Query {
    kyc(id: ID!): Kyc
    kycs(first: Int = 10, after: String, filter: KycFilter): KycConnection!
  }
  type Mutation {
    createKyc(input: CreateKycInput!): CreateKycPayload!
    updateKyc(input: UpdateKycInput!): UpdateKycPayload!
  }
`;

/**
 * One prepared statement a field.
 *
 * @param {import("./records.mjs").Records} records
 * @param {(context: any) => import("./records.mjs").Call} callOf
 * @returns {Record<string, Record<string, (parent: unknown, args: any, context: any) => Promise<unknown>>>}
 */
export function createResolvers(records, callOf) {
  return {
    Query: {
      kyc: async (_, { id }, context) => {
        const row = await records.find(callOf(context), id);
        return row ? toGraphql(row) : null;
      },
      kycs: async (_, page, context) => toConnection(await records.list(callOf(context), page)),
    },
    Mutation: {
      createKyc: async (_, { input }, context) => ({
        kyc: toGraphql(await records.insert(callOf(context), fromGraphql(input))),
      }),
      updateKyc: async (_, { input }, context) => {
        const row = await records.update(callOf(context), fromGraphql(input));
        if (!row) throw new Error("no such record");
        return { kyc: toGraphql(row) };
      },
    },
  };
}
