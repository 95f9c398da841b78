CREATE TABLE "milestones" (
	"name" text collate "C" PRIMARY KEY NOT NULL,
	"reached_at" timestamp(3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"name" text collate "C" PRIMARY KEY NOT NULL,
	"sealed" text NOT NULL
);
--> statement-breakpoint
ALTER TABLE "encryption_keys" ADD COLUMN "seals" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "sealed_version" integer;--> statement-breakpoint
ALTER TABLE "tokens" ADD COLUMN "mac" text;--> statement-breakpoint
ALTER TABLE "kycs" ADD CONSTRAINT "kycs_number_is_bound_to_version" CHECK ("kycs"."sealed_version" is null or "kycs"."sealed_version" = "kycs"."version") NOT VALID;