"""F41: the next version's schema is made while this version serves, and then the two together."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import denizen
from denizen.db.testing import superuser
from denizen.migrations import head
from faults.report import IS_FULL, full
from faults.stage import Stage, started
from processes import command

NEXT: Final = f"{int(head()) + 1:04}"
STEP: Final = f'''"""what a step may do"""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{head()}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("visits", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_users_visits", "users", ["visits"])
    op.create_table("teams", sa.Column("id", sa.Uuid, primary_key=True))
'''
BACK: Final = f"""
DROP TABLE IF EXISTS teams; ALTER TABLE users DROP COLUMN IF EXISTS visits;
UPDATE alembic_version SET version_num = '{head()}'
"""


@dataclass(frozen=True, slots=True)
class NextVersion:
    """A program that differs from this one by a step of the schema."""

    stage: Stage
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What has Python find it in place of this one."""
        return {"PYTHONPATH": str(self.folder)}

    async def migrate(self) -> "subprocess.CompletedProcess[str]":
        """Run its `denizen migrate`."""
        urls = {
            "DENIZEN_DATABASE_URL": self.stage.server.app_url,
            "DENIZEN_MIGRATE_URL": self.stage.server.owner_url,
        }
        data = self.folder / "data"
        return await asyncio.to_thread(command, data, "migrate", **urls, **self.environment)


@pytest.fixture
async def following(stage: Stage, tmp_path: Path) -> AsyncIterator[NextVersion]:
    """Make the next version; in the end the schema is this one's again."""
    package = tmp_path / "next" / "denizen"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(denizen.__file__).parent, package, ignore=ignored)
    (package / "migrations" / "versions" / f"{NEXT}_next.py").write_text(STEP, encoding="utf-8")
    yield NextVersion(stage, package.parent)
    async with superuser(stage.server.superuser_url) as operator:
        await operator.execute(BACK)


async def test_f41_older_program_goes_on_while_the_schema_becomes_the_next_ones(
    stage: Stage, following: NextVersion
) -> None:
    """Somebody has been reading `users` for long, and the step wants it: nobody else waits for it.

    It is asked for again and again, and done once the reader is; then both versions serve.
    """
    seconds = full(20, 6)
    async with stage.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        async with superuser(stage.server.superuser_url) as reader, reader.transaction():
            await reader.fetchval("SELECT count(*) FROM users")
            migrating = asyncio.create_task(following.migrate())
            await asyncio.sleep(seconds)
            assert not migrating.done()
        done = await migrating
        load.recorder.mark("healed")
        await load.until(20)
        if IS_FULL:
            await _beside(following)
        stage.service.until("/readyz", 200)

    assert (done.returncode, done.stdout) == (0, f"applied {NEXT} what a step may do\n"), done
    measured = await stage.measure(
        load,
        "F41",
        f"the next version migrates, a reader in its way for {seconds} s",
        "this version serves on, then both; gap ≤ 4 s",
    )
    assert measured.gap < 4


async def _beside(following: NextVersion) -> None:
    """Start a service of the next version on the same database."""
    url = following.stage.server.app_url
    with started(following.folder, url, port=None, workers=1, **following.environment) as newer:
        await asyncio.to_thread(newer.until, "/readyz", 200)
