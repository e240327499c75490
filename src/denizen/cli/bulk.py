"""`denizen users import` and `users export`: users by the million, out of a file and into one."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from denizen.cli.running import (
    OUT_OF_REACH,
    REFUSED,
    USAGE,
    AsJson,
    CommandError,
    DataDir,
    Service,
    out,
    print_json,
    reporting,
    with_service,
)
from denizen.db.errors import UnavailableError
from denizen.exports.queries import Format
from denizen.imports.files import Encoding, FileError
from denizen.imports.model import Import, OnConflict
from denizen.imports.recipes import FIELDS, RecipeName
from denizen.imports.schemas import ImportOptions, ImportView, said_columns

Show = Callable[[int, int, float | None], None]
_FORMATS: Final[dict[str, Format]] = {".csv": "csv", ".jsonl": "jsonl"}
_GO_ON: Final = "the database went out of reach; the same command goes on where this one was"


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, JSON Lines, Firebase's JSON, or a dump.")
    ],
    *,
    on_conflict: Annotated[
        OnConflict,
        typer.Option(help="Where the address belongs to a user: skip, update, or import nothing."),
    ] = "skip",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, write nothing.")
    ] = False,
    recipe: Annotated[
        RecipeName | None, typer.Option(help="The schema it comes from; its columns tell.")
    ] = None,
    verified: Annotated[
        bool,
        typer.Option("--verified", help="Addresses are confirmed, where the file is silent."),
    ] = False,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="What a column fills; repeat it."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="COLUMN", help="A column to leave; repeat it."),
    ] = None,
    encoding: Annotated[
        Encoding | None, typer.Option(help="Where the file itself does not tell.")
    ] = None,
    hash_config: Annotated[
        Path | None,
        typer.Option(help="File with a Firebase project's password hash parameters."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring users along from a file; cut off, the same command goes on where it was."""
    with reporting(), _about_files(file):
        options = _options(
            on_conflict=on_conflict,
            dry_run=dry_run,
            verified=verified,
            recipe=recipe,
            encoding=encoding,
            columns=said_columns(map_ or [], ignore or []),
            hash_config=None if hash_config is None else hash_config.read_text("utf-8"),
        )
        with _bar(f"importing {file.name}", is_shown=not as_json) as show:

            def watch(found: Import) -> None:
                show(found.done, found.records or 0, found.rate)

            found, view = with_service(
                data_dir, lambda service: _import(service, file, options, watch)
            )
    _tell(found, view, as_json=as_json)


async def _import(
    service: Service, file: Path, options: ImportOptions, watch: Callable[[Import], None]
) -> tuple[Import, ImportView]:
    found = await service.imports.import_file(file, options, watch=watch)
    report = service.imports.folder.report(found.id)
    refusals = await service.imports.list_refusals(found.id)
    where = None if report is None else str(report)
    return found, ImportView.of(found, refusals, where)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.csv or FILE.jsonl.")],
    *,
    with_hashes: Annotated[
        bool, typer.Option("--with-hashes", help="Password hashes, too: to move elsewhere.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write all users into a file, for its owner alone to read."""
    with reporting(), _about_files(file):
        form = _FORMATS.get(file.suffix.lower())
        if form is None:
            raise CommandError("the name must end in .csv or .jsonl", USAGE)
        with _bar(f"exporting {file.name}", is_shown=not as_json) as show:
            count = with_service(
                data_dir,
                lambda service: service.exports.export_file(
                    file,
                    form,
                    with_hashes=with_hashes,
                    watch=lambda done, about: show(done, max(done, about), None),
                ),
            )
    if as_json:
        print_json({"file": str(file), "users": count})
    else:
        out.print(f"exported {count:,} users into {file}", markup=False)


def _tell(found: Import, view: ImportView, *, as_json: bool) -> None:
    """Say how an import ended; status 1 unless everything was taken."""
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        would = "would be " if view.dry_run else ""
        kinds = ("created", "updated", "skipped", "refused")
        counts = ", ".join(f"{getattr(view, kind):,} {would}{kind}" for kind in kinds)
        out.print(f"{view.label}: {counts}", markup=False)
        if view.report is not None:
            out.print(f"what was refused, and why: {view.report}", markup=False)
    with reporting():
        if found.problem is not None:
            line = f"line {found.problem['line']}: " if found.problem["line"] else ""
            raise CommandError(f"{line}{found.problem['message']}", REFUSED)
        if found.state not in {"finished", "checked"}:
            raise CommandError("the import was stopped, or another run has taken it over", REFUSED)
    if found.refused:
        raise typer.Exit(REFUSED)


def _options(**given: Any) -> ImportOptions:
    """Make the options, of which typer knows all but the names of fields."""
    try:
        return ImportOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        said = f"{first['loc'][-1]}: {first['msg']}"
        if first["loc"][0] == "columns":
            said = f"--map takes COLUMN=FIELD, FIELD one of {', '.join(FIELDS)}"
        raise CommandError(said, USAGE) from None


@contextlib.contextmanager
def _about_files(file: Path) -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise CommandError(f"{file}: {error}", REFUSED) from None
    except UnavailableError as error:
        if error.connection_lost:
            raise CommandError(_GO_ON, OUT_OF_REACH) from None
        raise
    except UnicodeDecodeError:
        raise CommandError("the file of --hash-config is no text", USAGE) from None
    except OSError as error:
        raise CommandError(f"{error.filename or file}: {error.strerror}", USAGE) from None


@contextlib.contextmanager
def _bar(title: str, *, is_shown: bool) -> Iterator[Show]:
    """Show a progress bar on a terminal: how much, how fast, how long yet."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not (is_shown and console.is_terminal),
    )
    with progress:
        task = progress.add_task(title, total=None, rate="")

        def show(done: int, total: int, rate: float | None) -> None:
            speed = rate or progress.tasks[0].speed or 0
            progress.update(
                task, completed=done, total=total or None, rate=f"{speed:,.0f}/s" if speed else ""
            )

        yield show
