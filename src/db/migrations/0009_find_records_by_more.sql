ALTER TABLE "kycs" ADD COLUMN "status_since" timestamp(3) with time zone;--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "status_since_version" integer;--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "expires_at" timestamp(3) with time zone;--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_by_status_type_created_at" ON "kycs" USING btree ("account_id","verification_status","document_type","created_at","id");--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_by_status_type_updated_at" ON "kycs" USING btree ("account_id","verification_status","document_type","updated_at","id");--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_by_status_type_status_since" ON "kycs" USING btree ("account_id","verification_status","document_type",coalesce("status_since", "updated_at"),"id");--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_by_status_type_expires_at" ON "kycs" USING btree ("account_id","verification_status","document_type",coalesce("expires_at", 'infinity'::timestamptz),"id");--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_without_status_since" ON "kycs" USING btree ("account_id","id") WHERE "kycs"."status_since_version" is distinct from "kycs"."version";