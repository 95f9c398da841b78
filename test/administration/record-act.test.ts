import { afterAll, beforeAll, expect, test } from "vitest";
import { byCommand, byGateway, recordActForAll } from "../../src/administration/record-act.ts";
import { hashToken } from "../../src/auth/token-secret.ts";
import { grantScope, issueToken, listTokens, revokeToken, withdrawToken } from "../../src/auth/tokens.ts";
import { SEALED_PLACES } from "../../src/sealed-places.ts";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { forgetUnusedKeys, registerNewestKey } from "../../src/sealing/registry.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { newKey } from "../support/keys.ts";
import { faultsOf, sealAll } from "../support/ledger.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const EVENTS = `{ auditEvents(first: 100) { nodes {
  action subject surface tokenId tokenName actor requestId kycId kycIds changedFields reason
} } }`;
/** The account's acts of administration, oldest first. */
async function actsOf(accountId: string) {
  const reader = await gateway.token(accountId, ["audit:read"]);
  const { data, errors } = await gateway.graphql(reader, EVENTS);
  expect(errors).toBeUndefined();
  return data.auditEvents.nodes
    .filter(
      ({ subject, kycIds }: { subject: unknown; kycIds: string[] }) =>
        subject !== null || kycIds.length === 0,
    )
    .reverse();
}
const issue = { accountId: "acme", name: "back office", expiresAt: null, now: 1_800_000_000_000 };

test("the creation, change and revocation of a token are events of its account, and a second revocation is none", async () => {
  const { db, keys } = gateway;
  const by = byCommand();
  const secret = await issueToken(db, keys, { ...issue, scopes: ["kyc:read"] }, by);
  const [{ id } = { id: "" }] = await listTokens(db, keys, "acme");
  await grantScope(db, keys, { hash: hashToken(secret), scope: "kyc:pii", now: issue.now }, byGateway());
  await grantScope(db, keys, { hash: hashToken(secret), scope: "kyc:pii", now: issue.now }, byGateway());
  await withdrawToken(db, keys, secret, issue.now, by);
  await revokeToken(db, keys, id, issue.now, by);
  const common = { subject: id, kycId: null, kycIds: [], changedFields: [], reason: null };
  const cli = { surface: "CLI", tokenId: "cli", tokenName: "cli", actor: "cli", requestId: by.requestId };
  expect(await actsOf("acme")).toEqual([
    { ...common, ...cli, action: "TOKEN_CREATED" },
    {
      ...{ ...common, action: "TOKEN_CHANGED", surface: "GATEWAY", tokenId: "gateway", tokenName: "gateway" },
      ...{ actor: "gateway", requestId: expect.stringMatching(/^job_/) },
    },
    { ...common, ...cli, action: "TOKEN_REVOKED" },
  ]);
  expect(await actsOf("globex")).toEqual([]);
});

test("an act that concerns every account is in the trail of each one that has a token or an event, once", async () => {
  const { db } = gateway;
  await gateway.token("has a token");
  await createRecord(gateway, await gateway.token("has both"));
  await db.execute(`insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
    select 'has events', now(), 'jwt_1', 'sign-in', 'rest', 'r', 'updated', '{}', '{}' from generate_series(1, 3)`);
  await recordActForAll(db, byCommand(), { action: "backup_taken", subject: null, at: Date.now() });
  const counts = await db.execute(
    "select account_id, count(*)::int from audit_events where other_action = 'backup_taken' group by 1 order by 1",
  );
  const accounts = ["acme", "globex", "has a token", "has both", "has events"];
  expect(counts).toEqual(accounts.map((account_id) => ({ account_id, count: 1 })));
  await sealAll(db);
  expect(await faultsOf(db)).toEqual([]);
});

test("a key that comes into use and one that is forgotten are events of every account, and one in use is none", async () => {
  const { db } = gateway;
  const { keys: old } = parseKeys([newKey("old")]);
  const { keys: both } = parseKeys([newKey("new")]);
  await registerNewestKey(db, Date.now(), async () => new Keyring(old), byGateway());
  for (const _ of [1, 2])
    await registerNewestKey(db, Date.now() + 5, async () => new Keyring(both), byCommand());
  await forgetUnusedKeys(db, new Keyring(both), SEALED_PLACES, byCommand());
  const acts = (await actsOf("has a token")).map(
    (act: { action: string; subject: string; surface: string }) =>
      [act.action, act.subject, act.surface].join(" "),
  );
  expect(acts).toEqual([
    "BACKUP_TAKEN  CLI",
    "ENCRYPTION_KEY_ADDED old GATEWAY",
    "ENCRYPTION_KEY_ADDED new CLI",
    "ENCRYPTION_KEY_RETIRED old CLI",
  ]);
});

test("if the act fails, there is no event, and if the event can't be written, there is no act", async () => {
  const { db, keys } = gateway;
  const by = byCommand();
  const count = async () => (await db.execute("select from audit_events")).length;
  const before = await count();
  await expect(issueToken(db, keys, { ...issue, name: null as never, scopes: [] }, by)).rejects.toThrow();
  expect(await count()).toBe(before);
  await expect(
    issueToken(db, keys, { ...issue, name: "no event", scopes: [] }, { ...by, tokenId: null as never }),
  ).rejects.toThrow();
  expect((await listTokens(db, keys)).map(({ name }) => name)).not.toContain("no event");
});

test("release 0.2 reads each such event as a change of no record, through an API that it knows", async () => {
  const rows = await gateway.db.execute(
    "select distinct action, surface from audit_events where other_action is not null",
  );
  expect(rows).toEqual([{ action: "updated", surface: "rest" }]);
});
