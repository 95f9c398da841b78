import { join } from "node:path";
import postgres from "postgres";
import { type Env, later } from "./gateway.ts";

/** A connection of the test's own to the database of a gateway that runs; `tidyUp` ends it. */
export function openSql(env: Env): postgres.Sql {
  const options = { max: 1, onnotice: () => {} };
  const sql =
    env.DATABASE_URL === undefined
      ? postgres({
          ...options,
          path: join(String(env.DATA_DIR), ".s.PGSQL.5432"),
          database: "postgres",
          username: "postgres",
        })
      : postgres(env.DATABASE_URL, options);
  later(() => sql.end({ timeout: 2 }));
  return sql;
}

/** All that a dump of the database would show: each row of each table, as text. */
export async function dump(sql: postgres.Sql): Promise<string> {
  const tables = await sql`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema')`;
  const rows = [];
  for (const { name } of tables) rows.push(...(await sql.unsafe(`select t::text as text from ${name} t`)));
  return rows.map(({ text }) => text).join("\n");
}
