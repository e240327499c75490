"""What a statement must be like, so that the same program runs on one box and on a cluster.

The layout is that of `deploy/citus.sql`. Every statement that the suite has SQLAlchemy send is
looked at, and every read compiled for the driver; text that a test writes itself is not.
"""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

from sqlalchemy import Engine, TextClause, event

from denizen.db.direct import CompiledStatement

LAYOUT: Final = (Path(__file__).parents[1] / "deploy" / "citus.sql").read_text(encoding="utf-8")


def _laid_out(function: str) -> frozenset[str]:
    return frozenset(re.findall(rf"^SELECT {function}\('(\w+)'", LAYOUT, re.MULTILINE))


PER_USER: Final = _laid_out("create_distributed_table")
EVERYWHERE: Final = _laid_out("create_reference_table")
# Statements over everybody's rows, and why there is no other way. All of them are reads that wait
# for nobody, or clean up.
OF_EVERYBODY: Final = {
    r"DELETE FROM (sessions|known_networks|tokens) WHERE \(\1\.user_id, [^)]*\) IN": "cleaning up",
    r"DELETE FROM sessions WHERE sessions\.user_id IN \(SELECT import_rows\.": (
        "whom a batch of an import disables"
    ),
    r"SELECT audit_events\.user_id, .* ORDER BY audit_events\.id (DESC )?LIMIT": (
        "the audit list of administrators"
    ),
    r"SELECT width_bucket\(anon_1\.id": "the console's counts by day",
    r"SELECT count\(\*\) AS sign_ins": "the doctor's look for a proxy that nobody named",
    r"UPDATE audit_events SET address=\S+ user_agent=\S+ WHERE audit_events\.actor_id = ": (
        "blanking from where somebody erased acted on others; in a host's database"
    ),
    r"DELETE FROM audit_events WHERE \(audit_events\.user_id, ": "cleaning up a host's database",
}
_LOCKING: Final = re.compile(r"\bFOR (NO KEY )?(UPDATE|SHARE|KEY SHARE)\b")
_NAMED: Final = re.compile(rf"(?:FROM|JOIN|INTO|UPDATE|USING|,) ({'|'.join(sorted(PER_USER))})\b")


@functools.cache
def problem_of(sql: str) -> str | None:
    """Tell what keeps a statement from being one shard's; None when nothing does."""
    said = " ".join(sql.split())
    if any(re.match(pattern, said) for pattern in OF_EVERYBODY):
        return None
    for table in set(_NAMED.findall(said)):
        if said.startswith(f"INSERT INTO {table} "):
            columns = said.partition("(")[2].partition(")")[0].split(", ")
            if "user_id" not in columns:
                return f"puts a row of {table} nowhere: {said}"
        elif not re.search(rf"\b{table}\.user_id (=|IN) \(?\$\d", said):
            locks = "locks" if _LOCKING.search(said) else "reads or writes"
            return f"{locks} everybody's {table}: {said}"
    return None


class Watch:
    """Hears statements and keeps those that no single shard could answer."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.heard: set[str] = set()

    def look_at(self, sql: str) -> None:
        """Judge one statement."""
        self.heard.add(sql)
        if (problem := problem_of(sql)) is not None:
            self.problems.append(problem)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear all that any engine is given inside the block."""
        compile_read = CompiledStatement.__init__

        def compiled(read: CompiledStatement, *given: Any) -> None:
            compile_read(read, *given)
            self.look_at(read.sql)

        event.listen(Engine, "before_cursor_execute", self._hear)
        try:
            with mock.patch.object(CompiledStatement, "__init__", compiled):
                yield
        finally:
            event.remove(Engine, "before_cursor_execute", self._hear)

    def _hear(self, _connection: Any, _cursor: Any, sql: str, *told: Any) -> None:
        compiled = getattr(told[1], "compiled", None)
        if compiled is not None and not isinstance(compiled.statement, TextClause):
            self.look_at(sql)
