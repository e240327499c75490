"""`denizen migrate`."""

import asyncio
from typing import Annotated

import typer

from denizen import migrations
from denizen.cli.running import (
    AsJson,
    DataDir,
    Urls,
    database_of,
    out,
    print_json,
    reporting,
    serving_role,
)
from denizen.db.manager import DBSessionManager
from denizen.migrations import Plan
from denizen.settings import Settings


def migrate(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show the steps, change nothing.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database schema up to date; safe when two run at once."""
    with reporting():
        settings = Settings.load(data_dir=data_dir)
        with database_of(settings) as urls:
            found = asyncio.run(_migrate(settings, urls, only_plan=plan))
    if as_json:
        print_json({"current": found.current, "head": found.head, "steps": found.steps})
        return
    word = "would apply" if plan else "applied"
    for step in found.steps:
        out.print(f"{word} {step}", markup=False)
    if not found.steps:
        out.print(f"up to date at {found.head}", markup=False)


async def _migrate(settings: Settings, urls: Urls, *, only_plan: bool) -> Plan:
    db = DBSessionManager(settings.database_to_migrate(urls.owning))
    db.init()
    try:
        if only_plan:
            return await migrations.plan(db)
        return await migrations.migrate(db, serving_role=serving_role(urls))
    finally:
        await db.close_connections()
