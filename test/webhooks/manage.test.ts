import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { sealedEndpoints } from "../../src/webhooks/sealed-endpoints.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { newKey } from "../support/keys.ts";
import { addWebhook } from "../support/webhooks.ts";

let gateway: TestApp;
let owner: string;
let stranger: string;
beforeAll(async () => {
  gateway = await createTestApp();
  owner = await gateway.token("acme");
  stranger = await gateway.token("globex");
});
afterAll(() => gateway.close());

const CREATE = `mutation ($input: CreateWebhookInput!) { createWebhook(input: $input) {
  secret webhook { id url eventTypes publicKey disabledAt position } } }`;
const create = (token: string, input: object, headers = {}) =>
  gateway.graphql(token, CREATE, { input: { eventTypes: ["KYC_CREATED"], ...input } }, headers);
const codesOf = ({ errors }: { errors: { extensions: { code: string } }[] | undefined }) =>
  errors?.map(({ extensions }) => extensions.code);

test("a webhook is created with a secret that is shown once, listed, changed and deleted", async () => {
  const { data } = await create(owner, {
    url: "https://Example.com:443/hook?key=1",
    eventTypes: ["KYC_DELETED"],
  });
  const { webhook, secret } = data.createWebhook;
  expect(webhook).toMatchObject({
    url: "https://example.com/hook?key=1",
    eventTypes: ["KYC_DELETED"],
    disabledAt: null,
  });
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(webhook.publicKey).toMatch(/^whpk_[A-Za-z0-9+/]{43}=$/);
  const list = await gateway.graphql(
    owner,
    "{ webhooks { id url deliveries { totalCount nodes { position } } } }",
  );
  expect(list.data.webhooks).toHaveLength(1);
  expect(JSON.stringify(list.data)).not.toContain("whsec");
  const update = `mutation { updateWebhook(input: { id: "${webhook.id}", eventTypes: [KYC_CREATED, KYC_CREATED] }) { webhook { url eventTypes } } }`;
  expect((await gateway.graphql(owner, update)).data.updateWebhook.webhook).toEqual({
    ...{ url: "https://example.com/hook?key=1", eventTypes: ["KYC_CREATED"] },
  });
  const remove = `mutation { deleteWebhook(input: { id: "${webhook.id}" }) { deletedId } }`;
  expect((await gateway.graphql(owner, remove)).data.deleteWebhook).toEqual({ deletedId: webhook.id });
  expect(codesOf(await gateway.graphql(owner, remove))).toEqual(["NOT_FOUND"]);
});

test("deliveries are listed newest first, by state and by cursor, also those of several webhooks at once", async () => {
  const token = await gateway.token("listing");
  const ids: string[] = [];
  for (const name of ["a", "b"]) {
    const { data } = await create(token, { url: `https://example.com/${name}` });
    ids.push(data.createWebhook.webhook.id);
  }
  await gateway.db.execute(
    `insert into webhook_deliveries (account_id, endpoint_id, position, kyc_id, event_type, state, next_attempt_at, queued_at)
     select 'listing', endpoint, position, 'k', 'kyc.created', case when position = 4 then 'failed' else 'pending' end,
       to_timestamp(1e9), now()
     from unnest(array['${ids[0]}', '${ids[1]}']) with ordinality as given(endpoint, number)
     cross join generate_series(3, 5) as position where number = 1 or position > 3`,
  );
  const list = async (args: string) => {
    const query = `{ webhooks { id deliveries${args} { totalCount nodes { position state nextAttemptAt } pageInfo { endCursor } } } }`;
    const { data, errors } = await gateway.graphql(token, query);
    expect(errors).toBeUndefined();
    const found = new Map(data.webhooks.map((webhook: { id: string }) => [webhook.id, webhook]));
    return ids.map((id) => (found.get(id) as { deliveries: Record<string, unknown> }).deliveries);
  };
  const waiting = { state: "PENDING", nextAttemptAt: "2001-09-09T01:46:40.000Z" };
  const [newest, failed] = [
    { position: 5, ...waiting },
    { position: 4, state: "FAILED", nextAttemptAt: null },
  ];
  const [first, second] = await list("");
  expect(first).toMatchObject({ totalCount: 3, nodes: [newest, failed, { position: 3, ...waiting }] });
  expect(second).toMatchObject({ totalCount: 2, nodes: [newest, failed] });
  for (const page of await list("(filter: { state: FAILED })"))
    expect(page).toMatchObject({ totalCount: 1, nodes: [failed] });
  const [{ pageInfo }] = (await list("(first: 1)")) as [{ pageInfo: { endCursor: string } }];
  for (const page of await list(`(first: 1, after: "${pageInfo.endCursor}")`))
    expect(page).toMatchObject({ nodes: [failed] });
});

