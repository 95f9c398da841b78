import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { findCreatedBy } from "../../src/audit/store.ts";
import { migrate } from "../../src/db/migrating/migrate.ts";
import { ownMigrations } from "../../src/db/migrating/migration-files.ts";
import { connect } from "../../src/db/pool/pool.ts";
import { findEntries } from "../../src/ledger/sealed-events.ts";
import { newKey } from "../support/keys.ts";
import { administer, databaseUrl, startPostgres } from "../support/postgres-server.ts";
import { createClient } from "../system/support/client.ts";
import { type Env, fullToken, later, runCli, startGateway, tidyUp } from "../system/support/gateway.ts";
import { createOncePerSurface, expectNumbers, expectSeedRequests } from "./support/requests.ts";
import { POSTGRES_SERVERS } from "./support/versions.ts";

afterEach(tidyUp);

/** Makes 20,000 records' events, each with its position. */
const FILL = `
  alter table audit_events set (autovacuum_enabled = off);
  alter table audit_event_records set (autovacuum_enabled = off);
  alter table ledger_entries set (autovacuum_enabled = off);
  with event as (
    insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
      select 'acme', now(), 't', 't', 'rest', 'r', 'created', array[lpad(g::text, 16, '0')], '{}' from generate_series(1, 20000) g
    returning sequence, kyc_ids
  ),
  about as (
    insert into audit_event_records (account_id, kyc_id, sequence) select 'acme', kyc_ids[1], sequence from event
  )
  insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt)
    select 'acme', row_number() over (order by sequence) - 1, sequence, '', '' from event`;

describe.each(POSTGRES_SERVERS)("on PostgreSQL $version", ({ version, unpacked }) => {
  let server: Awaited<ReturnType<typeof startPostgres>>;
  beforeAll(async () => {
    server = await startPostgres({ unpacked });
  });
  afterAll(() => server?.stop());

  test("the server has the version that its package says", async () => {
    const sql = postgres(server.url, { max: 1 });
    later(() => sql.end({ timeout: 1 }));
    const [row] = await sql`show server_version`;
    expect(row?.server_version).toMatch(new RegExp(`^${version}\\.`));
  });

  test("a database of the oldest release is migrated with its records, serves, and changes its key", async () => {
    await administer(server.url, "create database oldest");
    const url = databaseUrl(server.url, "oldest");
    const [oldKey, youngKey] = [newKey("old"), newKey("young")];
    // A gateway that gets no processor for a while is not to refuse requests for it.
    const env: Env = { DATABASE_URL: url, ENCRYPTION_KEYS: oldKey, MAX_EVENT_LOOP_DELAY: "10 min" };
    await migrate({ url }, ownMigrations().slice(0, 1));
    const sql = postgres(url, { max: 1 });
    later(() => sql.end({ timeout: 1 }));
    await sql`insert into kycs select 'demo', lpad(g::text, 16, '0'), 'c', 'pending', 'visa', 'P-' || g, now(), now(), 1
      from generate_series(1, 50) g`;
    const plain = Array.from({ length: 50 }, (_, n) => [`${n + 1}`.padStart(16, "0"), `P-${n + 1}`] as const);

    expect(await runCli(["migrate"], env)).toMatchObject({ code: 0 });
    const gateway = await startGateway(env);
    const token = await fullToken(env);
    const client = createClient(gateway.url, token);
    const other = createClient(gateway.url, await fullToken(env, "seed"));
    await expectSeedRequests(other);
    const records = new Map([...plain, ...(await createOncePerSurface(client))]);
    await expectNumbers(client, records);
    expect(await gateway.stop()).toMatchObject({ code: 0 });

    // No number is left in plain text, and none under the old key.
    const rotated = await runCli(["keys", "rotate"], { ...env, ENCRYPTION_KEYS: `${youngKey},${oldKey}` });
    expect(rotated, rotated.stderr).toMatchObject({ code: 0 });
    expect(rotated.stderr).toContain("Nothing needs old any more");
    const left =
      await sql`select id from kycs where document_number is not null or not starts_with(sealed_number, 'young.')`;
    expect(left).toEqual([]);
    const again = await startGateway({ ...env, ENCRYPTION_KEYS: youngKey });
    await expectNumbers(createClient(again.url, token), records);
    expect(await again.stop()).toMatchObject({ code: 0 });
  });

  test("events are looked up by their indexes while their tables have no statistics", async () => {
    await administer(server.url, "create database young");
    const url = databaseUrl(server.url, "young");
    await migrate({ url });
    const db = connect({ address: { url }, poolSize: 1, prepare: true });
    later(() => db.close());
    await db.execute(FILL);
    /** How often a page of a table or of an index is looked at. */
    const readings = async () => {
      // A session hands in its counts after a statement, once a second at most.
      await wait(1200);
      await db.execute("select pg_stat_clear_snapshot()");
      await wait(200);
      const [row] = await db.execute<{ pages: number }>(`
        select sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read)::int as pages from pg_statio_user_tables`);
      return row?.pages ?? 0;
    };
    const before = await readings();
    // After five executions, PostgreSQL may plan for whatever values may come.
    for (let round = 0; round < 8; round++) {
      const from = round * 1000;
      const entries = await findEntries(db, "acme", { from, to: 20_000, limit: 100 });
      const ids = entries.flatMap(({ event }) => event?.kycIds ?? []);
      expect(await findCreatedBy(db, "acme", "r", ids)).toEqual(ids);
      expect(entries.every(({ filed }) => filed.isOfRecords)).toBe(true);
    }
    expect((await readings()) - before).toBeLessThan(30 * 800);
  });
});
