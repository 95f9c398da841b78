CREATE TABLE "encryption_keys" (
	"id" text collate "C" PRIMARY KEY NOT NULL,
	"fingerprint" text NOT NULL,
	"created_at" timestamp(3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "kycs" ALTER COLUMN "document_number" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "sealed_number" text;--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "number_digest" text collate "C";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_by_number" ON "kycs" USING btree ("account_id","number_digest","created_at","id");--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_with_plain_number" ON "kycs" USING btree ("account_id","id") WHERE "kycs"."document_number" is not null;--> statement-breakpoint
ALTER TABLE "kycs" ADD CONSTRAINT "kycs_number_is_sealed_or_plain" CHECK (("kycs"."document_number" is null) <> ("kycs"."sealed_number" is null)
        and ("kycs"."sealed_number" is null) = ("kycs"."number_digest" is null)) NOT VALID;