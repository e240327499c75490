"""Writes `docs/speed.md`: how fast it is, from what `make bench OUT=docs/speed` measured.

PYTHONPATH=. python docs/speed.py > docs/speed.md
"""

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.goals import goals, spread
from bench.programs import HAND

FIGURES: Final = Path(__file__).parent / "speed.json"
HEAD: Final = """\
# How fast it is

What a team would pick instead, measured in one run on one machine of {cores} cores, which service,
PostgreSQL and load shared: so read the ratios. Each program is one server process on a PostgreSQL
with `fsync` and {users:,} users; they take turns, and a ratio is of one turn (the median, and the
lowest and highest of all turns). The hand-written program is an ASGI callable over a pool of
asyncpg, without framework, limits, events or a second look at anything
([`bench/peers/handwritten.py`](../bench/peers/handwritten.py)). The method stands in
[`bench/__main__.py`](../bench/__main__.py); `make bench` gives your machine's figures, and
[how much does it take](how-to/size.md) what follows from them.

![The chart of both tables](speed.svg)
"""
READS: Final = """
## Who am I

Sixteen connections; every request authenticates an opaque token in the database, so that a session
that was ended is dead at the next one.

| | reads a second | of the hand-written program |
|---|---|---|"""
STORM: Final = """
## Reading while others sign in

Four connections read, sixteen sign in without pause. A hash costs what OWASP asks for, some 23 ms
of a core, so the cores bound the sign-ins: what a program decides is what happens to everybody
else. Each cell: calm or alone → in the storm.

| | reads' p99 | reads a second | sign-ins a second |
|---|---|---|---|"""
GOALS: Final = """
## Goals

| measured | wanted |
|---|---|"""


def page(figures: dict[str, Any]) -> str:
    """Give the whole page."""
    parts = [HEAD.format(**figures), READS.lstrip("\n"), *_reads(figures), STORM, *_storm(figures)]
    parts += [GOALS, *(f"| {said} | {goal} |" for said, goal in goals(figures))]
    return "\n".join([*parts, "", WHY])


def _reads(figures: dict[str, Any]) -> Iterator[str]:
    yardstick = figures["who_am_i"][HAND]
    for name, rates in figures["who_am_i"].items():
        yield f"| {name} | {statistics.median(rates):,.0f} | {spread(rates, yardstick)} |"


def _storm(figures: dict[str, Any]) -> Iterator[str]:
    for name, rounds in figures["storm"].items():
        found = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        pairs = (
            ("calm_p99_ms", "storm_p99_ms", " ms"),
            ("calm_reads_s", "storm_reads_s", ""),
            ("alone_s", "storm_sign_ins_s", ""),
        )
        cells = [f"{found[a]:,.0f} → {found[b]:,.0f}{unit}" for a, b, unit in pairs]
        yield f"| {' | '.join([name, *cells])} |"


WHY: Final = """\
**Sign-ins alone** are bounded by more than the hash. What a core does beside it for each, with
`python -m bench.workers`: some 5 ms in the service (the route 0.6, two reads 0.3, the transaction
of session, network, event and limits 1.9, and all of it half as much again, for every hash walks
through 19 MiB and empties the caches), 1 ms in PostgreSQL, and the load itself. So even the
shortest program, which hashes, reads one row and writes one, comes no further than the table tells.
Tried: statements made once and not for each sign-in, and reads by the driver (both are in); more
workers, nicer threads (no more sign-ins); memory that is kept, or of huge pages (no faster);
libsodium in place of the reference's code (9 % of a hash, but hashes of one lane alone).

**Export** is the command from its start to its exit. Some 0.7 of its seconds are Python's, which
reads SQLAlchemy and pydantic before it does anything; the console's export does not pay them. The
rest is one `COPY` of a SELECT that writes instants as RFC 3339 and keeps spreadsheets from
computing.
"""


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(FIGURES.read_text("utf-8"))))
