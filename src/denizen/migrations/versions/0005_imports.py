"""imports"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "imports",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Column("options", JSONB, nullable=False),
        sa.Column("secret", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("is_checked", sa.Boolean, nullable=False),
        sa.Column("runner", sa.Uuid),
        sa.Column("beat_at", instant),
        sa.Column("records", sa.BigInteger),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("skipped", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.Column("rate", sa.Double),
        sa.Column("problem", JSONB),
        sa.Column("created_at", instant, nullable=False, server_default=sa.func.now()),
        sa.Column("finished_at", instant),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("address", sa.String(45)),
        sa.Column("user_agent", sa.String(256)),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
    )
    op.create_table(
        "import_refusals",
        sa.Column("import_id", sa.Uuid, nullable=False),
        sa.Column("record", sa.BigInteger, nullable=False),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("field", sa.String(32), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "record", name="pk_import_refusals"),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["imports.id"],
            name="fk_import_refusals_import_id",
            ondelete="CASCADE",
        ),
    )
