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

\ir citus-functions.sql
