"""search"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index what lists are filtered by, and parts of addresses and names.

    The latter where the server has trigrams and lets us use them: without, a search reads all
    users; `doctor` says so, and how to mend it.
    """
    for name, columns, rare in (
        ("ix_users_staff", ["role", "created_at", "id"], "role <> 'user'"),
        ("ix_users_disabled", ["created_at", "id"], "is_active IS false"),
        ("ix_users_unconfirmed", ["created_at", "id"], "email_verified_at IS NULL"),
    ):
        op.create_index(name, "users", columns, postgresql_where=sa.text(rare))
    op.execute(
        """
        DO $$ BEGIN
            CREATE EXTENSION IF NOT EXISTS pg_trgm;
            CREATE INDEX ix_users_email_key_parts ON users USING gin (email_key gin_trgm_ops);
            CREATE INDEX ix_users_username_key_parts
                ON users USING gin (username_key gin_trgm_ops);
        EXCEPTION WHEN insufficient_privilege OR undefined_file OR undefined_object
                    OR feature_not_supported OR invalid_schema_name THEN
            RAISE NOTICE 'no trigrams here: a search will read all users';
        END $$
        """
    )
