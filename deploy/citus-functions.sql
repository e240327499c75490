-- What must be other than the migrations made it once the tables are laid out: part of citus.sql, and
-- run again, alone, after a migration that replaced one of these functions, as the owner:
-- psql --set serving=denizen --single-transaction --file citus-functions.sql
\set ON_ERROR_STOP on
SELECT quote_ident(current_schema()) AS schema \gset

-- a transaction that wrote as one role can't touch the same shard as another: the serving role
-- blanks the events of whom it erases by itself, and may change these four columns for it
ALTER FUNCTION audit_blank(uuid) SECURITY INVOKER;
GRANT UPDATE (address, user_agent, before, after) ON audit_events TO :"serving";

-- removes what the migration's removes, in steps that can be planned shard by shard
CREATE OR REPLACE FUNCTION audit_purge(older_than timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO :schema, pg_temp AS $$
DECLARE
    bound uuid := rpad(lpad(to_hex((extract(
        epoch FROM least(older_than, now() - interval '30 days')) * 1000)::bigint
    ), 12, '0'), 32, '0')::uuid;
    last uuid;
    gone bigint;
BEGIN
    SELECT id INTO last FROM audit_events WHERE id < bound ORDER BY id OFFSET 9999 LIMIT 1;
    DELETE FROM audit_events WHERE id < bound AND id <= coalesce(last, bound);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
