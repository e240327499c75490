"""Use cases of exports: users as CSV or JSON Lines, streamed, in flat memory."""

import asyncio
import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, Generic, TypeVar

from sqlalchemy import text

from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.bulk import Sink, copy_out
from denizen.db.model import table_of
from denizen.errors import OverloadedError
from denizen.exports.queries import Format, estimate_users, export_statement
from denizen.parts import Parts
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter

U = TypeVar("U", bound=UserMixin)
Watch = Callable[[int, int], None]
EVERYBODY: Final = UserFilter()
# Each holds a connection and a moment of the database for as long as its reader takes.
AT_ONCE: Final = 2
_RETRY: Final = 30  # seconds
_MARK: Final = b"\xef\xbb\xbf"  # by which spreadsheets know UTF-8


class ExportScenarios(Generic[U]):
    """Exports of one users table."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db
        self._running = 0

    async def export_file(
        self,
        path: Path,
        form: Format,
        *,
        with_hashes: bool = False,
        actor: Actor = OPERATOR,
        watch: Watch = lambda _done, _about: None,
    ) -> int:
        """Write all users into a file that its owner alone can read; give how many they are.

        The file is there when it is whole: until then an older one of that name stays.

        Args:
            path: where to.
            form: CSV or JSON Lines.
            with_hashes: password hashes, too.
            actor: who asks.
            watch: told how many are written, and about how many there are.

        Raises:
            OverloadedError: as `export`.
            DataError: the database is out of reach.
            OSError: the file can't be written.
        """
        users = table_of(self._parts.user_model)
        about = await self._db.run(
            lambda db: estimate_users(db, users), read_only=True, may_be_stale=True
        )
        lines = 0
        with _whole(path) as stream:

            async def write(data: bytes) -> None:
                nonlocal lines
                await asyncio.to_thread(stream.write, data)
                lines += data.count(b"\n")  # no value has one inside
                watch(lines, about)

            await self.export(write, form, with_hashes=with_hashes, actor=actor)
        return lines - 1 if form == "csv" else lines

    async def export(
        self,
        write: Sink,
        form: Format,
        *,
        wanted: UserFilter = EVERYBODY,
        with_hashes: bool = False,
        actor: Actor = OPERATOR,
    ) -> None:
        """Give users to `write` as they stand at one moment: CSV with a header, or JSON Lines.

        From a replica, if there is one, it is a moment a while ago.

        What a spreadsheet would compute has a `'` before it in CSV; an import takes it off. Hashes
        are for an operator's own file, never for an answer. The audit tells of the export even if
        it is broken off.

        Raises:
            OverloadedError: too many are under way here.
            DataError: the database is out of reach.
        """
        with self._turn():
            await self._export(write, form, wanted, with_hashes=with_hashes, actor=actor)

    def require_room(self) -> None:
        """Refuse where as many exports are under way in this process as may be.

        Raises:
            OverloadedError: as many are.
        """
        if self._running >= AT_ONCE:
            raise OverloadedError(_RETRY)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        self.require_room()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _export(
        self, write: Sink, form: Format, wanted: UserFilter, *, with_hashes: bool, actor: Actor
    ) -> None:
        facts = {"format": form, "with_hashes": with_hashes}
        audit = self._parts.tables.audit
        await self._db.run(
            lambda db: record(db, audit, "users.exported", actor, NOBODY, after=facts)
        )
        model = self._parts.user_model
        statement = export_statement(model, wanted, form, with_hashes=with_hashes)
        if form == "csv":
            await write(_MARK)
        reader = await self._db.reader()
        async with reader.make_connection() as connection:
            await connection.execute(text("SET LOCAL timezone = 'UTC'"))
            await copy_out(connection, statement, write, form="csv" if form == "csv" else "lines")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name when the block has ended well, and is gone otherwise."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
