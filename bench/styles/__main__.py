"""`make styles`: measure, print the table, write it as JSON and as a chart.

python -m bench.styles OUT    writes OUT.json and OUT.svg
"""

import asyncio
import json
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from styles.outer import STYLES

from bench.styles.branches import branches
from bench.styles.catching import KINDS, ask_everybody, verdict
from bench.styles.chart import chart
from bench.styles.copies import ROOT
from bench.styles.graph import graphs
from bench.styles.leaving import count_left, sizes_of_steps, told, try_steps, walk
from bench.styles.patches import try_contracts, try_patches
from bench.styles.rules import RULES
from bench.styles.sizes import sizes
from bench.styles.table import table, verdicts
from bench.styles.use import uses
from bench.styles.wire import latency, lost_races, statements
from denizen.cores import cores
from denizen.db.embedded import EmbeddedServer
from denizen.db.testing import Databases

COMMITTED = ROOT / "docs" / "decisions" / "0001-styles.json"
ROUNDS, CALLS = 15, 40


def main(out: Path) -> None:
    """Measure and tell."""
    known = json.loads(COMMITTED.read_text("utf-8")) if COMMITTED.exists() else None
    warnings.simplefilter("ignore")  # the sketches leave much behind
    with tempfile.TemporaryDirectory(prefix="denizen-styles-") as folder:
        embedded = EmbeddedServer.for_service(Path(folder), durable=False, max_connections=200)
        embedded.start()
        try:
            urls = (embedded.superuser_url, embedded.owner_url, embedded.owner_url)
            figures = measure(Databases(*urls))
        finally:
            embedded.stop()
    out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    out.with_suffix(".svg").write_text(chart(figures), "utf-8")
    print(table(figures))
    if known is not None:
        _compare(figures, known)


def measure(server: Databases) -> dict[str, Any]:
    """Give every figure, and the rules by which they were counted."""
    began = time.monotonic()
    _say("the contract")
    contract = try_contracts(server, jobs=cores())
    breaks = {one["name"]: one["breaks"] for one in contract}
    _say("patches applied and tested")
    try_patches(server, breaks, jobs=cores())
    _say("statements, latency, and the way from (c) to (e)")
    with tempfile.TemporaryDirectory(prefix="styles-leaving-") as folder:
        heard = _hear(server, breaks, Path(folder))
    _say("branches and imports")
    counted = {"branches": branches(), "imports": graphs(), "uses": uses()}
    _say("mistakes planted")
    found = ask_everybody(server, breaks, jobs=cores())
    return {
        "rules": RULES,
        "on": _machine(began),
        "contract": contract,
        **sizes(),
        **heard,
        **counted,
        "mistakes": {kind: [_judged(one) for one in found[kind]] for kind in KINDS},
    }


def _hear(server: Databases, breaks: dict[str, str], folder: Path) -> dict[str, Any]:
    """Give the statements and the latency of the styles, and of what the steps lead to."""
    names, copies = zip(*walk(folder), strict=True)
    sys.path.insert(0, str(folder))
    heard = asyncio.run(statements(server, [*STYLES, *names]))
    times = asyncio.run(latency(server, [*STYLES, names[-1]], rounds=ROUNDS, calls=CALLS))
    races = asyncio.run(lost_races(server, [*STYLES, *names]))
    seconds = try_steps(server, breaks, list(copies))
    left = {scenario: cells.pop(names[-1]) for scenario, cells in times.items()}
    steps = [
        size | told(took, name, heard, races)
        for size, took, name in zip(sizes_of_steps(), seconds, names, strict=True)
    ]
    return {
        "statements": {s: {n: cells[n] for n in STYLES} for s, cells in heard.items()},
        "lost_races": {n: races[n] for n in STYLES},
        "latency": times,
        "leaving": {"steps": steps, "files": count_left(), "latency": left},
    }


def _machine(began: float) -> dict[str, Any]:
    """Say where that was measured, and how long it took."""
    minutes = round((time.monotonic() - began) / 60)
    return {"cores": cores(), "python": platform.python_version(), "minutes": minutes}


def _judged(mistake: dict[str, Any]) -> dict[str, Any]:
    caught = mistake["caught"]
    return mistake | {"first": {letter: verdict(caught.get(letter)) for letter in "abcde"}}


def _compare(figures: dict[str, Any], committed: dict[str, Any]) -> None:
    """Say whether the verdicts are those of the documentation."""
    known, found = verdicts(committed), verdicts(figures)
    names = sorted(known.keys() | found.keys())
    different = [name for name in names if known.get(name) != found.get(name)]
    if different:
        print("Other than in the documentation:")
        for name in different:
            print(f"  {name}: {found.get(name)}, was {known.get(name)}")
        sys.exit(1)
    print("All verdicts are those of docs/decisions/0001-styles.json.")


def _say(what: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
