CREATE TABLE "ledger_entries" (
	"account_id" text collate "C" NOT NULL,
	"position" bigint NOT NULL,
	"sequence" bigint NOT NULL,
	"leaf_hash" "bytea" NOT NULL,
	"token_name_salt" "bytea" NOT NULL,
	"reason_salt" "bytea",
	"reason_hash" "bytea",
	CONSTRAINT "ledger_entries_account_id_position_pk" PRIMARY KEY("account_id","position")
);
--> statement-breakpoint
CREATE TABLE "ledger_heads" (
	"account_id" text collate "C" PRIMARY KEY NOT NULL,
	"size" bigint NOT NULL,
	"frontier" "bytea" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "ledger_nodes" (
	"account_id" text collate "C" NOT NULL,
	"level" integer NOT NULL,
	"index" bigint NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "ledger_nodes_account_id_level_index_pk" PRIMARY KEY("account_id","level","index")
);
--> statement-breakpoint
CREATE TABLE "ledger_progress" (
	"name" text collate "C" PRIMARY KEY NOT NULL,
	"turn" bigint DEFAULT 0 NOT NULL,
	"next_transaction" "xid8" DEFAULT '0' NOT NULL,
	"open_transactions" "xid8"[] DEFAULT '{}' NOT NULL,
	"old_account" text collate "C" DEFAULT '' NOT NULL,
	"old_sequence" bigint DEFAULT 0 NOT NULL,
	"old_done" boolean DEFAULT false NOT NULL
);
--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "written_in" "xid8";--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_entries_by_sequence" ON "ledger_entries" USING btree ("account_id","sequence");--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_events_by_transaction" ON "audit_events" USING btree ("written_in");