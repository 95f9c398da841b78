CREATE TYPE "public"."audit_action" AS ENUM('created', 'updated', 'deleted', 'read');--> statement-breakpoint
CREATE TYPE "public"."surface" AS ENUM('graphql', 'rest');--> statement-breakpoint
CREATE TABLE "audit_event_records" (
	"account_id" text collate "C" NOT NULL,
	"kyc_id" text collate "C" NOT NULL,
	"sequence" bigint NOT NULL,
	CONSTRAINT "audit_event_records_account_id_kyc_id_sequence_pk" PRIMARY KEY("account_id","kyc_id","sequence")
);
--> statement-breakpoint
CREATE TABLE "audit_events" (
	"account_id" text collate "C" NOT NULL,
	"sequence" bigint GENERATED ALWAYS AS IDENTITY (sequence name "audit_events_sequence_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp(3) with time zone NOT NULL,
	"token_id" text collate "C" NOT NULL,
	"token_name" text NOT NULL,
	"surface" "surface" NOT NULL,
	"request_id" text NOT NULL,
	"action" "audit_action" NOT NULL,
	"kyc_ids" text[] NOT NULL,
	"changed_fields" text[] NOT NULL,
	"status_before" "verification_status",
	"status_after" "verification_status",
	"reason" text,
	CONSTRAINT "audit_events_account_id_sequence_pk" PRIMARY KEY("account_id","sequence")
);
--> statement-breakpoint
CREATE INDEX "audit_events_by_token" ON "audit_events" USING btree ("account_id","token_id","sequence");--> statement-breakpoint
CREATE INDEX "audit_events_by_action" ON "audit_events" USING btree ("account_id","action","sequence");--> statement-breakpoint
CREATE INDEX "audit_events_by_time" ON "audit_events" USING btree ("account_id","at","sequence");