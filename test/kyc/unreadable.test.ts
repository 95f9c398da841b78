import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

const NUMBER = "UR-90210-7";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

/** Kinds of damage to the sealed number of the record with the id $1, as SQL. */
const DAMAGES = {
  "its key is lost": `'lost' || substring(sealed_number from position('.' in sealed_number))`,
  "it is cut": "left(sealed_number, length(sealed_number) - 3)",
  "it was sealed for another record": `(select sealed_number from kycs other where other.account_id = kycs.account_id
    and other.id <> $1 limit 1)`,
  "it is no sealed text": "'gibberish'",
};

async function readMetric(): Promise<number> {
  const { body } = await gateway.app.inject("/metrics");
  return Number(/^document_numbers_unreadable_total (\d+)$/m.exec(body)?.[1]);
}

/** A page of three records in a new account, the middle one damaged. */
async function prepare(damage: string) {
  const account = `account-${Math.random().toString(36).slice(2)}`;
  const full = await gateway.token(account);
  const ids = [];
  for (let n = 0; n < 3; n++)
    ids.unshift(await createRecord(gateway, full, { documentNumber: `${NUMBER}${n}` }));
  const id = ids[1] as string;
  await gateway.db.execute(`update kycs set sealed_number = ${damage} where id = $1`, [id]);
  return { account, full, ids, id };
}

const PAGE = "{ kycs { nodes { id documentNumber } edges { node { number: documentNumber } } totalCount } }";
const without = { error: { type: "api_error", code: "number_unreadable", message: expect.any(String) } };

describe.each(Object.entries(DAMAGES))(
  "a record whose number can't be decrypted, because %s,",
  (_why, damage) => {
    test("has an error in its place, and the rest of a page is as usual", async () => {
      const { full, account, ids, id } = await prepare(damage);
      const reader = await gateway.token(account, ["kyc:read"]);
      for (const token of [full, reader]) {
        const { status, data, errors } = await gateway.graphql(token, PAGE);
        expect(status).toBe(200);
        expect(data.kycs.totalCount).toBe(3);
        const numbers = data.kycs.nodes.map((node: { documentNumber: string }) => node.documentNumber);
        const shown = (n: number) => (token === full ? `${NUMBER}${n}` : `•••••••0-7${n}`);
        expect(numbers).toEqual([shown(2), "••••", shown(0)]);
        expect(data.kycs.edges.map((edge: { node: { number: string } }) => edge.node.number)).toEqual(
          numbers,
        );
        expect(errors?.map(({ path, extensions }) => [path, extensions.code])).toEqual([
          [["kycs", "nodes", 1, "documentNumber"], "INTERNAL"],
          [["kycs", "edges", 1, "node", "number"], "INTERNAL"],
        ]);

        const list = await gateway.rest(token, "GET", "/v1/kyc");
        expect(list.statusCode).toBe(200);
        expect(list.json().data.map((kyc: { id: string }) => kyc.id)).toEqual(ids);
        expect(list.json().data[1]).toMatchObject({ id, document_number: null, ...without });
        expect(list.json().data[0]).not.toHaveProperty("error");
      }
    });

    test("is a 500 alone, and only if its number is asked for", async () => {
      const { full, id } = await prepare(damage);
      const read = await gateway.rest(full, "GET", `/v1/kyc/${id}`);
      expect({ status: read.statusCode, body: read.json() }).toEqual({ status: 500, body: without });
      const { data } = await gateway.graphql(full, `{ kyc(id: "${id}") { customerId version } }`);
      expect(data.kyc).toEqual({ customerId: "customer-1", version: 1 });
      const known = await gateway.rest(full, "GET", `/v1/kyc/${id}`, { headers: { "if-none-match": '"1"' } });
      expect(known.statusCode).toBe(304);
    });

    test("is repaired by an update with its number, on either surface", async () => {
      const repairs = [
        (token: string, id: string) =>
          gateway.rest(token, "PATCH", `/v1/kyc/${id}`, { json: { document_number: NUMBER } }),
        (token: string, id: string) =>
          gateway.graphql(
            token,
            `mutation { updateKyc(input: { id: "${id}", documentNumber: "${NUMBER}" }) { kyc { documentNumber } } }`,
          ),
      ];
      for (const repair of repairs) {
        const { full, id } = await prepare(damage);
        await repair(full, id);
        const read = await gateway.rest(full, "GET", `/v1/kyc/${id}`);
        expect([read.statusCode, read.json().document_number, read.headers.etag]).toEqual([
          200,
          NUMBER,
          '"2"',
        ]);
      }
    });

    test("takes no change that would leave its number under another version, and is deleted as any other", async () => {
      const { full, id } = await prepare(damage);
      const requests: Record<string, string>[] = [{}, { "idempotency-key": `other ${id}` }];
      for (const headers of requests) {
        const changed = await gateway.rest(full, "PATCH", `/v1/kyc/${id}`, {
          json: { verification_status: "failed" },
          headers,
        });
        expect([changed.statusCode, changed.json().error.code]).toEqual([500, "number_unreadable"]);
      }
      expect((await gateway.rest(full, "DELETE", `/v1/kyc/${id}`)).statusCode).toBe(200);
    });
  },
);

test("the log names the records and the cause, a metric counts them, and neither has a number", async () => {
  const { full, id } = await prepare(DAMAGES["its key is lost"]);
  const before = await readMetric();
  const read = await gateway.rest(full, "GET", `/v1/kyc/${id}`);
  expect(await readMetric()).toBe(before + 1);
  await gateway.graphql(full, PAGE);
  await gateway.rest(full, "GET", "/v1/kyc");
  expect(await readMetric()).toBe(before + 3);
  const lines = gateway
    .logged()
    .split("\n")
    .filter((line) => line.includes("can't be decrypted") && line.includes(id));
  expect(lines).toHaveLength(3);
  expect(JSON.parse(lines[0] as string)).toMatchObject({
    requestId: read.headers["request-id"],
    kycIds: [id],
    err: { message: 'the encryption key "lost" is needed and is not among the given ones' },
  });
  expect(gateway.logged()).not.toContain(NUMBER);
});
