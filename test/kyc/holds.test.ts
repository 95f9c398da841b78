import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { SURFACES, write } from "../support/once.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

const HOLD = "id kycId customerId reason placedAt until releasedAt releaseReason isInForce";
const place = (input: Record<string, unknown>, by = token, headers = {}) =>
  gateway.graphql(
    by,
    `mutation ($input: PlaceHoldInput!) { placeHold(input: $input) { hold { ${HOLD} } } }`,
    { input },
    headers,
  );
const release = (id: string, by = token) =>
  gateway.graphql(
    by,
    `mutation ($id: ID!) { releaseHold(input: { id: $id, reason: "the case is closed" }) { hold { ${HOLD} } } }`,
    { id },
  );
async function placed(input: Record<string, unknown>): Promise<string> {
  const { data, errors } = await place({ reason: "case 7 of the court", ...input });
  expect(errors).toBeUndefined();
  return data.placeHold.hold.id;
}

describe.each(SURFACES)("through %s", (surface) => {
  const remove = (id: string) => write(gateway, surface, token, { operation: "delete", id });

  test("a held record can't be deleted until its hold is released", async () => {
    const id = await createRecord(gateway, token);
    const hold = await placed({ kycId: id });
    expect(await remove(id)).toMatchObject({ code: "LEGAL_HOLD", message: expect.stringContaining(hold) });
    await release(hold);
    expect((await remove(id)).code).toBe("OK");
  });

  test("a hold on a customer holds its records, those to come included, and no other", async () => {
    const customerId = `customer ${surface}`;
    const hold = await placed({ customerId });
    const id = await createRecord(gateway, token, { customerId });
    const other = await createRecord(gateway, token, { customerId: `${customerId} 2` });
    const foreign = await createRecord(gateway, await gateway.token("globex"), { customerId });
    expect((await remove(id)).code).toBe("LEGAL_HOLD");
    expect((await remove(other)).code).toBe("OK");
    const { code } = await write(gateway, surface, await gateway.token("globex"), {
      operation: "delete",
      id: foreign,
    });
    expect(code).toBe("OK");
    await release(hold);
    expect((await remove(id)).code).toBe("OK");
  });

  test("a hold with an end holds until then by the database's clock", async () => {
    const id = await createRecord(gateway, token);
    const until = new Date(Date.now() + 1500).toISOString();
    await placed({ kycId: id, until });
    expect((await remove(id)).code).toBe("LEGAL_HOLD");
    await wait(1600);
    expect((await remove(id)).code).toBe("OK");
  });

  test("an idempotency key is not used up by a refusal because of a hold", async () => {
    const id = await createRecord(gateway, token);
    const hold = await placed({ kycId: id });
    const keyed = () => write(gateway, surface, token, { operation: "delete", id }, `again ${surface}`);
    expect((await keyed()).code).toBe("LEGAL_HOLD");
    await release(hold);
    expect(await keyed()).toMatchObject({ code: "OK", replayed: false });
  });
});

test("REST answers with the status and code of the catalogue", async () => {
  const id = await createRecord(gateway, token);
  const hold = await placed({ kycId: id });
  const answer = await gateway.rest(token, "DELETE", `/v1/kyc/${id}`);
  expect(answer.statusCode).toBe(409);
  expect(answer.json().error).toEqual({
    type: "conflict_error",
    code: "resource_held",
    message: expect.stringContaining(hold),
  });
});

test("the database refuses the deletion itself, for replicas of earlier releases and for psql", async () => {
  const [byRecord, byCustomer] = [
    await createRecord(gateway, token),
    await createRecord(gateway, token, { customerId: "held by customer" }),
  ];
  const hold = await placed({ kycId: byRecord });
  await placed({ customerId: "held by customer" });
  for (const id of [byRecord, byCustomer]) {
    await expect(gateway.db.execute("delete from kycs where id = $1", [id])).rejects.toMatchObject({
      code: "55H01",
    });
  }
  await release(hold);
  await gateway.db.execute("delete from kycs where id = $1", [byRecord]);
});