test("under an idempotency key, a webhook is created once, and the repetition shows the same secret", async () => {
  const headers = { "idempotency-key": "webhook-1" };
  const [first, again] = [
    await create(owner, { url: "https://example.com/once" }, headers),
    await create(owner, { url: "https://example.com/once" }, headers),
  ];
  expect(again.data).toEqual(first.data);
  expect(again.headers["idempotent-replayed"]).toBe("true");
  expect((await gateway.graphql(owner, "{ webhooks { id } }")).data.webhooks).toHaveLength(1);
});

describe("another account", () => {
  const ACTS = [
    ["updateWebhook", ', url: "https://evil.example/"', "webhook { url }"],
    ["rotateWebhookSecret", "", "secret"],
    ["disableWebhook", "", "webhook { id }"],
    ["enableWebhook", "", "webhook { id }"],
    ["resendWebhookEvents", ", from: 0, to: 5", "events"],
    ["deleteWebhook", "", "deletedId"],
  ] as const;

  test.each(ACTS)("can't use %s", async (act, more, selection) => {
    const { endpoint } = await addWebhook(gateway, "acme", "https://example.com/mine");
    const before = await gateway.db.execute("select * from webhook_endpoints order by id");
    const answer = await gateway.graphql(
      stranger,
      `mutation { ${act}(input: { id: "${endpoint.id}"${more} }) { ${selection} } }`,
    );
    expect(codesOf(answer)).toEqual(["NOT_FOUND"]);
    expect(await gateway.db.execute("select * from webhook_endpoints order by id")).toEqual(before);
  });

  test("sees neither the webhook nor its deliveries", async () => {
    const { endpoint } = await addWebhook(gateway, "acme", "https://example.com/mine");
    const query = `{ webhooks { id } webhook(id: "${endpoint.id}") { url } }`;
    expect((await gateway.graphql(stranger, query)).data).toEqual({ webhooks: [], webhook: null });
  });
});

test.each([
  ["eventTypes", { url: "https://example.com/", eventTypes: [] }],
  ["url", { url: "example.com" }],
  ["url", { url: `https://example.com/${"x".repeat(2100)}` }],
])("input with a fault of %s is refused with its path", async (field, input) => {
  const { errors } = await create(owner, input);
  expect(errors?.[0]?.extensions).toMatchObject({
    code: "BAD_USER_INPUT",
    fields: [{ path: `input.${field}` }],
  });
});

test("a range is resent only if it is one of at most 10,000 positions", async () => {
  const { endpoint } = await addWebhook(gateway, "acme", "https://example.com/mine");
  const resend = (from: number, to: number) =>
    gateway.graphql(
      owner,
      `mutation { resendWebhookEvents(input: { id: "${endpoint.id}", from: ${from}, to: ${to} }) { events } }`,
    );
  for (const [from, to] of [
    [5, 4],
    [-1, 3],
    [0, 10_000],
  ] as const)
    expect(codesOf(await resend(from, to))).toEqual(["BAD_USER_INPUT"]);
  expect((await resend(0, 9_999)).data.resendWebhookEvents).toEqual({ events: 0 });
});

test("an account has 20 webhooks at most, also if many are created at once", async () => {
  const crowded = await gateway.token("initech");
  for (let n = 0; n < 15; n++) await addWebhook(gateway, "initech", `https://example.com/${n}`);
  const answers = await Promise.all(
    Array.from({ length: 15 }, (_, n) => create(crowded, { url: `https://example.com/more/${n}` })),
  );
  expect(answers.filter(({ errors }) => !errors)).toHaveLength(5);
  expect(codesOf(await create(crowded, { url: "https://example.com/" }))).toEqual(["BAD_USER_INPUT"]);
  const rows = await gateway.db.execute("select from webhook_endpoints where account_id = 'initech'");
  expect(rows).toHaveLength(20);
});

test("secrets are sealed anew under a new key, and one that was altered is named", async () => {
  const { keys: rotated } = parseKeys([newKey("second")]);
  const { endpoint } = await addWebhook(gateway, "hooli", "https://example.com/mine");
  gateway.keys.adopt(rotated);
  const count = [...(await sealedEndpoints.countByKey(gateway.db)).values()].reduce((sum, n) => sum + n, 0);
  const done = await sealedEndpoints.reseal(gateway.db, gateway.keys, () => {});
  expect(done).toEqual({ resealed: count, unreadable: [] });
  expect(await sealedEndpoints.countByKey(gateway.db)).toEqual(new Map([["second", count]]));
  expect(await sealedEndpoints.check(gateway.db, new Keyring(rotated), () => {})).toEqual([]);
  // The secrets of another account's webhook.
  await gateway.db.execute(
    "update webhook_endpoints set sealed_secrets = (select min(sealed_secrets) from webhook_endpoints where account_id = 'acme') where account_id = 'hooli'",
  );
  expect(await sealedEndpoints.check(gateway.db, gateway.keys, () => {})).toEqual([
    expect.objectContaining({ kind: "webhook", account: "hooli", id: endpoint.id }),
  ]);
});
