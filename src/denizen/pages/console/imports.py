"""Imports: a file is uploaded, checked, started, watched, and reported on."""

import asyncio
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from starlette.responses import FileResponse, Response

from denizen.errors import InvalidError, Issue, NotFoundError
from denizen.imports.files import FileError
from denizen.imports.model import UNDER_WAY, Import
from denizen.imports.report import MEDIA_TYPES
from denizen.imports.schemas import ImportOptions, said_columns
from denizen.pages.complaints import MISSING, SAID
from denizen.pages.console import ADMINS, id_in_path
from denizen.pages.console import import_words as words_of
from denizen.pages.site import Site
from denizen.pages.uploads import Uploads
from denizen.pages.visit import Visit

IMPORTS: Final = "/console/imports"
REFUSED: Final = 100  # rows on a page
_PAGE: Final = 50
_MEBIBYTE: Final = 2**20


class ImportPages:
    """The pages of imports."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        self._imports = imports = site.service.imports
        self._limit = site.settings.import_max
        uploads = Uploads(imports.folder.part, self._limit * _MEBIBYTE)
        one = f"{IMPORTS}/{{id}}"
        site.add(IMPORTS, self.show, **ADMINS)
        site.add(f"{IMPORTS}/new", self.show_new, self.upload, uploads=uploads, **ADMINS)
        site.add(one, self.show_one, **ADMINS)
        site.add(f"{one}/report", self.report, **ADMINS)
        site.add(f"{one}/start", None, self.start, **ADMINS)
        site.add(f"{one}/stop", None, self.stop, **ADMINS)
        site.add(f"{one}/resume", None, self.resume, **ADMINS)

    async def show(self, visit: Visit) -> Response:
        """List the imports, the newest first."""
        page = await self._imports.list_imports(limit=_PAGE, cursor=visit.query("cursor") or None)
        return visit.page(
            "console/imports/list.html",
            page=page,
            names=await self._service.audit.names_of(found.actor_id for found in page),
            states=words_of.state_names(visit.words),
        )

    async def show_new(self, visit: Visit) -> Response:
        """Ask for a file, and what to do with it."""
        words = visit.words
        return visit.page(
            "console/imports/new.html",
            conflicts=words_of.conflict_names(words),
            recipes=words_of.recipe_names(words),
            encodings=words_of.encoding_names(words),
            limit=words.number(self._limit),
            has_more=bool(visit.issues),
        )

    async def upload(self, visit: Visit) -> Response:
        """Take the file, to be checked or imported in the background."""
        if visit.file is None:
            raise InvalidError(Issue("file", MISSING, ""))
        options = _options(visit)
        if not await asyncio.to_thread(_size, visit.file.path):
            raise InvalidError(Issue("file", SAID, visit.gettext("The file is empty.")))
        try:
            found = await self._imports.begin_upload(
                visit.file.path, visit.file.name, options, actor=visit.actor, db=visit.db
            )
        except FileError as error:
            said = words_of.file_problem(visit.words, error.code, error.message, error.line)
            raise InvalidError(Issue("file", SAID, said)) from None
        return visit.leave(f"{IMPORTS}/{found.id}")

    async def show_one(self, visit: Visit) -> Response:
        """Show how far an import is, what its file holds, and what was not taken."""
        found = await self._imports.get_import(id_in_path(visit))
        after = visit.query("after")
        rows = []
        if found.refused and found.state not in UNDER_WAY:
            last = int(after) if after.isascii() and after.isdecimal() and len(after) < 16 else 0
            rows = await self._imports.list_refusals(found.id, after=last, limit=REFUSED + 1)
        return visit.page(
            "console/imports/one.html",
            found=found,
            is_under_way=found.state in UNDER_WAY,
            preview=await self._imports.preview(found) if found.state == "checked" else None,
            refusals=rows[:REFUSED],
            next_after=rows[REFUSED - 1].record if len(rows) > REFUSED else None,
            has_report=await self._report_of(found) is not None,
            state=words_of.state_names(visit.words)[found.state],
            **_words(visit, found),
        )

    async def report(self, visit: Visit) -> Response:
        """Give the rows that were not taken, as a file like the one that was imported."""
        found = await self._imports.get_import(id_in_path(visit))
        path = await self._report_of(found)
        if path is None:
            raise NotFoundError
        name = f"refused-{found.id}{path.suffix}"
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], filename=name)

    async def start(self, visit: Visit) -> Response:
        """Import what was checked."""
        return await self._switch(visit, self._imports.start, visit.gettext("The import started."))

    async def stop(self, visit: Visit) -> Response:
        """Stop after the rows that are being written."""
        said = visit.gettext("The import is stopped. What was imported stays.")
        return await self._switch(visit, self._imports.stop, said)

    async def resume(self, visit: Visit) -> Response:
        """Go on with what was stopped."""
        return await self._switch(visit, self._imports.resume, visit.gettext("The import goes on."))

    async def _switch(self, visit: Visit, act: Any, said: str) -> Response:
        """Act; on an import that is in another state by now there is nothing to do but to look."""
        import_id = id_in_path(visit)
        try:
            await act(import_id, actor=visit.actor, db=visit.db)
        except NotFoundError:
            await self._imports.get_import(import_id)
            said = visit.gettext("The import is in another state by now.")
        return visit.leave(f"{IMPORTS}/{import_id}", say=said)

    async def _report_of(self, found: Import) -> Any:
        if found.state in UNDER_WAY:
            return None
        return await asyncio.to_thread(self._imports.folder.report, found.id)


def _size(path: Path) -> int:
    return path.stat().st_size


def _words(visit: Visit, found: Import) -> dict[str, Any]:
    words, problem = visit.words, found.problem
    told = None
    if problem is not None:
        told = words_of.file_problem(words, problem["code"], problem["message"], problem["line"])
    return {
        "problem": told,
        "progress": words_of.progress(words, found),
        "reasons": words_of.reasons(words),
        "fields": words_of.filled_names(words),
        "conflicts": words_of.conflict_names(words),
    }


def _options(visit: Visit) -> ImportOptions:
    """Read what the form says beside its file."""
    lines = (line.rpartition("=") for line in visit.value("columns").splitlines() if line.strip())
    said = [(column.strip(), name.strip()) for column, _, name in lines]
    given: dict[str, Any] = {
        "on_conflict": visit.value("on_conflict", "skip"),
        "dry_run": visit.is_chosen("check", "yes"),
        "verified": visit.is_chosen("verified", "yes"),
        "recipe": visit.value("recipe") or None,
        "encoding": visit.value("encoding") or None,
        "columns": said_columns(
            [f"{column}={name}" for column, name in said if name],
            [column for column, name in said if not name],
        ),
        "hash_config": visit.value("hash_config").strip() or None,
    }
    try:
        return ImportOptions.model_validate(given)
    except ValidationError as error:
        fields = {str(one["loc"][0]) for one in error.errors(include_input=False)}
        raise InvalidError(*(Issue(name, "invalid", "") for name in sorted(fields))) from None
