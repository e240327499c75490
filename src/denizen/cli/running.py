"""What every command shares: its options, its database, its errors, its output."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeVar

import orjson
import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console

from denizen.db.embedded import EmbeddedDatabaseError, use_embedded
from denizen.db.engine import parse_url
from denizen.db.errors import DataError, TakenError, UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.doctor.findings import SENTENCES
from denizen.errors import DenizenError, LastAdminError, NotFoundError
from denizen.migrations import migrate, schema_is_current
from denizen.service import UsersService
from denizen.settings import Settings, SettingsError
from denizen.users.model import UserModel

T = TypeVar("T")
Service = UsersService[UserModel]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the embedded database (default ./data)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]

REFUSED: Final = 1
USAGE: Final = 2
OUT_OF_REACH: Final = 3
BEHIND: Final = SENTENCES["schema_behind"]
NO_RIGHTS: Final = (
    "the role may not read the tables: run `denizen migrate` with DENIZEN_MIGRATE_URL set to the "
    "role that owns them and DENIZEN_DATABASE_URL to the one that serves"
)
out = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Urls:
    """The database for the role that serves and for the role that owns the schema."""

    serving: str
    owning: str
    is_embedded: bool


class CommandError(Exception):
    """Raised to end a command with a sentence and an exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def reporting(not_found: str = "no such user") -> Iterator[None]:
    """End the command with the right status and one line on stderr, whatever goes wrong."""
    try:
        yield
    except CommandError as error:
        fail(str(error), error.status)
    except SettingsError as error:
        fail(str(error), USAGE)
    except EmbeddedDatabaseError as error:
        fail(str(error), OUT_OF_REACH)
    except UnavailableError as error:
        said = NO_RIGHTS if error.sqlstate == "42501" else str(error)
        fail(f"{said} ({error.sqlstate})" if error.sqlstate else said, OUT_OF_REACH)
    except NotFoundError:
        fail(not_found, REFUSED)
    except (DenizenError, DataError, ValidationError) as error:
        fail(_sentence(error), REFUSED)


def fail(message: str, status: int) -> NoReturn:
    """Write the line and end."""
    sys.stderr.write(f"denizen: {message}\n")
    raise typer.Exit(status)


def print_json(value: object) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode() + "\n")


def print_table(rows: list[list[str]]) -> None:
    """Write rows in columns; nothing is cut off, whatever the terminal's width."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


@contextlib.contextmanager
def database_of(settings: Settings) -> Iterator[Urls]:
    """Give the database of the settings; the embedded one runs while this is open."""
    if settings.database_url is not None:
        serving = settings.database_url.get_secret_value()
        owning = settings.migrate_url.get_secret_value() if settings.migrate_url else serving
        yield Urls(serving, owning, is_embedded=False)
        return
    with use_embedded(settings.data_dir, bin_dir=settings.postgres_bin) as urls:
        yield Urls(urls.app_url, urls.owner_url, is_embedded=True)


def with_service(data_dir: Path | None, work: Callable[[Service], Awaitable[T]]) -> T:
    """Give what `work` gives, on the service's database, with its schema up to date."""
    settings = Settings.load(data_dir=data_dir)
    with database_of(settings) as urls:
        return work_on(settings, urls, work)


def work_on(settings: Settings, urls: Urls, work: Callable[[Service], Awaitable[T]]) -> T:
    """Give what `work` gives on this database, with its schema up to date."""
    bound = settings.model_copy(update={"database_url": SecretStr(urls.serving)})
    return asyncio.run(_work(bound, urls, work))


async def bring_up_to_date(settings: Settings, urls: Urls) -> None:
    """Migrate with the owning role, and let the serving one in."""
    db = DBSessionManager(settings.database_to_migrate(urls.owning))
    db.init()
    try:
        await migrate(db, serving_role=serving_role(urls))
    finally:
        await db.close_connections()


def no_mail_server(settings: Settings) -> str:
    """Say where mails end while nobody takes them away."""
    return SENTENCES["no_mail_server"] % {"folder": settings.mail_folder}


def serving_role(urls: Urls) -> str | None:
    """Give the role that needs grants, when it is not the owner itself."""
    serving, owning = parse_url(urls.serving).user, parse_url(urls.owning).user
    return serving if serving != owning else None


async def _work(settings: Settings, urls: Urls, work: Callable[[Service], Awaitable[T]]) -> T:
    service = Service(settings=settings)
    await service.start()
    try:
        if not await schema_is_current(service.db.engine):
            if not urls.is_embedded:
                raise CommandError(BEHIND, OUT_OF_REACH)
            await bring_up_to_date(settings, urls)
        return await work(service)
    finally:
        await service.stop()


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    if isinstance(error, TakenError):
        return f"already taken by another user: {', '.join(error.fields)}"
    if isinstance(error, LastAdminError):
        return "this is the last active admin; make another one first"
    return str(error)
