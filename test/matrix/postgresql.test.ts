import postgres from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../../src/db/migrating/migrate.ts";
import { ownMigrations } from "../../src/db/migrating/migration-files.ts";
import { newKey } from "../support/keys.ts";
import { administer, databaseUrl, startPostgres } from "../support/postgres-server.ts";
import { createClient } from "../system/support/client.ts";
import { type Env, fullToken, later, runCli, startGateway, tidyUp } from "../system/support/gateway.ts";
import { createOncePerSurface, expectNumbers, expectSeedRequests } from "./support/requests.ts";
import { POSTGRES_SERVERS } from "./support/versions.ts";

afterEach(tidyUp);

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
});
