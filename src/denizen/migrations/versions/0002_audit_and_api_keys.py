"""audit and API keys"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# They run with the rights of the schema's owner: the role that serves can't change events itself,
# and through these only those of who is gone and those of a month ago.
# search_path is fixed, with temporary tables last in it: nobody's table of the same name is meant.
BLANK = """
CREATE FUNCTION audit_blank(whom uuid) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path TO {schema}, pg_temp AS $$
    UPDATE audit_events SET address = NULL, user_agent = NULL, before = '{{}}', after = '{{}}'
    WHERE user_id = whom AND NOT EXISTS (SELECT 1 FROM users WHERE id = whom);
    UPDATE audit_events SET address = NULL, user_agent = NULL
    WHERE actor_id = whom AND actor_id <> user_id
    AND NOT EXISTS (SELECT 1 FROM users WHERE id = whom)
$$
"""
PURGE = """
CREATE FUNCTION audit_purge(older_than timestamptz) RETURNS bigint LANGUAGE sql SECURITY DEFINER
SET search_path TO {schema}, pg_temp AS $$
    WITH old AS (
        SELECT user_id, id FROM audit_events
        -- the smallest UUIDv7 of that moment: ids are indexed, in order of time
        WHERE id < rpad(lpad(to_hex((extract(
            epoch FROM least(older_than, now() - interval '30 days')) * 1000)::bigint
        ), 12, '0'), 32, '0')::uuid
        ORDER BY id LIMIT 10000
    ), gone AS (
        DELETE FROM audit_events a USING old
        WHERE a.user_id = old.user_id AND a.id = old.id RETURNING 1
    )
    SELECT count(*) FROM gone
$$
"""


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "audit_events",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("at", instant, nullable=False, server_default=sa.func.now()),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("address", sa.String(45)),
        sa.Column("user_agent", sa.String(256)),
        sa.Column("before", JSONB, nullable=False),
        sa.Column("after", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_id", "audit_events", ["id"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String(32)), nullable=False),
        sa.Column("created_at", instant, nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Uuid),
        sa.Column("expires_at", instant),
        sa.Column("revoked_at", instant),
        sa.Column("last_used_at", instant),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(BLANK.format(schema=schema))
    op.execute(PURGE.format(schema=schema))
    for function in ("audit_blank(uuid)", "audit_purge(timestamptz)"):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