test("holds are listed, newest first, and shown by their records", async () => {
  const by = await gateway.token("initech");
  const id = await createRecord(gateway, by, { customerId: "listed" });
  const ids = [];
  for (const input of [{ kycId: id }, { customerId: "listed" }, { customerId: "nobody yet" }]) {
    const { data } = await place({ ...input, reason: "why" }, by);
    ids.push(data.placeHold.hold.id);
  }
  await release(ids[2], by);
  const list = async (args: string) => {
    const { data, errors } = await gateway.graphql(
      by,
      `{ holds(${args}) { nodes { ${HOLD} } totalCount pageInfo { hasNextPage endCursor } } }`,
    );
    expect(errors).toBeUndefined();
    return data.holds;
  };
  const idsOf = (page: { nodes: { id: string }[] }) => page.nodes.map((node) => node.id);
  expect(idsOf(await list("first: 10"))).toEqual(ids.toReversed());
  const first = await list("first: 2");
  expect(first).toMatchObject({ totalCount: 3, pageInfo: { hasNextPage: true } });
  expect(idsOf(await list(`first: 2, after: "${first.pageInfo.endCursor}"`))).toEqual([ids[0]]);
  expect(idsOf(await list(`filter: { kycId: "${id}" }`))).toEqual([ids[0]]);
  expect(idsOf(await list('filter: { customerId: "listed" }'))).toEqual([ids[1], ids[0]]);
  expect(idsOf(await list("filter: { isInForce: true }"))).toEqual([ids[1], ids[0]]);
  const [released] = (await list('filter: { customerId: "nobody yet" }')).nodes;
  expect(released).toMatchObject({ customerId: null, isInForce: false, releaseReason: "the case is closed" });

  const filters = ['{ customerId: "nobody yet" }', '{ customerId: "listed" }', `{ kycId: "${id}" }`];
  const pages = filters.map(
    (filter, index) => `p${index}: holds(filter: ${filter}) { nodes { id } totalCount }`,
  );
  const { data: together } = await gateway.graphql(by, `{ ${pages.join(" ")} }`);
  expect(together).toEqual({
    p0: { nodes: [{ id: ids[2] }], totalCount: 1 },
    p1: { nodes: [{ id: ids[1] }, { id: ids[0] }], totalCount: 2 },
    p2: { nodes: [{ id: ids[0] }], totalCount: 1 },
  });

  const shown = await gateway.graphql(
    by,
    `{ kyc(id: "${id}") { onHold holds { id } history { nodes { action subject reason } } } }`,
  );
  expect(shown.data.kyc).toMatchObject({ onHold: true, holds: [{ id: ids[1] }, { id: ids[0] }] });
  expect(shown.data.kyc.history.nodes[0]).toEqual({ action: "HOLD_PLACED", subject: ids[0], reason: "why" });
  const trail = await gateway.graphql(
    by,
    '{ auditEvents(filter: { customerId: "nobody yet" }) { nodes { action subject } } }',
  );
  expect(trail.data.auditEvents.nodes).toEqual([
    { action: "HOLD_RELEASED", subject: ids[2] },
    { action: "HOLD_PLACED", subject: ids[2] },
  ]);
  // Another account sees none of it.
  const other = await gateway.token("umbrella");
  expect((await release(ids[0], other)).errors?.[0]?.extensions.code).toBe("NOT_FOUND");
  expect((await place({ kycId: id, reason: "why" }, other)).errors?.[0]?.extensions.code).toBe("NOT_FOUND");
  const theirs = await gateway.graphql(other, "{ holds { totalCount } }");
  expect(theirs.data.holds.totalCount).toBe(0);
});

