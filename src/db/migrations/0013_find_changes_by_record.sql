ALTER TABLE "ledger_progress" ADD COLUMN "open_sequences" bigint[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_events_by_record" ON "audit_events" USING btree ("account_id",("kyc_ids"[1]),"sequence") WHERE "audit_events"."action" <> 'read';--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_events_by_writing" ON "audit_events" USING btree ("written_in","sequence") WHERE "audit_events"."written_in" is not null;--> statement-breakpoint
DROP INDEX CONCURRENTLY "audit_events_by_transaction";