"""The process that reads a file for an import: `python -m denizen.imports.reader`.

Parsing is what an import costs here, so it has a core of its own, away from the loop that serves
and from the database's driver. It takes one job on stdin and gives batch after batch on stdout, as
fast as they are taken; when its reader is gone, so is it. It never loads the framework.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import orjson

from denizen.imports.files import FileError, Layout, Record, records
from denizen.imports.recipes import Plan
from denizen.imports.rows import RefusedError, RowReader, RowRules

BATCH: Final = 5000  # records: some 2 MB, a quarter of a second


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that was not taken: its number and its line, both from 1, and why."""

    record: int
    line: int
    field: str
    code: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in their order: how many, the rows of those to be staged, and the others.

    Attributes:
        records: of the file, refused ones included.
        staged: how many rows there are.
        rows: in COPY's text form, the columns being `STAGED`.
    """

    records: int
    staged: int
    rows: bytes
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to read: a file, how, and how many of its records are done already."""

    path: str
    layout: Layout
    plan: Plan
    rules: RowRules
    skip: int = 0

    @classmethod
    def load(cls, text: bytes) -> "Job":
        """Read a job as orjson writes one."""
        given = orjson.loads(text)
        layout, rules = given["layout"], given["rules"]
        return cls(
            path=given["path"],
            layout=Layout(**layout | {"columns": tuple(layout["columns"])}),
            plan=Plan(**given["plan"]),
            rules=RowRules(**rules | {"now": datetime.fromisoformat(rules["now"])}),
            skip=given["skip"],
        )


def batches(job: Job) -> Iterator[Batch]:
    """Give the file's records from the first that is not done on, `BATCH` at a time.

    Raises:
        FileError: the file can't be read to its end.
    """
    reader = RowReader(job.plan, len(job.layout.columns), job.rules)
    numbered = enumerate(records(Path(job.path), job.layout), 1)
    remaining = islice(numbered, job.skip, None)
    while found := list(islice(remaining, BATCH)):
        yield _batch(reader, found)


def _batch(reader: RowReader, found: list[tuple[int, Record]]) -> Batch:
    reader.begin_batch()
    rows: list[str] = []
    refusals: list[Refusal] = []
    for number, (line, cells) in found:
        try:
            rows.append(f"{number}\t{line}\t{reader.read(cells)}\n")
        except RefusedError as refused:
            refusals.append(Refusal(number, line, refused.field, refused.code))
    return Batch(len(found), len(rows), "".join(rows).encode(), tuple(refusals))


def receive(stream: IO[bytes]) -> Batch | None:
    """Take a batch from the process; None after the last.

    Raises:
        FileError: the file can't be read to its end.
        RuntimeError: the process came to a bad end.
    """
    head = stream.readline()
    if not head:
        raise RuntimeError("the process that reads the file is gone")
    told = orjson.loads(head)
    if "problem" in told:
        raise FileError(*told["problem"])
    if "defect" in told:
        raise RuntimeError(f"the file was not read: {told['defect']}")
    if "end" in told:
        return None
    refusals = tuple(Refusal(*one) for one in told["refusals"])
    rows = stream.read(told["bytes"])
    return Batch(told["records"], told["staged"], rows, refusals)


def main() -> None:
    """Do the job on stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides
    job = Job.load(sys.stdin.buffer.read())
    try:
        for batch in batches(job):
            refusals = [(r.record, r.line, r.field, r.code) for r in batch.refusals]
            head = {"records": batch.records, "staged": batch.staged, "refusals": refusals}
            _send(head | {"bytes": len(batch.rows)}, batch.rows)
        _send({"end": True})
    except FileError as error:
        _send({"problem": (error.code, error.message, error.line)})
    except BrokenPipeError:
        os._exit(0)  # nobody is there any more
    except Exception as error:  # noqa: BLE001  # told by its kind: a text may hold what was read
        _send({"defect": type(error).__name__})


def _send(head: dict[str, Any], rows: bytes = b"") -> None:
    sys.stdout.buffer.write(orjson.dumps(head) + b"\n")
    sys.stdout.buffer.write(rows)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
