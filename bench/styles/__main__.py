"""`make styles`: measure, print the table, write it as JSON and as a chart.

python -m bench.styles OUT    writes OUT.json and OUT.svg
"""

import asyncio
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from bench.seed import cores
from bench.styles.branches import branches
from bench.styles.catching import KINDS, ask_everybody, verdict
from bench.styles.chart import chart
from bench.styles.copies import ROOT
from bench.styles.graph import graphs
from bench.styles.patches import try_contracts, try_patches
from bench.styles.rules import RULES
from bench.styles.sizes import sizes
from bench.styles.table import table, verdicts
from bench.styles.wire import latency, statements
from denizen.db.embedded import EmbeddedServer
from denizen.db.testing import Databases

COMMITTED = ROOT / "docs" / "decisions" / "0001-styles.json"
ROUNDS, CALLS = 15, 40


def main(out: Path) -> None:
    """Measure and tell."""
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
    _compare(figures)


def measure(server: Databases) -> dict[str, Any]:
    """Give every figure, and the rules by which they were counted."""
    _say("the contract")
    contract = try_contracts(server, jobs=cores())
    breaks = {one["name"]: one["breaks"] for one in contract}
    _say("patches applied and tested")
    try_patches(server, breaks, jobs=cores())
    _say("statements and latency")
    heard = asyncio.run(statements(server))
    took = asyncio.run(latency(server, rounds=ROUNDS, calls=CALLS))
    _say("branches and imports")
    counted = {"branches": branches(), "imports": graphs()}
    _say("mistakes planted")
    found = ask_everybody(server, breaks, jobs=cores())
    return {
        "rules": RULES,
        "contract": contract,
        **sizes(),
        "statements": heard,
        "latency": took,
        **counted,
        "mistakes": {kind: [_judged(one) for one in found[kind]] for kind in KINDS},
    }


def _judged(mistake: dict[str, Any]) -> dict[str, Any]:
    caught = mistake["caught"]
    return mistake | {"first": {letter: verdict(caught.get(letter)) for letter in "abcde"}}


def _compare(figures: dict[str, Any]) -> None:
    """Say whether the verdicts are those of the documentation."""
    if not COMMITTED.exists():
        return
    known = verdicts(json.loads(COMMITTED.read_text("utf-8")))
    found = verdicts(figures)
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
