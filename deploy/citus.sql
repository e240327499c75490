-- Lays denizen's tables out over a Citus cluster, once, after `denizen migrate`, as the role that
-- owns them: psql --set serving=denizen --single-transaction --file citus.sql
-- Why so, and what it costs: docs/how-to/scale.md
\set ON_ERROR_STOP on

-- on every node: both unique keys hold, and whatever is joined with users is joined in place
SELECT create_reference_table('users');

-- by user, side by side: all that is somebody's is on one node
SELECT create_distributed_table('sessions', 'user_id');
SELECT create_distributed_table('known_networks', 'user_id', colocate_with => 'sessions');
SELECT create_distributed_table('tokens', 'user_id', colocate_with => 'sessions');
SELECT create_distributed_table('audit_events', 'user_id', colocate_with => 'sessions');

-- outbox, idempotency_keys, api_keys, throttles, imports, import_refusals, alembic_version stay as
-- they are, on the coordinator: queues are claimed with SKIP LOCKED, which no two shards can do

-- a transaction that wrote as one role can't touch the same shard as another: the serving role
-- blanks the events of whom it erases by itself, and may change these four columns for it
ALTER FUNCTION audit_blank(uuid) SECURITY INVOKER;
GRANT UPDATE (address, user_agent, before, after) ON audit_events TO :"serving";

-- the same as the migration's, in steps that can be planned shard by shard
CREATE OR REPLACE FUNCTION audit_purge(older_than timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO public, pg_temp AS $$
DECLARE
    bound uuid := rpad(lpad(to_hex((extract(
        epoch FROM least(older_than, now() - interval '30 days')) * 1000)::bigint
    ), 12, '0'), 32, '0')::uuid;
    last uuid;
    gone bigint;
BEGIN
    SELECT id INTO last FROM audit_events WHERE id < bound ORDER BY id OFFSET 9999 LIMIT 1;
    DELETE FROM audit_events WHERE id <= coalesce(last, bound);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