test.each([
  [{}, "input.kycId"],
  [{ kycId: "x", customerId: "y" }, "input.kycId"],
  [{ customerId: "c9", reason: " " }, "input.reason"],
  [{ customerId: "c9", reason: "about C9." }, "input.reason"],
  [{ customerId: "Ren\u00e9", reason: "about RENE\u0301" }, "input.reason"],
  [{ customerId: "rene\u0301", reason: "about Ren\u00e9" }, "input.reason"],
  [{ customerId: "c9", reason: "about \uff23\uff19" }, "input.reason"],
  [{ customerId: "c9", until: "2020-01-01T00:00:00Z" }, "input.until"],
  [{ customerId: "" }, "input.customerId"],
])("a hold with a fault is refused: %j", async (input, path) => {
  const { errors } = await place({ reason: "why", ...input });
  expect(errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT", fields: [{ path }] });
});

test("a customer's id inside of longer words is no fault of a reason, in the letters of any script", async () => {
  await placed({ customerId: "c9", reason: "ac9, c91, 𐐨c9 and c9𐐨" });
});

test("the reason of a hold contains no document number of what is held", async () => {
  const customerId = "with a number";
  const id = await createRecord(gateway, token, { customerId, documentNumber: "PZ 998 877" });
  for (const target of [{ kycId: id }, { customerId }]) {
    const { errors } = await place({ ...target, reason: "because of pz998877" });
    expect(errors?.[0]?.extensions).toMatchObject({ fields: [{ path: "input.reason" }] });
  }
  const hold = await placed({ customerId });
  const { errors } = await gateway.graphql(
    token,
    `mutation { releaseHold(input: { id: "${hold}", reason: "PZ-998-877" }) { hold { id } } }`,
  );
  expect(errors?.[0]?.extensions).toMatchObject({ fields: [{ path: "input.reason" }] });
});

test.each(["a record", "a customer"])(
  "%s has 20 holds at most, also if many are placed at once",
  async (target) => {
    const customerId = `often held: ${target}`;
    const id = await createRecord(gateway, token, { customerId });
    const text = `mutation ($kycId: ID, $customerId: String) {
    placeHold(input: { kycId: $kycId, customerId: $customerId, reason: "r" }) { hold { id } } }`;
    const on = target === "a record" ? { kycId: id } : { customerId };
    const answers = await Promise.all(Array.from({ length: 26 }, () => gateway.graphql(token, text, on)));
    const codes = answers.flatMap(({ errors }) => errors?.map(({ extensions }) => extensions.code) ?? []);
    expect(codes).toEqual(Array(6).fill("BAD_USER_INPUT"));
  },
);

test("a repetition under the same idempotency key places no second hold", async () => {
  const input = { customerId: "keyed", reason: "once" };
  const [first, again] = [
    await place(input, token, { "idempotency-key": "hold once" }),
    await place(input, token, { "idempotency-key": "hold once" }),
  ];
  expect(again.data).toEqual(first.data);
  const { errors } = await place({ ...input, reason: "other" }, token, { "idempotency-key": "hold once" });
  expect(errors?.[0]?.extensions.code).toBe("IDEMPOTENCY_MISMATCH");
});

test("of a hold and a deletion at the same time, the deletion is first or is refused", async () => {
  const outcomes = new Map<string, number>();
  for (let round = 0; round < 40; round++) {
    const customerId = `race ${round}`;
    const id = await createRecord(gateway, token, { customerId });
    const target = round % 2 === 0 ? { kycId: id } : { customerId };
    const deleting = async () => {
      await wait(Math.random() * 6);
      // Also as a replica of an earlier release does it.
      if (round % 4 > 1) {
        return gateway.db
          .execute("delete from kycs where account_id = 'acme' and id = $1 returning id", [id])
          .then(
            () => "OK",
            ({ code }) => (code === "55H01" ? "LEGAL_HOLD" : code),
          );
      }
      return (await write(gateway, round % 8 > 3 ? "rest" : "graphql", token, { operation: "delete", id }))
        .code;
    };
    const holding = async () => {
      await wait(Math.random() * 6);
      const { errors } = await place({ ...target, reason: "why" });
      return errors?.[0]?.extensions.code ?? "OK";
    };
    const [deleted, held] = await Promise.all([deleting(), holding()]);
    const [row] = await gateway.db.execute("select id from kycs where id = $1", [id]);
    const outcome = `${deleted} ${held} ${row ? "kept" : "gone"}`;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    // A hold on a customer can also be placed after the deletion.
    expect(["LEGAL_HOLD OK kept", "OK NOT_FOUND gone", "OK OK gone"]).toContain(outcome);
    if (outcome === "OK OK gone") {
      expect("customerId" in target).toBe(true);
      const order = await gateway.db.execute<{ placed: string; gone: string }>(
        `select (select sequence from audit_events join audit_event_customers using (account_id, sequence)
           where other_action = 'hold_placed' and customer_digest = $1)::text as placed,
          (select max(sequence) from audit_event_records join audit_events using (account_id, sequence)
           where kyc_id = $2 and action = 'deleted')::text as gone`,
        [gateway.digestCustomer("acme", customerId), id],
      );
      if (order[0]?.gone) expect(Number(order[0].placed)).toBeGreaterThan(Number(order[0].gone));
    }
  }
  expect(outcomes.size).toBeGreaterThan(1);
});
