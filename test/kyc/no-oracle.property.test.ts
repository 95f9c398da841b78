import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Scope } from "../../src/auth/scopes.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

/** The guessed number. */
const GUESS = "ABC1234567";
/** The number of a record for which the guess is right, and of one with the same mask for which it is wrong. */
const NUMBERS = [GUESS, "XYZ9994567"];
const TIME = Date.parse("2026-05-05T05:05:05.005Z");

const SCOPES: Scope[][] = [
  ["kyc:write"],
  ["kyc:read", "kyc:write"],
  ["kyc:read", "kyc:write", "audit:read"],
  ["kyc:read", "kyc:write", "kyc:delete", "audit:read"],
];

let gateway: TestApp;
let full: string;
let tokens: string[];
beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true" });
  await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  full = await gateway.token("acme");
  tokens = await Promise.all(SCOPES.map((scopes) => gateway.token("acme", scopes)));
  gateway.clock.now = TIME;
});
afterAll(() => gateway.close());

/** A request about the record ID. Its key, if it has one, is of the record's own. */
interface Step {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

const rest = (method: string, fields?: object): Step => ({
  method,
  path: "/v1/kyc/ID",
  headers: fields ? { "content-type": "application/json" } : {},
  body: fields ? JSON.stringify(fields) : "",
});
const graphql = (query: string, input?: object): Step => ({
  method: "POST",
  path: "/graphql",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ query, variables: input && { input: { id: "ID", ...input } } }),
});
const UPDATE = "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id version } } }";
const UPDATE_ALL =
  "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id version documentNumber updatedAt createdAt } } }";
const TRAIL = '{ auditEvents(filter: { kycId: "ID" }) { nodes { action changedFields reason surface } } }';

const guess = fc.constantFrom(GUESS, ` ${GUESS} `, GUESS.toLowerCase(), "•••••••4567", "ZZ0000");
const fields = fc.record(
  {
    documentNumber: guess,
    documentType: fc.constantFrom("PASSPORT", "VISA"),
    expectedVersion: fc.constantFrom(1, 2, 3),
    reason: fc.constantFrom("as asked", `it is ${GUESS}`, `A B C 123 4567`),
  },
  { requiredKeys: [] },
);
const toWire = ({ documentNumber, documentType }: { documentNumber?: string; documentType?: string }) => ({
  ...(documentNumber !== undefined && { document_number: documentNumber }),
  ...(documentType !== undefined && { document_type: documentType }),
});

const plainStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fields.map((given) => graphql(UPDATE, given)) },
  { weight: 2, arbitrary: fields.map((given) => graphql(UPDATE_ALL, given)) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.constantFrom("PATCH", "PUT", "POST"),
        fields,
        fc.constantFrom<Record<string, string>>(
          {},
          { "if-match": '"1"' },
          { "if-match": '"2", "3"' },
          { "if-none-match": '"2"' },
        ),
      )
      .map(([method, given, conditions]) => {
        const step = rest(method, toWire(given));
        const reason: Record<string, string> =
          given.reason === undefined ? {} : { "kyc-reason": given.reason };
        return { ...step, headers: { ...step.headers, ...conditions, ...reason } };
      }),
  },
  { weight: 1, arbitrary: fc.constantFrom(rest("GET"), rest("HEAD"), graphql(TRAIL)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      graphql(`{ kycs(filter: { documentNumber: "${GUESS}" }) { totalCount } }`),
      graphql('{ kyc(id: "ID") { documentNumber version updatedAt } }'),
      { ...rest("GET"), path: `/v1/kyc?document_number=${GUESS}` },
    ),
  },
);
const step = fc
  .tuple(plainStep, fc.option(fc.constantFrom("one", "two")))
  .map(([one, key]) =>
    key === null ? one : { ...one, headers: { ...one.headers, "idempotency-key": `${key} ID` } },
  );

const asText = (steps: readonly Step[], id: string, token: string): string =>
  steps
    .map(({ method, path, headers, body }, index) => {
      const sent = body.replaceAll("ID", id);
      const lines = Object.entries({
        host: "localhost",
        authorization: `Bearer ${token}`,
        ...headers,
        ...(sent !== "" && { "content-length": String(Buffer.byteLength(sent)) }),
        connection: index === steps.length - 1 ? "close" : "keep-alive",
      }).map(([name, value]) => `${name}: ${value.replaceAll("ID", id)}\r\n`);
      return `${method} ${path.replaceAll("ID", id)} HTTP/1.1\r\n${lines.join("")}\r\n${sent}`;
    })
    .join("");

async function send(raw: string): Promise<string> {
  const { port } = gateway.app.server.address() as AddressInfo;
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(raw);
  return text(socket);
}

/** Everything that the steps show and leave, without what differs between any two records and requests. */
async function show(steps: readonly Step[], number: string, token: string, pipelined: boolean) {
  const id = await createRecord(gateway, full, { documentNumber: number });
  const parts = pipelined ? [steps] : steps.map((one) => [one]);
  let seen = "";
  for (const part of parts) seen += await send(asText(part, id, token));
  const [record] = await gateway.db.execute("select version, updated_at from kycs where id = $1", [id]);
  const events = await gateway.db.execute(
    "select action, surface, changed_fields, reason from audit_events where $1 = any(kyc_ids) order by sequence",
    [id],
  );
  return {
    seen: seen
      .replaceAll(id, "ID")
      .replace(/req_[\w-]+/g, "REQUEST")
      .replace(/^(date|Date): .*$/gm, ""),
    record,
    events,
  };
}

test.each([
  ["one after the other", false],
  ["pipelined on one connection", true],
])(
  "whoever may not see a number sees the same for a right guess and a wrong one: requests %s",
  async (_name, pipelined) => {
    const sequences = fc.array(step, { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(sequences, fc.nat(SCOPES.length - 1), async (steps, who) => {
        const token = tokens[who] as string;
        const shown = [];
        for (const number of NUMBERS) shown.push(await show(steps, number, token, pipelined));
        expect(shown[0]).toEqual(shown[1]);
      }),
      { numRuns: 40 },
    );
  },
);

test("a token that may see numbers sees the difference", async () => {
  const steps = [graphql(UPDATE, { documentNumber: GUESS })];
  const shown = [];
  for (const number of NUMBERS) shown.push(await show(steps, number, full, false));
  expect(shown[0]).not.toEqual(shown[1]);
});
