CREATE TABLE "idempotency_keys" (
	"account_id" text collate "C" NOT NULL,
	"key_hash" text collate "C" NOT NULL,
	"kyc_id" text collate "C" NOT NULL,
	"request_digest" text,
	"sealed_result" text,
	"created_at" timestamp(3) with time zone NOT NULL,
	CONSTRAINT "idempotency_keys_account_id_key_hash_pk" PRIMARY KEY("account_id","key_hash")
);
--> statement-breakpoint
CREATE INDEX "idempotency_keys_by_record" ON "idempotency_keys" USING btree ("account_id","kyc_id");--> statement-breakpoint
CREATE INDEX "idempotency_keys_by_time" ON "idempotency_keys" USING btree ("created_at");