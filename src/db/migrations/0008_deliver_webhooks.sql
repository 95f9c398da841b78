CREATE TABLE "webhook_deliveries" (
	"account_id" text collate "C" NOT NULL,
	"endpoint_id" text collate "C" NOT NULL,
	"position" bigint NOT NULL,
	"kyc_id" text collate "C" NOT NULL,
	"event_type" text NOT NULL,
	"previous_position" bigint,
	"state" text NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp(3) with time zone NOT NULL,
	"queued_at" timestamp(3) with time zone NOT NULL,
	"first_attempt_at" timestamp(3) with time zone,
	"last_attempt_at" timestamp(3) with time zone,
	"last_status" integer,
	"last_result" text,
	CONSTRAINT "webhook_deliveries_account_id_endpoint_id_position_pk" PRIMARY KEY("account_id","endpoint_id","position")
);
--> statement-breakpoint
CREATE TABLE "webhook_endpoints" (
	"account_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"url" text NOT NULL,
	"event_types" text[] NOT NULL,
	"sealed_secrets" text NOT NULL,
	"previous_until" timestamp(3) with time zone,
	"created_at" timestamp(3) with time zone NOT NULL,
	"disabled_at" timestamp(3) with time zone,
	"disabled_because" text,
	"position" bigint NOT NULL,
	"last_success_at" timestamp(3) with time zone,
	"failing_since" timestamp(3) with time zone,
	"lease_owner" text,
	"lease_until" timestamp(3) with time zone,
	"wake_at" timestamp(3) with time zone NOT NULL,
	"is_full" boolean DEFAULT false NOT NULL,
	"served_at" timestamp(3) with time zone,
	CONSTRAINT "webhook_endpoints_account_id_id_pk" PRIMARY KEY("account_id","id")
);
--> statement-breakpoint
CREATE INDEX "webhook_deliveries_by_record" ON "webhook_deliveries" USING btree ("account_id","endpoint_id","kyc_id","position") WHERE "webhook_deliveries"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "webhook_deliveries_by_time" ON "webhook_deliveries" USING btree ("account_id","endpoint_id","next_attempt_at") WHERE "webhook_deliveries"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "webhook_deliveries_by_state" ON "webhook_deliveries" USING btree ("account_id","endpoint_id","state","position");