CREATE TABLE "job_leases" (
	"job" text collate "C" PRIMARY KEY NOT NULL,
	"owner" text collate "C" NOT NULL,
	"until" timestamp(3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "expiry_step" integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "expiry_notices" text;--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_to_expire" ON "kycs" USING btree ("account_id","expiry_step","expires_at","id") WHERE "kycs"."verification_status" = 'verified' and "kycs"."expires_at" is not null;