"""signs"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index those who have three signs in a row: a search for signs alone has no trigram."""
    signs = "~ '[!-/:-@[-`{-~]{3}'"
    rare = sa.text(f"(email_key {signs} OR username_key {signs})")
    op.create_index("ix_users_signs", "users", ["created_at", "id"], postgresql_where=rare)
