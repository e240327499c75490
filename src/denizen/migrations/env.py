"""Alembic's entry: runs on the connection that `denizen.migrations` hands over."""

from alembic import context

from denizen.db.model import Model, table_of
from denizen.parts import Tables
from denizen.users.model import UserModel

Tables.of(table_of(UserModel))

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Model.metadata,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
