"""The table that `make styles` prints, and the verdicts that must be the same in every run."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from styles.outer import STYLES

from bench.styles.rules import RULES

Figures = dict[str, Any]
CATCHERS: Final = ("types", "lint", "test", "nothing", "inherent")
_MARKS: Final = {True: "holds", False: "BREAKS", None: "."}
_WIDTH: Final = 60


def table(figures: Figures) -> str:
    """Give the whole table, each part with its counting rule under it."""
    head = _line("", {letter: f"({letter})" for letter in STYLES})
    parts = (
        ("contract", _contract(figures)),
        ("size", _sizes(figures)),
        ("changes", _changes(figures)),
        ("statements", _statements(figures)),
        ("lost_races", _lost_races(figures)),
        ("latency", _latency(figures)),
        ("branches", _branches(figures)),
        ("imports", _imports(figures)),
        ("mistakes", _mistakes(figures)),
        ("leaving", _leaving(figures)),
        ("uses", _uses(figures)),
    )
    return "\n".join(
        line for name, lines in parts for line in (f"\n{head}", *lines, f"  {name}: {RULES[name]}")
    )


def verdicts(figures: Figures) -> dict[str, Any]:
    """Give everything that has to come out the same in every run: all but times and texts."""
    found: dict[str, Any] = {
        f"{one['name']} ({letter})": cell["holds"]
        for one in figures["contract"]
        for letter, cell in one["found"].items()
    }
    for kind, planted in figures["mistakes"].items():
        for one in planted:
            found |= {f"{kind}: {one['name']} ({n})": who for n, who in one["first"].items()}
    for part in ("packages", "changes", "statements", "lost_races", "branches", "imports"):
        found[part] = figures[part]
    for step in figures["leaving"]["steps"]:
        found[f"leaving: {step['step']}"] = {k: v for k, v in step.items() if k != "seconds"}
    return found


def kept(figures: Figures, letter: str) -> tuple[int, int]:
    """Give how many properties a style keeps, of how many it is asked for."""
    cells = [one["found"][letter]["holds"] for one in figures["contract"] if letter in one["found"]]
    return sum(cells), len(cells)


def caught(figures: Figures, kind: str, letter: str) -> Counter[str]:
    """Count the mistakes of a kind by who catches them first in a style."""
    return Counter(one["first"][letter] for one in figures["mistakes"][kind])


def _line(name: str, cells: Mapping[str, object]) -> str:
    columns = "".join(f"{cells.get(letter, '')!s:>16}" for letter in STYLES)
    return f"{name:<{_WIDTH}}{columns}"


def _contract(figures: Figures) -> Iterator[str]:
    for one in figures["contract"]:
        row = f"{one['row']:>2} " if one["row"] else "   "
        held = {letter: one["found"].get(letter, {}).get("holds") for letter in STYLES}
        name = row + one["name"].replace("_", " ")
        yield _line(name, {letter: _MARKS[holds] for letter, holds in held.items()})
    yield _line("properties kept", {n: "{} of {}".format(*kept(figures, n)) for n in STYLES})


def _sizes(figures: Figures) -> Iterator[str]:
    for what in ("modules", "lines"):
        yield _line(what, {n: one[what] for n, one in figures["packages"].items()})


def _changes(figures: Figures) -> Iterator[str]:
    for change, cells in figures["changes"].items():
        told = {n: f"{one['lines']} in {one['files']}" for n, one in cells.items()}
        yield _line(f"lines in files: {change.replace('_', ' ')}", told)


def _statements(figures: Figures) -> Iterator[str]:
    for scenario, cells in figures["statements"].items():
        told = {n: f"{one['statements']} in {one['transactions']}" for n, one in cells.items()}
        yield _line(f"statements, transactions: {scenario}", told)


def _lost_races(figures: Figures) -> Iterator[str]:
    yield _line("answered after a lost race", figures["lost_races"])


def _latency(figures: Figures) -> Iterator[str]:
    for scenario, cells in figures["latency"].items():
        for kind in ("wall", "cpu"):
            told = {n: _ratio(one[kind]) for n, one in cells.items()}
            yield _line(f"{kind}, of (c)'s: {scenario}", told)


def _ratio(took: dict[str, float]) -> str:
    return "{ratio:.2f} ({low:.2f}-{high:.2f})".format(**took)


def _branches(figures: Figures) -> Iterator[str]:
    cells = figures["branches"]
    for kind in ("fakes", "stubs"):
        told = {n: f"{one[kind]} of {one['branches']}" for n, one in cells.items()}
        yield _line(f"branches reached without a database, by {kind}", told)
        yield _line(
            f"lines for that, {kind} included", {n: c[f"{kind}_lines"] for n, c in cells.items()}
        )


def _imports(figures: Figures) -> Iterator[str]:
    for what, words in (
        ("fan_in", "modules that import the model"),
        ("cycles", "modules in a cycle"),
        ("session", "model reaches a session"),
        ("engine", "model reaches an engine"),
    ):
        yield _line(words, {n: _word(one[what]) for n, one in figures["imports"].items()})


def _word(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _mistakes(figures: Figures) -> Iterator[str]:
    for kind, planted in figures["mistakes"].items():
        for one in planted:
            yield _line(f"{kind}: {one['name']}", one["first"])
        for who in CATCHERS:
            counts = {letter: caught(figures, kind, letter)[who] for letter in STYLES}
            yield _line(f"{kind} caught first by: {who}", counts)


def _leaving(figures: Figures) -> Iterator[str]:
    for one in figures["leaving"]["steps"]:
        lines = one["added"] + one["deleted"]
        yield _line(f"from (c) to (e): {one['step']}", {"c": f"{lines} in {one['files']}"})
        heard = one["statements"].items()
        told = " + ".join(f"{c['statements']} in {c['transactions']}" for _, c in heard)
        yield _line("  statements, transactions after it", {"c": told})
        yield _line("  answered after a lost race", {"c": one["lost_race"]})
        yield _line("  seconds to see that nothing broke", {"c": one["seconds"]})
    for scenario, took in figures["leaving"]["latency"].items():
        for kind in ("wall", "cpu"):
            yield _line(f"{kind} after all steps, of (c)'s: {scenario}", {"c": _ratio(took[kind])})


def _uses(figures: Figures) -> Iterator[str]:
    for name, count in figures["uses"].items():
        yield _line(f"calls in denizen: {name}", {"c": count})
