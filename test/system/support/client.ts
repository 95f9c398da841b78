/** An answer, read to its end. */
interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the request
  json: any;
}

/** A client of one gateway with one token. */
export interface Client {
  send(
    method: string,
    path: string,
    options?: { body?: string; headers?: Record<string, string> },
  ): Promise<Answer>;
  form(method: string, path: string, fields: Record<string, string>): Promise<Answer>;
  graphql(query: string, variables?: Record<string, unknown>): Promise<Answer>;
}

const ANSWER_TIMEOUT = 30_000;

export function createClient(url: string, token: string | null): Client {
  const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const client: Client = {
    async send(method, path, { body, headers } = {}) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: { ...authorization, ...headers },
        ...(body !== undefined && { body }),
        signal: AbortSignal.timeout(ANSWER_TIMEOUT),
      });
      const text = await response.text();
      return { status: response.status, headers: response.headers, text, json: parse(text) };
    },
    form: (method, path, fields) =>
      client.send(method, path, {
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams(fields).toString(),
      }),
    graphql: (query, variables) =>
      client.send("POST", "/graphql", {
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ query, variables }),
      }),
  };
  return client;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A record's fields for REST. */
export const kycFields = (customerId: string, documentNumber: string): Record<string, string> => ({
  customer_id: customerId,
  verification_status: "pending",
  document_type: "passport",
  document_number: documentNumber,
});

export const CREATE_KYC = `mutation ($customerId: String!, $documentNumber: String!) {
  createKyc(input: { customerId: $customerId, verificationStatus: PENDING, documentType: PASSPORT, documentNumber: $documentNumber }) {
    kyc { id customerId verificationStatus documentType documentNumber createdAt updatedAt version }
  }
}`;
