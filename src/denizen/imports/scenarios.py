"""Use cases of imports: a file is begun, checked, imported, stopped, looked at.

An operator's own file is imported where it lies, by whoever calls `import_file`. An upload lies in
the data folder and is imported in the background by a process of the service (`serving`): when that
one dies, by another.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import func
from uuid_utils.compat import uuid7

from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.errors import DataError
from denizen.db.paging import Page
from denizen.db.unit import Db
from denizen.errors import NotFoundError
from denizen.imports import queries
from denizen.imports.files import FileError, sniff, survey
from denizen.imports.folder import ImportFolder
from denizen.imports.model import UNDER_WAY, Counts, Import, State
from denizen.imports.preview import Preview, preview
from denizen.imports.reader import Refusal
from denizen.imports.recipes import firebase_parameters, require_plan
from denizen.imports.run import ImportRun, TakenOverError, Watch
from denizen.imports.schemas import ImportOptions, label_of
from denizen.parts import Parts
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)
_log = logging.getLogger(__name__)
POLL: Final = 2.0  # seconds between looks into the folder of uploads
IDLE: Final = timedelta(seconds=8)  # without a sign of life an import is anybody's
_FIRST_REFUSALS: Final = 100


class ImportScenarios(Generic[U]):
    """Imports into one users table.

    Attributes:
        folder: where uploads and reports lie.
    """

    def __init__(self, parts: Parts[U], folder: Path) -> None:
        self._parts = parts
        self._db = parts.db
        self._imports = parts.tables.imports
        self.folder = ImportFolder(folder)
        self._news = asyncio.Event()

    async def import_file(
        self,
        path: Path,
        options: ImportOptions,
        *,
        actor: Actor = OPERATOR,
        watch: Watch = lambda _: None,
    ) -> Import:
        """Import a file, or go on with it where a run of the same file and options was cut off.

        Raises:
            FileError: the file can't be read to its end, or its columns are not understood.
            InvalidError: the hash parameters are incomplete.
            DataError: the database is out of reach; the same call goes on later.
            OSError: the file can't be opened.
        """
        secret = _secret(options)
        surveyed = await asyncio.to_thread(survey, path, options.encoding)
        require_plan(surveyed.layout.columns, options.recipe, options.columns, secret)
        digest, stored = surveyed.digest, options.stored()
        where = str(await asyncio.to_thread(path.absolute))

        async def unit(db: Db) -> Import:
            begun = await queries.find_begun(db, self._imports, digest, stored)
            if begun is not None:
                return begun
            facts = {"path": where, "size": surveyed.size, "digest": digest}
            return await self._create(
                db, actor, uuid7(), path.name, options=stored, secret=secret, **facts
            )

        found = await self._db.run(unit)
        run = await self._claim(found.id, idle=timedelta(0))
        if run is None:
            return found
        run.watch = watch
        with contextlib.suppress(TakenOverError):
            await run.go(surveyed)
        return await self.get_import(found.id)

    async def begin_upload(
        self,
        part: Path,
        name: str,
        options: ImportOptions,
        *,
        actor: Actor,
        db: Db | None = None,
    ) -> Import:
        """Take a finished upload, to be imported in the background.

        Args:
            part: a file from `folder.part()`; it is moved.
            name: what its owner calls it.
            options: what is asked for.
            actor: who asks.
            db: the caller's session, to join its transaction.

        Raises:
            FileError: by its beginning it is no file of users.
            InvalidError: the hash parameters are incomplete.
        """
        secret = _secret(options)
        layout = await asyncio.to_thread(sniff, part, options.encoding)
        if layout.columns:
            require_plan(layout.columns, options.recipe, options.columns, secret)
        import_id, stored = uuid7(), options.stored()
        size = await asyncio.to_thread(self.folder.keep, part, import_id)
        found = await self._db.run(
            lambda db: self._create(
                db, actor, import_id, name, size=size, options=stored, secret=secret
            ),
            join=db,
        )
        self._news.set()
        return found

    async def get_import(self, import_id: uuid.UUID) -> Import:
        """Give an import as it stands.

        Raises:
            NotFoundError: there is none of that id.
        """
        return _require(
            await self._db.run(
                lambda db: queries.get_import(db, self._imports, import_id), read_only=True
            )
        )

    async def list_imports(self, *, limit: int = 50, cursor: str | None = None) -> Page[Import]:
        """Give one page of imports, the newest first.

        Raises:
            CursorError: the cursor is not one of this list.
        """
        return await self._db.run(
            lambda db: queries.page_imports(db, self._imports, limit=limit, cursor=cursor),
            read_only=True,
        )

    async def list_refusals(
        self, import_id: uuid.UUID, *, after: int = 0, limit: int = _FIRST_REFUSALS
    ) -> list[Refusal]:
        """Give rows that were not taken, in the order of the file, from behind a record on."""
        refusals = self._parts.tables.refusals
        return await self._db.run(
            lambda db: queries.list_refusals(db, refusals, import_id, after=after, limit=limit),
            read_only=True,
        )

    async def preview(self, found: Import) -> Preview | None:
        """Give how the upload of an import begins; None when it is not here, or can't be read."""
        if found.path is not None:
            return None
        path, options = self.folder.upload(found.id), found.options
        try:
            return await asyncio.to_thread(preview, path, options)
        except (OSError, FileError):
            return None

    async def start(self, import_id: uuid.UUID, *, actor: Actor, db: Db | None = None) -> Import:
        """Import an upload for which a dry run has told what would happen.

        Raises:
            NotFoundError: no checked upload has that id.
        """
        found = await self.get_import(import_id)
        if found.path is not None:
            raise NotFoundError

        async def unit(db: Db) -> Import:
            await queries.forget_refusals(db, self._parts.tables.refusals, import_id)
            options = found.options | {"dry_run": False}
            fresh = {"is_checked": False, "finished_at": None} | asdict(Counts())
            return await self._switch(
                db, import_id, "import.started", actor, ("checked",), options=options, **fresh
            )

        started = await self._db.run(unit, join=db)
        if (report := self.folder.report(import_id)) is not None:
            report.unlink(missing_ok=True)
        self._news.set()
        return started

    async def stop(self, import_id: uuid.UUID, *, actor: Actor, db: Db | None = None) -> Import:
        """Stop an import after the batch that is being written; what is written stays.

        Raises:
            NotFoundError: no import of that id is under way.
        """
        ended: dict[str, Any] = {"state": "stopped", "runner": None, "finished_at": func.now()}
        return await self._db.run(
            lambda db: self._switch(db, import_id, "import.stopped", actor, UNDER_WAY, **ended),
            join=db,
        )

    async def resume(self, import_id: uuid.UUID, *, actor: Actor, db: Db | None = None) -> Import:
        """Go on with an upload whose import was stopped.

        Raises:
            NotFoundError: no stopped import has that id.
        """
        resumed = await self._db.run(
            lambda db: self._switch(
                db, import_id, "import.resumed", actor, ("stopped",), finished_at=None
            ),
            join=db,
        )
        self._news.set()
        return resumed

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Import uploads in the background as long as the block runs."""
        task = asyncio.create_task(self._serve())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            self._news.clear()
            try:
                for import_id in await asyncio.to_thread(lambda: list(self.folder.uploads())):
                    await self._run_upload(import_id)
                await asyncio.to_thread(self.folder.tidy)
            except OSError as error:
                _log.error("the folder of uploads can't be read: %s", error.strerror)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._news.wait()

    async def _run_upload(self, import_id: uuid.UUID) -> None:
        """Run an import if it is nobody's; whatever goes wrong, the next one gets its turn."""
        try:
            if (run := await self._claim(import_id, idle=IDLE)) is None:
                return
            try:
                await run.go()
            finally:
                await asyncio.shield(self._let_go(run))
        except TakenOverError:
            return
        except DataError as error:
            _log.warning("import %s waits: %s", import_id, error.code)
        except Exception as error:  # noqa: BLE001  # told by its kind: a text may hold what was read
            _log.error("import %s failed: %s", import_id, type(error).__name__)
            await self._give_up(import_id)

    async def _claim(self, import_id: uuid.UUID, *, idle: timedelta) -> ImportRun | None:
        runner = uuid7()
        found = await self._db.run(
            lambda db: queries.claim(db, self._imports, import_id, runner, idle=idle)
        )
        if found is None:
            return None
        return ImportRun(parts=self._parts, folder=self.folder, found=found, runner=runner)

    async def _let_go(self, run: ImportRun) -> None:
        """Leave an import that has not ended to whoever looks next."""
        with contextlib.suppress(DataError):
            await self._db.run(
                lambda db: queries.change_import(
                    db,
                    self._imports,
                    run.found.id,
                    among=UNDER_WAY,
                    held_by=run.runner,
                    runner=None,
                )
            )

    async def _give_up(self, import_id: uuid.UUID) -> None:
        problem = {"code": "internal", "message": "something went wrong on our side", "line": 0}
        ended: dict[str, Any] = {"state": "failed", "problem": problem, "finished_at": func.now()}
        with contextlib.suppress(DataError, NotFoundError):
            await self._db.run(
                lambda db: self._switch(
                    db, import_id, "import.failed", OPERATOR, UNDER_WAY, **ended
                )
            )

    async def _create(
        self, db: Db, actor: Actor, import_id: uuid.UUID, name: str, **values: Any
    ) -> Import:
        label = label_of(name)
        found = await queries.create_import(
            db, self._imports, actor, id=import_id, label=label, **values
        )
        facts = {"import_id": str(found.id), "label": label} | values["options"]
        audit = self._parts.tables.audit
        await record(db, audit, "import.started", actor, NOBODY, after=facts)
        return found

    async def _switch(
        self,
        db: Db,
        import_id: uuid.UUID,
        action: str,
        actor: Actor,
        among: tuple[State, ...],
        **values: Any,
    ) -> Import:
        """Change the state by hand, and tell the audit."""
        changes: dict[str, Any] = {"state": "waiting"} | values
        found = _require(
            await queries.change_import(db, self._imports, import_id, among=among, **changes)
        )
        facts = {"import_id": str(import_id)}
        await record(db, self._parts.tables.audit, action, actor, NOBODY, after=facts)
        return found


def _secret(options: ImportOptions) -> str | None:
    config = options.hash_config
    return None if config is None else firebase_parameters(config.get_secret_value())


def _require(found: Import | None) -> Import:
    if found is None:
        raise NotFoundError
    return found
