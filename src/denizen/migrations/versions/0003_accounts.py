"""links, outbox, devices, erasure, idempotency"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("erase_after", INSTANT))
    op.create_index(
        "ix_users_erase_after",
        "users",
        ["erase_after"],
        postgresql_where=sa.text("erase_after IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_events_actor_id",
        "audit_events",
        ["actor_id"],
        postgresql_where=sa.text("actor_id <> user_id"),
    )
    op.create_index(
        "ix_users_admins", "users", ["id"], postgresql_where=sa.text("role = 'admin'")
    )
    _devices()
    _links_and_mails()
    op.create_table(
        "idempotency_keys",
        sa.Column("principal_id", sa.Uuid, nullable=False),
        sa.Column("key_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("claim_id", sa.Uuid, nullable=False),
        sa.Column("claimed_at", INSTANT, nullable=False, server_default=sa.func.now()),
        sa.Column("status", sa.SmallInteger),
        sa.Column("headers", JSONB),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("principal_id", "key_digest", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_claimed_at", "idempotency_keys", ["claimed_at"])


def _devices() -> None:
    now = sa.func.now()
    op.add_column("sessions", sa.Column("last_seen_at", INSTANT, nullable=False, server_default=now))
    op.add_column("sessions", sa.Column("address", sa.String(45)))
    op.add_column("sessions", sa.Column("user_agent", sa.String(256)))
    op.create_index("ix_sessions_last_seen_at", "sessions", ["last_seen_at"])
    op.create_table(
        "known_networks",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("network", sa.String(49), nullable=False),
        sa.Column("last_used_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "network", name="pk_known_networks"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_known_networks_user_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_known_networks_last_used_at", "known_networks", ["last_used_at"])


def _links_and_mails() -> None:
    op.create_table(
        "tokens",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("request_id", sa.Uuid, nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("locale", sa.String(8)),
        sa.Column("created_at", INSTANT, nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "token_digest", name="pk_tokens"),
    )
    op.create_index("ix_tokens_expires_at", "tokens", ["expires_at"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("email", sa.String(254)),
        sa.Column("email_key", sa.String(446, collation="C")),
        sa.Column("locale", sa.String(8), nullable=False),
        sa.Column("facts", JSONB, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False, server_default=sa.func.now()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_try_at", INSTANT, server_default=sa.func.now()),
        sa.Column("sent_at", INSTANT),
        sa.Column("error", sa.String(200)),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index(
        "ix_outbox_next_try_at",
        "outbox",
        ["next_try_at"],
        postgresql_where=sa.text("next_try_at IS NOT NULL"),
    )
    op.create_index("ix_outbox_email_key", "outbox", ["email_key"])
    op.create_index("ix_outbox_user_id", "outbox", ["user_id"])
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"])
