import type { Database } from "../../db/client.ts";
import { ownMigrations } from "../../db/migrating/migration-files.ts";
import { findPending, lastApplied } from "../../db/migrating/pending.ts";
import { TABLE_NAMES } from "../../db/table-names.ts";
import { database } from "./check-database.ts";
import { checkRights } from "./check-rights.ts";
import type { Finding, Stage } from "./finding.ts";

const OWN_DATABASE =
  "Give the gateway a database of its own, or restore the rest of its dump (pg_dump without -n, or also with -n drizzle)";

const FIND_TABLES = `
  select name, to_regclass(quote_ident(name)) is not null as visible,
    exists(select from pg_class where relname = name and relkind in ('r', 'p')
      and relnamespace not in (select oid from pg_namespace where nspname like 'pg\\_%')) as exists
  from unnest($1::text[]) as name`;

/** How far the database is migrated. */
export async function findStage(db: Database): Promise<Stage> {
  try {
    if ((await lastApplied(db)) === 0) return "empty";
    return (await findPending(db)).migrations.length > 0 ? "behind" : "current";
  } catch {
    return "unknown";
  }
}

/** Whether the tables exist and are this release's, and whether the role may serve and migrate. */
export async function checkMigrations(db: Database): Promise<Finding[]> {
  const [role] = await db.execute<{ name: string; migrates: boolean }>(
    `select current_user as name, has_database_privilege(current_database(), 'CREATE')
       and coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
       and not exists(select from pg_class where relname = any($1::text[]) and pg_table_is_visible(oid)
         and not pg_has_role(relowner, 'USAGE')) as migrates`,
    [TABLE_NAMES],
  );
  const migrates = role?.migrates ?? false;
  const found = await db.execute<{ name: string; visible: boolean; exists: boolean }>(FIND_TABLES, [
    TABLE_NAMES,
  ]);
  const last = await lastApplied(db);
  if (last === 0)
    return [
      checkEmpty(
        found.some(({ exists }) => exists),
        migrates,
      ),
    ];
  const hidden = found.filter(({ visible, exists }) => exists && !visible).map(({ name }) => name);
  if (hidden.length > 0) {
    const todo = "ALTER ROLE … SET search_path = public, and GRANT USAGE ON SCHEMA public TO …";
    return [database.problem("tables", `this role does not see ${hidden.join(", ")}`, todo)];
  }
  return [await checkPending(db, last, migrates), ...(await checkRights(db, role?.name ?? "", migrates))];
}

function checkEmpty(hasTables: boolean, migrates: boolean): Finding {
  if (hasTables) {
    const found =
      "it has tables with the gateway's names, but not the schema drizzle with the record of its migrations";
    return database.problem("migrations", found, OWN_DATABASE);
  }
  if (migrates) return database.ok("migrations", "the database is empty: the first start makes the tables");
  return database.problem(
    "rights",
    "the database is empty, and this role may not make tables",
    "Run `kyc-gateway migrate` as a role with CREATE on the database and its schema: docs/operations.md, Roles",
  );
}

async function checkPending(db: Database, last: number, migrates: boolean): Promise<Finding> {
  const own = ownMigrations();
  const newest = Math.max(...own.map(({ createdAt }) => createdAt));
  const pending = await findPending(db);
  const names = [...[...pending.migrations, ...pending.indexes].map(({ name }) => name), ...pending.obsolete];
  if (names.length > 0) {
    const found = `pending: ${names.join(", ")}`;
    if (migrates) {
      return database.warning("migrations", found, "Run `kyc-gateway migrate`; the next start does so, too");
    }
    const todo = "Run `kyc-gateway migrate` as the role that owns the tables: this one may not";
    return database.problem("migrations", found, todo);
  }
  if (last > newest) {
    const found = "a newer release has migrated the database";
    return database.warning(
      "migrations",
      found,
      "Upgrade this gateway: only the release before the newest serves safely",
    );
  }
  return database.ok("migrations", `all ${own.length} are there`);
}
