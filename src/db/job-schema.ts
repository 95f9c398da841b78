import { pgTable } from "drizzle-orm/pg-core";
import { byteText, instant } from "./columns.ts";

/** Which replica does a job of the whole database now: see `src/db/job-lease.ts`. */
export const jobLeases = pgTable("job_leases", {
  job: byteText("job").primaryKey(),
  /** A run of the job on a replica. */
  owner: byteText("owner").notNull(),
  /** By the database's clock. */
  until: instant("until").notNull(),
});
