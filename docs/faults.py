"""Writes `docs/faults.md`: what happens when something fails, from what `make faults` measured.

python docs/faults.py > docs/faults.md
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "docs" / "faults.json"
HEAD: Final = """\
# When something fails

A service with one worker and a durable PostgreSQL stands under load: clients make users under an
`Idempotency-Key`, ask again whatever they were not told, and one of them reads all the time. Then a
fault happens. In the end the rows, mails and audit events that are there are held against what the
clients were told ([`tests/faults`](../tests/faults)).

* **acts** were told to be done; **lost** are those of them that are not there, **doubled** those
  that are there twice, or were told not to be done and are there.
* **unknown** are answers that never came, or said that nobody knows. Asking again under the same
  key settled every one of them.
* **gap** is the longest time, in seconds, in which nobody was told that an act was done. Clients
  ask one thing after the other. Whose request was under way when the service was killed asks again
  under a key that is free only when its lease of 20 s ends
  ([decision 0011](decisions/0011-a-repeated-request-is-one-unit.md)); after several kills all six
  may wait so at once, though the service has long been up (F1).
* **p99** is what a read took, in milliseconds, answered or refused: before the fault, while it
  lasted, and afterwards.
* **leaked** are connections and transactions that were still open ten seconds later.

The same tests run in short form in `make test`. A process that is killed or stopped never tests the
disk's own cache: for the loss of power there is what PostgreSQL promises with `fsync=on`, and
`denizen doctor` looks whether it is on.

Made by `make faults`; a test compares.
"""
CONTROLS: Final = """
## Broken on purpose

A checker that finds nothing proves nothing before it has found something. Here the same load runs
on services that are broken on purpose, and the same checkers find it.

| | broken | acts | lost | doubled | found |
|---|---|---|---|---|---|"""


def page(measured: Iterable[dict[str, Any]]) -> str:
    """Give the whole page."""
    rows = sorted(measured, key=lambda one: (_number(one["row"]), one["fault"]))
    return "\n".join([HEAD, *_rows(rows), CONTROLS, *_controls(rows)]) + "\n"


def _rows(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield "| | fault | expected | acts | lost | doubled | unknown | gap | p99 | leaked | holds |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for one in rows:
        if not one["is_control"]:
            counts = [one[name] for name in ("acts", "lost", "doubled", "unknown")]
            has_load = any(value is not None for value in one["p99"])
            gap = f"{one['gap']:.1f}" if has_load else "–"
            p99 = " / ".join("–" if v is None else f"{v:.0f}" for v in one["p99"])
            told = [one["row"], one["fault"], one["expected"], *counts, gap]
            told += [
                p99 if has_load else "–",
                one["leaked"],
                "yes" if one["is_green"] else "**NO**",
            ]
            yield f"| {' | '.join(map(str, told))} |"


def _controls(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for one in rows:
        if one["is_control"]:
            told = [one[name] for name in ("row", "fault", "acts", "lost", "doubled", "found")]
            yield f"| {' | '.join(map(str, told))} |"


def _number(row: str) -> tuple[int, str]:
    found = re.search(r"\d+", row)
    return (int(found[0]) if found else 1000), row


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(FIGURES.read_text("utf-8"))))
