"""The steps from one revision to the next, as Alembic finds and runs them on a connection."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from denizen.migrations import Plan, head, is_known


def plan(connection: Connection) -> Plan:
    """Give where the schema is, where it should be, and the steps between, oldest first."""
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and not is_known(current):
        return Plan(current, head(), ())  # a newer program was here
    scripts = ScriptDirectory.from_config(_config())
    steps = [s for s in scripts.iterate_revisions("head", current or "base") if s is not None]
    return Plan(current, head(), tuple(f"{step.revision} {step.doc}" for step in reversed(steps)))


def upgrade(connection: Connection) -> None:
    """Take them."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Any:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
