"""`denizen backup` and `denizen restore`: the embedded database into a folder, and out of one."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from denizen import migrations
from denizen.backups.folder import (
    DUMP,
    BackupError,
    Manifest,
    describe,
    require_backup,
    whole_folder,
)
from denizen.cli.running import (
    REFUSED,
    USAGE,
    AsJson,
    CommandError,
    DataDir,
    Urls,
    bring_up_to_date,
    database_of,
    out,
    print_json,
    reporting,
    work_on,
)
from denizen.clock import rfc3339
from denizen.db.dump import dump, load
from denizen.db.embedded import CLUSTER, READY, binaries_for
from denizen.db.manager import DBSessionManager
from denizen.db.replacing import replacing
from denizen.settings import Settings

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.")]
_YOURS: Final = (
    "DENIZEN_DATABASE_URL is set, and this is for the embedded database: "
    "back yours up with its own tools (docs/how-to/operate.md)"
)


def backup(folder: Folder, *, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Back the embedded database up into a new folder; the service may run on."""
    with reporting(), _about_folders():
        settings = _embedded(data_dir)
        if not _has_database(settings):
            raise CommandError(f"there is no database in {settings.data_dir}", REFUSED)
        manifest = _back_up(settings, folder)
    if as_json:
        print_json({"backup": str(folder)} | asdict(manifest))
    else:
        size = f"{manifest.size / 1024:,.0f} KiB"
        out.print(f"backed up into {folder}: {size}, schema {manifest.schema}", markup=False)


def restore(
    folder: Folder,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the embedded database, while no service runs."""
    with reporting(), _about_folders():
        settings = _embedded(data_dir)
        manifest = require_backup(folder)
        _require_known(manifest.schema)
    if _has_database(settings) and not yes:
        question = f"Replace the database in {settings.data_dir} by that of {manifest.made_at}?"
        typer.confirm(question, abort=True, err=True)
    with reporting(), _about_folders():
        aside = _restore(settings, folder, manifest)
    if as_json:
        facts = {"restored": str(folder), "aside": None if aside is None else str(aside)}
        print_json(facts | asdict(manifest))
        return
    out.print(f"restored as it was at {manifest.made_at}; everybody signs in again", markup=False)
    if aside is not None:
        out.print(f"the database before is kept in {aside}", markup=False)


def _back_up(settings: Settings, folder: Path) -> Manifest:
    with whole_folder(folder) as part, database_of(settings) as urls:
        made_at = rfc3339(datetime.now(UTC))
        schema, server = asyncio.run(_look(settings, urls))
        if schema == migrations.head():
            work_on(settings, urls, lambda denizen: denizen.backups.note_backup())
        binaries = binaries_for(settings.data_dir.resolve(), settings.postgres_bin)
        dump(binaries, urls.owning, part / DUMP)
        version = importlib.metadata.version("denizen")
        return describe(part, made_at=made_at, denizen=version, schema=schema, postgres=server)


def _restore(settings: Settings, folder: Path, manifest: Manifest) -> Path | None:
    with replacing(settings.data_dir, bin_dir=settings.postgres_bin) as replacement:
        server = replacement.server
        load(server.binaries, server.superuser_url, folder / DUMP)
        urls = Urls(server.app_url, server.owner_url, is_embedded=True)
        schema, _ = asyncio.run(_look(settings, urls))
        _require_known(schema)  # what is in the dump decides, not what is said about it
        asyncio.run(bring_up_to_date(settings, urls))
        work_on(settings, urls, lambda denizen: denizen.backups.settle_restored(manifest.made_at))
    return replacement.aside


async def _look(settings: Settings, urls: Urls) -> tuple[str | None, str]:
    """Give the revision of the schema and the version of the server."""
    db = DBSessionManager(settings.database(urls.owning))
    db.init()
    try:
        plan = await migrations.plan(db)
        async with db.make_connection() as connection:
            version = (await connection.exec_driver_sql("SHOW server_version")).scalar_one()
        return plan.current, str(version)
    finally:
        await db.close_connections()


def _require_known(schema: str | None) -> None:
    if schema is None or not migrations.is_known(schema):
        raise BackupError(f"its schema {schema} is that of a later denizen: update this one first")


def _embedded(data_dir: Path | None) -> Settings:
    settings = Settings.load(data_dir=data_dir)
    if settings.database_url is not None:
        raise CommandError(_YOURS, USAGE)
    return settings


def _has_database(settings: Settings) -> bool:
    return any((settings.data_dir / name / "PG_VERSION").exists() for name in (CLUSTER, READY))


@contextlib.contextmanager
def _about_folders() -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        raise CommandError(str(error), REFUSED) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", REFUSED) from None
