import { sql } from "drizzle-orm";
import type { Executor } from "./client.ts";
import { statement } from "./statement.ts";

const given = sql.placeholder;

const take = statement(
  () => sql`
    insert into job_leases as lease (job, owner, until)
    values (${given("job")}, ${given("owner")}, clock_timestamp() + make_interval(secs => ${given("leaseMs")}::float8 / 1000))
    on conflict (job) do update set owner = excluded.owner, until = excluded.until
      where lease.owner = excluded.owner or lease.until < clock_timestamp()
    returning owner`,
  () => true,
);
/**
 * Gives the job to this owner, or extends its lease: no other owner gets it for `leaseMs` milliseconds by the database's
 * clock. Returns false if another owner has it. It needs no session, so it works through a transaction pooler, too.
 */
export async function holdJob(
  db: Executor,
  lease: { job: string; owner: string; leaseMs: number },
): Promise<boolean> {
  return (await take(db, lease)).length > 0;
}

const giveBack = statement(
  () => sql`
    update job_leases set until = '-infinity' where job = ${given("job")} and owner = ${given("owner")}`,
);
/** Gives the job back, so that another owner can have it at once. */
export async function releaseJob(db: Executor, lease: { job: string; owner: string }): Promise<void> {
  await giveBack(db, lease);
}
