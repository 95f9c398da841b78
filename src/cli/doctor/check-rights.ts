import type { Database } from "../../db/client.ts";
import { TABLE_NAMES } from "../../db/table-names.ts";
import { database } from "./check-database.ts";
import type { Finding } from "./finding.ts";

/** The privileges that serving needs in addition to SELECT and INSERT on every table. */
export const MORE_PRIVILEGES: Record<string, readonly string[]> = {
  kycs: ["UPDATE", "DELETE"],
  idempotency_keys: ["UPDATE", "DELETE"],
  tokens: ["UPDATE"],
  encryption_keys: ["UPDATE"],
  ledger_heads: ["UPDATE"],
  ledger_progress: ["UPDATE"],
  legal_holds: ["UPDATE"],
  job_leases: ["UPDATE"],
  webhook_endpoints: ["UPDATE", "DELETE"],
  webhook_deliveries: ["UPDATE", "DELETE"],
};

const NEEDED = TABLE_NAMES.flatMap((table) =>
  ["SELECT", "INSERT", ...(MORE_PRIVILEGES[table] ?? [])].map((privilege) => ({ table, privilege })),
);

/** Whether the role may do all that serving does. `migrates`: it may also migrate, which the finding says. */
export async function checkRights(db: Database, role: string, migrates: boolean): Promise<Finding[]> {
  const missing = await db.execute<{ table: string; privilege: string }>(
    `select "table", privilege from unnest($1::text[], $2::text[]) as needed("table", privilege)
     where to_regclass(quote_ident("table")) is not null
       and not has_table_privilege(to_regclass(quote_ident("table")), privilege)`,
    [NEEDED.map(({ table }) => table), NEEDED.map(({ privilege }) => privilege)],
  );
  if (missing.length > 0) {
    const list = missing.map(({ table, privilege }) => `${privilege} on ${table}`).join(", ");
    const todo = `GRANT them to ${role}: docs/operations.md, Roles`;
    return [database.problem("rights", `the role ${role} lacks ${list}`, todo)];
  }
  const also = migrates ? "serve and migrate" : "serve, and not migrate: another role runs `migrate`";
  return [database.ok("rights", `the role ${role} may ${also}`)];
}
