"""One run of an import: from wherever the last one came to, to its end.

Batch after batch, each in one transaction with the row that says how far the import is. Whoever
stops the import or takes it over ends this run: its next transaction finds the row in other hands,
and is rolled back.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, text

from denizen.audit.model import NOBODY
from denizen.audit.queries import record
from denizen.db.errors import DataError, OutcomeUnknownError
from denizen.db.model import table_of
from denizen.db.unit import Db
from denizen.imports import queries
from denizen.imports.files import FileError, Survey, survey
from denizen.imports.folder import ImportFolder
from denizen.imports.model import UNDER_WAY, Counts, Import, State
from denizen.imports.process import reading
from denizen.imports.reader import Batch, Job, Refusal
from denizen.imports.recipes import require_plan
from denizen.imports.report import ReportWriter
from denizen.imports.rows import RowRules
from denizen.imports.staging import Staging
from denizen.parts import Parts

Watch = Callable[[Import], None]
BEAT: Final = 2.0  # seconds between signs of life
_PAGE: Final = 5000  # refusals at a time
_NEWS: Final = 0.2  # weight of the latest batch in the rate
_CLASH: Final = {
    "code": "conflicts",
    "message": "rows of the file belong to users already; nothing was imported",
    "line": 0,
}


class TakenOverError(Exception):
    """Raised when the import is in other hands: it was stopped, or another run has taken it."""


@dataclass(slots=True, kw_only=True)
class ImportRun:
    """A run of one import.

    Attributes:
        parts: what scenarios are made of.
        folder: where an upload is, and where the report goes.
        found: the import, as this run last left it.
        runner: this run's own id.
        watch: told of every change.
    """

    parts: Parts[Any]
    folder: ImportFolder
    found: Import
    runner: uuid.UUID
    watch: Watch = field(default=lambda _: None)

    async def go(self, surveyed: Survey | None = None) -> None:
        """Do all that is left to do, or end the import with the problem of its file.

        Raises:
            TakenOverError: somebody else has it now.
            DataError: the database is out of reach; a later run goes on.
        """
        async with self._beating():
            try:
                if surveyed is None:
                    surveyed = await asyncio.to_thread(self._survey)
                await self._import(surveyed)
            except FileError as error:
                problem = {"code": error.code, "message": error.message, "line": error.line}
                await self._end("failed", problem=problem)

    async def _import(self, surveyed: Survey) -> None:
        options = self.found.options
        job = await self._job(surveyed)
        await self._change(digest=surveyed.digest, records=surveyed.records)
        if (options["dry_run"] or options["on_conflict"] == "fail") and not self.found.is_checked:
            is_clash = await self._check(job)
            if options["dry_run"] or is_clash:
                await self._report(job)
                await self._end("checked" if options["dry_run"] else "failed", is_clash=is_clash)
                return
            await self._begin("writing", is_checked=True)
        await self._write(job)
        await self._report(job)
        await self._end("finished")

    def _survey(self) -> Survey:
        try:
            surveyed = survey(self._path, self.found.options["encoding"])
        except OSError:
            raise FileError("file_gone", "the file can't be read any more") from None
        if self.found.digest not in {None, surveyed.digest}:
            raise FileError("file_changed", "the file is not the one that was begun")
        return surveyed

    @property
    def _path(self) -> Path:
        return Path(self.found.path) if self.found.path else self.folder.upload(self.found.id)

    async def _job(self, surveyed: Survey) -> Job:
        options, layout = self.found.options, surveyed.layout
        imports = self.parts.tables.imports
        firebase = await self.parts.db.run(
            lambda db: queries.get_secret(db, imports, self.found.id), read_only=True
        )
        return Job(
            path=str(self._path),
            layout=layout,
            plan=require_plan(layout.columns, options["recipe"], options["columns"], firebase),
            rules=RowRules(
                now=self.found.created_at,
                is_verified=options["verified"],
                is_csv=layout.kind == "csv",
                firebase=firebase,
            ),
        )

    async def _check(self, job: Job) -> bool:
        """Rehearse the whole file, in one transaction; whether any row met what is there."""
        await self._begin("checking")
        counts = Counts()
        staging = self._staging()
        async with self.parts.db.get_session() as db, reading(job) as take:
            await db.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            await staging.begin_rehearsal(db)
            began = time.monotonic()
            while (batch := await take()) is not None:
                counts += await staging.rehearse(db, batch)
                await self._change(**asdict(counts), rate=self._rate(batch, began))
                began = time.monotonic()
            refusals = self.parts.tables.refusals
            return await queries.has_conflicts(db, refusals, self.found.id)

    async def _write(self, job: Job) -> None:
        await self._change(state="writing")
        staging = self._staging()
        async with reading(replace(job, skip=self.found.done)) as take:
            began = time.monotonic()
            while (batch := await take()) is not None:
                await self._write_batch(staging, batch, began)
                began = time.monotonic()

    async def _write_batch(self, staging: Staging, batch: Batch, began: float) -> None:
        before = self.found

        async def unit(db: Db) -> Import:
            counts = before.counts + await staging.write(db, batch)
            return await self._set(db, **asdict(counts), rate=self._rate(batch, began))

        try:
            self._move(await self.parts.db.run(unit))
        except OutcomeUnknownError:
            await self._change()  # the row itself says whether the transaction was applied
            if self.found.done == before.done:
                self._move(await self.parts.db.run(unit))

    async def _report(self, job: Job) -> None:
        """Write what was not taken into the folder; nothing where all was."""
        found = self.found
        if not found.refused:
            return
        path = self.folder.new_report(found.id, is_csv=job.layout.kind in {"csv", "dump"})
        writer = await asyncio.to_thread(ReportWriter, path, self._path, job.layout, job.plan)
        try:
            last = 0
            while page := await self._refusals(after=last):
                await asyncio.to_thread(writer.add, page)
                last = page[-1].record
        finally:
            writer.close()

    async def _refusals(self, *, after: int) -> list[Refusal]:
        refusals = self.parts.tables.refusals
        return await self.parts.db.run(
            lambda db: queries.list_refusals(db, refusals, self.found.id, after=after, limit=_PAGE),
            read_only=True,
        )

    async def _end(
        self, state: State, *, is_clash: bool = False, problem: dict[str, Any] | None = None
    ) -> None:
        """Let the import rest in its last state, and tell the audit."""
        if is_clash and state == "failed":
            problem = _CLASH
        kept = {} if state == "checked" else {"secret": None}

        async def unit(db: Db) -> Import:
            ended = {"state": state, "finished_at": func.now(), "runner": None}
            found = await self._set(db, **ended, **kept, problem=problem)
            facts = {"import_id": str(found.id), "label": found.label} | asdict(found.counts)
            audit = self.parts.tables.audit
            await record(db, audit, f"import.{state}", found.actor, NOBODY, after=facts)
            return found

        self._move(await self.parts.db.run(unit))
        if state != "checked":
            await asyncio.to_thread(self.folder.upload(self.found.id).unlink, missing_ok=True)

    async def _begin(self, state: State, **values: Any) -> None:
        """Begin reading the file anew: nothing counted, nobody refused."""

        async def unit(db: Db) -> Import:
            await queries.forget_refusals(db, self.parts.tables.refusals, self.found.id)
            return await self._set(db, state=state, **asdict(Counts()), **values)

        self._move(await self.parts.db.run(unit))

    async def _change(self, **values: Any) -> None:
        self._move(await self.parts.db.run(lambda db: self._set(db, **values)))

    async def _set(self, db: Db, **values: Any) -> Import:
        """Change the import, if it is still this run's."""
        imports = self.parts.tables.imports
        found = await queries.change_import(
            db, imports, self.found.id, among=UNDER_WAY, held_by=self.runner, **values
        )
        if found is None:
            raise TakenOverError
        return found

    def _move(self, found: Import) -> None:
        self.found = found
        self.watch(found)

    def _rate(self, batch: Batch, began: float) -> float:
        latest = batch.records / max(time.monotonic() - began, 1e-6)
        known = self.found.rate
        return latest if known is None else known + (latest - known) * _NEWS

    def _staging(self) -> Staging:
        tables = self.parts.tables
        return Staging(
            table_of(self.parts.user_model),
            tables.sessions,
            tables.refusals,
            self.found.id,
            self.found.options["on_conflict"],
        )

    @contextlib.asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        """Give signs of life, so that nobody takes over what is only slow."""
        task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            with contextlib.suppress(DataError):
                await self.parts.db.run(self._set)
