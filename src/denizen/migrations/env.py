"""Alembic's entry: runs on the connection that `denizen.migrations` hands over."""

from alembic import context

from denizen.users.model import UserModel

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=UserModel.metadata,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
