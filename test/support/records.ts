import type { NewAuditEvent } from "../../src/audit/event.ts";
import type { GraphqlAnswer, TestApp } from "./app.ts";

/** Input of a record that nothing is wrong with, in GraphQL's words. */
export const goodInput = {
  customerId: "customer-1",
  verificationStatus: "PENDING",
  documentType: "PASSPORT",
  documentNumber: "X1234567",
};

const CREATE = "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id version } } }";

/** Creates a record through GraphQL and returns its id. Fails if the gateway refuses. */
export async function createRecord(
  gateway: TestApp,
  token: string,
  changes: Partial<typeof goodInput> & { expiresAt?: string; relationshipEndedAt?: string | null } = {},
): Promise<string> {
  const answer: GraphqlAnswer = await gateway.graphql(token, CREATE, { input: { ...goodInput, ...changes } });
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.createKyc.kyc.id;
}

/** An event that goes with a change which no request asked for. */
export const someEvent = (accountId: string, kycId: string): NewAuditEvent => ({
  ...{
    accountId,
    at: Date.now(),
    tokenId: "tok_0",
    tokenName: "test",
    surface: "graphql",
    requestId: "req_0",
  },
  ...{ action: "created", kycIds: [kycId], changedFields: [], statusBefore: null, statusAfter: null },
  ...{ actorName: null, subject: null, documentTypeAfter: null, versionAfter: null, reason: null },
  customerDigests: [Buffer.alloc(16)],
});
