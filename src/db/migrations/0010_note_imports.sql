CREATE TABLE "imports" (
	"account_id" text collate "C" NOT NULL,
	"source" text NOT NULL,
	"request_id" text NOT NULL,
	"line" bigint NOT NULL,
	"imported" bigint NOT NULL,
	"unchanged" bigint NOT NULL,
	"bad" bigint NOT NULL,
	"started_at" timestamp(3) with time zone NOT NULL,
	"finished_at" timestamp(3) with time zone,
	CONSTRAINT "imports_account_id_source_pk" PRIMARY KEY("account_id","source")
);
