import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKey } from "../support/keys.ts";
import { type Client, createClient, kycFields } from "../system/support/client.ts";
import { CLI, createEmptyDatabase, type Env, start, tidyUp } from "../system/support/gateway.ts";
import { openSql } from "../system/support/sql.ts";
import { PACKING_LIMIT_MS, packRelease02, startRelease } from "./support/release-0.2.ts";

let old: string;
beforeAll(async () => {
  old = await packRelease02();
}, PACKING_LIMIT_MS);
afterAll(tidyUp);

/** Records that 0.2 has written through its API, and copies of them with their events. */
const WRITTEN = 24;
const COPIES = 800;
/** A replica looks for records of 0.2 every 30 s, and machines can be busy. Milliseconds. */
const PATIENCE = 180_000;

async function run(cli: string, env: Env, ...args: string[]): Promise<string> {
  const command = start(process.execPath, [cli, ...args], { env });
  const { code } = await command.exited;
  expect(code, command.output()).toBe(0);
  return command.stdout().trim();
}

/** Changes records until it is stopped, by status and by other values. */
function keepChanging(client: Client, ids: readonly string[]): () => Promise<void> {
  let isStopped = false;
  const change = async () => {
    for (let turn = 0; !isStopped && turn < 10_000; turn++) {
      const id = ids[turn % ids.length];
      const value = turn % 3 === 0 ? ["failed", "verified"][turn % 2] : ["visa", "passport"][turn % 2];
      const field = turn % 3 === 0 ? "verification_status" : "document_type";
      await client.form("PUT", `/v1/kyc/${id}`, { [field]: value as string }).catch(() => {});
      await wait(20);
    }
  };
  const done = change();
  return () => {
    isStopped = true;
    return done;
  };
}

test("while 0.2 and this release serve, of which one replica is killed, each record gets the time of its status from the trail", async () => {
  const env = { DATABASE_URL: await createEmptyDatabase(), ENCRYPTION_KEYS: newKey("first") };
  const previous = await startRelease(old, env);
  const scopes = "--scopes=kyc:read,kyc:write,kyc:delete,kyc:pii,audit:read";
  const token = await run(old, env, "token", "create", "--account=demo", "--name=old", scopes);
  const client = createClient(previous.url, token);
  const ids: string[] = [];
  for (let n = 0; n < WRITTEN; n++) {
    const { json } = await client.form("POST", "/v1/kyc", kycFields(`c${n}`, `N-${n}`));
    ids.push(json.id);
    if (n % 3 !== 0) await client.form("PUT", `/v1/kyc/${json.id}`, { verification_status: "verified" });
    await wait(2);
    if (n % 2 !== 0) await client.form("PUT", `/v1/kyc/${json.id}`, { document_type: "visa" });
  }
  const sql = openSql(env);
  await sql`
    insert into kycs (account_id, id, customer_id, verification_status, document_type, document_number, sealed_number, number_digest,
      created_at, updated_at, version)
    select account_id, right(id, 9) || lpad(g::text, 7, '0'), customer_id, verification_status, document_type,
      document_number, sealed_number, number_digest, created_at, updated_at + interval '1 day', version
    from kycs, generate_series(1, ${COPIES}) g`;
  await sql`
    with copied as (
      insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields,
        status_before, status_after)
      select account_id, at, token_id, token_name, surface, request_id, action, array[right(kyc_ids[1], 9) || lpad(g::text, 7, '0')],
        changed_fields, status_before, status_after
      from (select * from audit_events order by sequence) event, generate_series(1, ${COPIES}) g
      returning account_id, kyc_ids[1] as kyc_id, sequence)
    insert into audit_event_records (account_id, kyc_id, sequence) select account_id, kyc_id, sequence from copied`;

  const [first, second] = [await startRelease(CLI, env), await startRelease(CLI, env)];
  const stops = [previous, second].map(({ url }) => keepChanging(createClient(url, token), ids));
  const unsettled = async () => {
    const [row] = await sql`
      select count(*)::int as count from kycs where status_since_version is distinct from version`;
    return row?.count as number;
  };
  await expect.poll(unsettled, { timeout: PATIENCE, interval: 20 }).toBeLessThan(WRITTEN * COPIES);
  await first.stop("SIGKILL");
  const third = await startRelease(CLI, env);
  await expect.poll(unsettled, { timeout: PATIENCE }).toBeLessThanOrEqual(WRITTEN);
  for (const stop of stops) await stop();
  await previous.stop();
  await expect.poll(unsettled, { timeout: PATIENCE }).toBe(0);

  const wrong = await sql`
    select id, status_since, last.at from kycs left join lateral (
      select event.at from audit_event_records record join audit_events event using (account_id, sequence)
      where record.account_id = kycs.account_id and record.kyc_id = kycs.id
        and event.status_before is distinct from event.status_after and event.action in ('created', 'updated')
        and event.other_action is null
      order by record.sequence desc limit 1
    ) as last on true
    where status_since is distinct from last.at limit 3`;
  expect([...wrong]).toEqual([]);
  const [total] = await sql`select count(*)::int as count from kycs where status_since < updated_at`;
  expect(total?.count).toBeGreaterThan(WRITTEN * COPIES * 0.9);
  await sql.end();
  await Promise.all([second.stop(), third.stop()]);
}, 500_000);
