CREATE TABLE "audit_event_customers" (
	"account_id" text collate "C" NOT NULL,
	"customer_digest" "bytea" NOT NULL,
	"sequence" bigint NOT NULL,
	CONSTRAINT "audit_event_customers_account_id_customer_digest_sequence_pk" PRIMARY KEY("account_id","customer_digest","sequence")
);
--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "other_action" text;--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "other_surface" text;--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "actor_name" text;--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "subject" text;--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "document_type_after" "document_type";--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "version_after" integer;--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "has_customers" boolean;--> statement-breakpoint
ALTER TABLE "ledger_entries" ADD COLUMN "actor_salt" "bytea";--> statement-breakpoint
ALTER TABLE "ledger_entries" ADD COLUMN "actor_hash" "bytea";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_events_by_status" ON "audit_events" USING btree ("account_id","status_after","sequence") WHERE "audit_events"."status_after" is not null;--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_events_by_other_action" ON "audit_events" USING btree ("account_id","other_action","sequence") WHERE "audit_events"."other_action" is not null;--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_events_by_actor" ON "audit_events" USING btree ("account_id","actor_name","sequence") WHERE "audit_events"."actor_name" is not null;