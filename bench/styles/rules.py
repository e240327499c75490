"""How everything is counted: printed beside the numbers, and enough to do it again by hand."""

from typing import Final

RULES: Final[dict[str, str]] = {
    "contract": (
        "Each property of `examples/styles/contract` is tried on an empty database of the style's "
        "own, on a real PostgreSQL. It holds or it does not; there is no half."
    ),
    "size": (
        "Modules are the style's `*.py` files without `__init__.py`, which wires. Lines are those "
        "on which code stands: no blank lines, no comments, no docstrings."
    ),
    "changes": (
        "`git apply --numstat examples/styles/changes/CHANGE/STYLE.patch`: files, and lines added "
        "plus lines deleted, whatever stands on them. Each patch is applied to a copy, which must "
        "keep what it kept and show what the change is for, and, from (c) on, pass mypy and ruff. "
        "`outer.patch` is the same for all and not counted."
    ),
    "statements": (
        "What the wire carries during one successful call on a warm pool: statements as SQLAlchemy "
        "sends them, and how many BEGINs the driver hears. COMMIT and ROLLBACK are not counted."
    ),
    "lost_races": (
        "What a change of address is answered over HTTP when its transaction loses one race: the "
        "first UPDATE is refused with SQLSTATE 40001, the next would pass. 200: the unit was rerun."
    ),
    "latency": (
        "One caller, local PostgreSQL without fsync, a hash that costs nothing, nothing printed. "
        "The styles take turns at every call; of each round and style the median call counts, as "
        "a ratio to (c)'s of the same round. Told: the median ratio of all rounds, the lowest and "
        "the highest, by the clock (wall) and of the calling process alone (CPU), which a busy "
        "machine disturbs less."
    ),
    "branches": (
        "Decision branches are the two ways of every `if`, `for` and `while`, and each `except`, "
        "in the style's modules without the session manager. Reached without a database: those "
        "that `tests/unit/styles` enters with stand-ins that are handed in, read no SQL and count "
        "no calls. By fakes: stand-ins that hold state, so that a second call sees the first. By "
        "stubs: one that finds the same row wherever it looks, or none. Lines are those of the "
        "tests and of the stand-ins that they name."
    ),
    "imports": (
        "Over the style's own modules and denizen's. Fan-in: how many modules of the style import "
        "its model. Cycles: modules of the style that import themselves through others. The model "
        "reaches a session when some chain of imports leads from it to `sqlalchemy.ext.asyncio`, "
        "an engine when one leads to `create_async_engine` (in (c) to (e) `denizen.db.engine`). "
        "The packages' `__init__`, front doors that import everything, are not followed."
    ),
    "mistakes": (
        "`examples/styles/mistakes`: each patch plants one mistake in every style that can make "
        "it. Types: mypy (strict) or pyright says more than before. Lint: ruff (every rule the "
        "project has) says more than before, or `tests/house_rules.py`, which is asked where the "
        "style as it is breaks none of it. Test: the contract shows a "
        "difference. Counted is the first that catches it, in this order."
    ),
    "leaving": (
        "`examples/styles/leaving`: four patches, one on top of the other, that lead from (c) to "
        "(e); counted like the changes. After each the contract holds, as far as it asks the outer "
        "interface, and mypy and ruff say nothing new: that took the seconds told. Statements as "
        "above; latency as above, after the last step, in the same rounds as the others."
    ),
    "uses": (
        "Calls in `src/denizen` outside `db/` whose first argument is called `db` or `unit`, by "
        "the name of what is called: the verbs of `UserModel`, and the two functions that do the "
        "writing of `create` and `update` on a row that is at hand."
    ),
}
