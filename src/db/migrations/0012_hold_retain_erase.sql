CREATE TABLE "erasures" (
	"account_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"customer_digest" "bytea" NOT NULL,
	"erased_at" timestamp(3) with time zone NOT NULL,
	"sequence" bigint NOT NULL,
	"kyc_ids" text[] NOT NULL,
	"sequences" bigint[] NOT NULL,
	CONSTRAINT "erasures_account_id_id_pk" PRIMARY KEY("account_id","id")
);
--> statement-breakpoint
CREATE TABLE "legal_holds" (
	"account_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"kyc_id" text collate "C",
	"customer_id" text,
	"customer_digest" "bytea" NOT NULL,
	"reason" text,
	"placed_at" timestamp(3) with time zone NOT NULL,
	"until" timestamp(3) with time zone,
	"released_at" timestamp(3) with time zone,
	"release_reason" text,
	CONSTRAINT "legal_holds_account_id_id_pk" PRIMARY KEY("account_id","id")
);
--> statement-breakpoint
ALTER TABLE "kycs" ADD COLUMN "relationship_ended_at" timestamp(3) with time zone;--> statement-breakpoint
CREATE INDEX "legal_holds_by_record" ON "legal_holds" USING btree ("account_id","kyc_id","id");--> statement-breakpoint
CREATE INDEX "legal_holds_by_digest" ON "legal_holds" USING btree ("account_id","customer_digest","id");--> statement-breakpoint
CREATE INDEX "legal_holds_by_customer" ON "legal_holds" USING btree ("account_id","customer_id") WHERE "legal_holds"."customer_id" is not null;--> statement-breakpoint
CREATE INDEX "legal_holds_not_released" ON "legal_holds" USING btree ("account_id","id") WHERE "legal_holds"."released_at" is null;--> statement-breakpoint
CREATE INDEX CONCURRENTLY "kycs_by_relationship_end" ON "kycs" USING btree ("account_id","relationship_ended_at","id") WHERE "kycs"."relationship_ended_at" is not null;--> statement-breakpoint
-- Whoever deletes records, of whatever release: none of them is held. A hold on a customer takes the same lock exclusively,
-- so it either comes after the deletion or is seen here.
CREATE FUNCTION kyc_refuse_held_deletion() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
declare
  held text;
begin
  perform pg_advisory_xact_lock_shared(hashtextextended(account_id || E'\n' || customer_id, 0))
  from (select distinct account_id, customer_id from gone order by 1, 2) as customer;
  select id into held from (
    select hold.id from gone join legal_holds hold on hold.account_id = gone.account_id and hold.kyc_id = gone.id
    where hold.released_at is null and (hold.until is null or hold.until > clock_timestamp())
    union all
    select hold.id from (select distinct account_id, customer_id from gone) as customer join legal_holds hold
      on hold.account_id = customer.account_id and hold.customer_id = customer.customer_id
    where hold.released_at is null and (hold.until is null or hold.until > clock_timestamp())
  ) as holds limit 1;
  if found then
    raise exception 'the record is under the legal hold %', held using errcode = '55H01', constraint = held;
  end if;
  return null;
end
$$;
--> statement-breakpoint
CREATE TRIGGER "kycs_held" AFTER DELETE ON "kycs" REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION kyc_refuse_held_deletion();
--> statement-breakpoint
-- Erases the texts of reasons in a customer's events below a sequence, and their salts. The role that serves requests may not
-- change events, so this runs as the owner of the tables; it leaves events about records that exist. A sealer that has read
-- such a text finds another turn, and reads again.
CREATE FUNCTION kyc_erase_reasons(account text, digest bytea, erased text[], below bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
begin
  if not has_table_privilege(session_user, 'audit_events', 'insert') then
    raise exception 'only a role that writes events may erase their reasons' using errcode = '42501';
  end if;
  update ledger_progress set turn = turn + 1 where name = 'events';
  with about as (
    select sequence from audit_event_customers
    where account_id = account and customer_digest = digest and sequence < below
    union
    select sequence from audit_event_records
    where account_id = account and kyc_id = any(erased) and sequence < below
  ),
  forgotten as (
    update audit_events event set reason = null from about
    where event.account_id = account and event.sequence = about.sequence and event.reason is not null
      and not exists (select from kycs where kycs.account_id = account and kycs.id = any(event.kyc_ids))
    returning event.sequence
  )
  update ledger_entries entry set reason_salt = null from forgotten
  where entry.account_id = account and entry.sequence = forgotten.sequence;
end
$$;
