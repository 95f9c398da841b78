CREATE TYPE "public"."document_type" AS ENUM('passport', 'drivers_license', 'id_card', 'residence_permit', 'visa', 'other');--> statement-breakpoint
CREATE TYPE "public"."verification_status" AS ENUM('pending', 'in_review', 'verified', 'failed', 'expired');--> statement-breakpoint
CREATE TABLE "deleted_kycs" (
	"account_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"created_at" timestamp(3) with time zone NOT NULL,
	CONSTRAINT "deleted_kycs_account_id_id_pk" PRIMARY KEY("account_id","id")
);
--> statement-breakpoint
CREATE TABLE "kycs" (
	"account_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"customer_id" text NOT NULL,
	"verification_status" "verification_status" NOT NULL,
	"document_type" "document_type" NOT NULL,
	"document_number" text NOT NULL,
	"created_at" timestamp(3) with time zone NOT NULL,
	"updated_at" timestamp(3) with time zone NOT NULL,
	"version" integer NOT NULL,
	CONSTRAINT "kycs_account_id_id_pk" PRIMARY KEY("account_id","id")
);
--> statement-breakpoint
CREATE TABLE "tokens" (
	"account_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"name" text NOT NULL,
	"hash" text NOT NULL,
	"scopes" text[] NOT NULL,
	"created_at" timestamp(3) with time zone NOT NULL,
	"expires_at" timestamp(3) with time zone,
	"revoked_at" timestamp(3) with time zone,
	CONSTRAINT "tokens_account_id_id_pk" PRIMARY KEY("account_id","id")
);
--> statement-breakpoint
CREATE INDEX "kycs_by_time" ON "kycs" USING btree ("account_id","created_at","id");--> statement-breakpoint
CREATE INDEX "kycs_by_customer" ON "kycs" USING btree ("account_id","customer_id","created_at","id");--> statement-breakpoint
CREATE INDEX "kycs_by_status" ON "kycs" USING btree ("account_id","verification_status","created_at","id");--> statement-breakpoint
CREATE INDEX "kycs_by_document_type" ON "kycs" USING btree ("account_id","document_type","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "tokens_by_hash" ON "tokens" USING btree ("hash");