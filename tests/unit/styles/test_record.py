"""Decision record 0001: its figures are those that were measured, its sentences true of them."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from bench.styles import slice as own_slice
from bench.styles.branches import count_branches
from bench.styles.copies import mistakes
from bench.styles.graph import graphs
from bench.styles.leaving import count_left, sizes_of_steps
from bench.styles.rules import RULES
from bench.styles.sizes import sizes
from bench.styles.table import verdicts
from styles.contract.run import list_properties

from denizen.users.model import UserModel

DOCS = Path(__file__).parents[3] / "docs"
DECISION = runpy.run_path(str(DOCS / "decision.py"))
FIGURES: Any = json.loads(DECISION["FIGURES"].read_text("utf-8"))
SLICE: Any = json.loads(DECISION["SLICE"].read_text("utf-8"))
PAGES = sorted(DECISION["PAGES"].values())
GOOD = "cde"
ABOUT_VERBS = {6, 10, 11, 12, 15, 17, 22}


def test_pages_are_written_from_the_figures() -> None:
    """Both pages are what `docs/decision.py` writes."""
    for path, text in DECISION["pages"]().items():
        assert path.read_text("utf-8") == text, f"python docs/decision.py: {path.name}"


@pytest.mark.parametrize("name", PAGES)
def test_no_figure_is_written_by_hand(name: str) -> None:
    """A template holds no digit but in code, links, names of figures, and a defect's number."""
    text = (DOCS / "templates" / name).read_text("utf-8")
    text = re.sub(r"^# 0001", "", text)
    for known in (
        r"`[^`]*`",  # code
        r"\[[^\]]*\]\([^)]*\)",  # links
        r"\$\{?[a-z_.0-9]+\}?",  # names of figures
        r"\((?:defect |дефект\s+)?[\d, ]+\)",  # defects by their number
        r"(?:defects|дефекты) \d+ (?:and|и) \d+",
        r"has 1 inside|leaves 1 out",  # (c) itself, by which the others are divided
    ):
        text = re.sub(known, "", text)

    assert re.findall(r"\w*\d\w*", text) == []


def test_both_languages_tell_the_same_figures() -> None:
    """Each template names what the other names."""
    found = [
        set(re.findall(r"\$\{?([a-z_.0-9]+)", (DOCS / "templates" / name).read_text("utf-8")))
        for name in PAGES
    ]

    assert {name.rstrip(".") for name in found[0]} == {name.rstrip(".") for name in found[1]}


def test_figures_are_of_this_code() -> None:
    """What is counted without running anything is what `make styles` counted."""
    assert FIGURES["rules"] == RULES
    assert {part: FIGURES[part] for part in sizes()} == sizes()
    assert FIGURES["imports"] == graphs()
    assert {n: one["branches"] for n, one in FIGURES["branches"].items()} == {
        n: count_branches(n) for n in FIGURES["branches"]
    }
    steps = [
        {name: step[name] for name in ("step", "files", "added", "deleted")}
        for step in FIGURES["leaving"]["steps"]
    ]
    assert (steps, FIGURES["leaving"]["files"]) == (sizes_of_steps(), count_left())
    assert (SLICE["base"], SLICE["files"]) == (own_slice.BASE, own_slice.sizes())


def test_figures_are_of_this_contract_and_of_these_mistakes() -> None:
    """Every property and every planted mistake has its cells, and no other."""
    told = {(p["name"], p["row"], p["breaks"], "".join(p["found"])) for p in FIGURES["contract"]}
    assert told == {(p.name, p.row, p.breaks, p.applies) for p in list_properties()}
    for kind, planted in FIGURES["mistakes"].items():
        names = [one["name"].replace(" ", "_") for one in planted]
        assert names == [patch.stem for patch in mistakes(kind)]
        assert len(names) == 10


def test_what_breaks_is_what_is_known_to_break() -> None:
    """(a) and (b) break where the list says so, the others nowhere; that is what was seen."""
    for one in FIGURES["contract"]:
        for letter, cell in one["found"].items():
            assert cell["holds"] is (letter not in one["breaks"]), (one["name"], letter)


def test_good_styles_do_not_differ_where_the_record_says_so() -> None:
    """Same statements, no latency whose spread leaves 1 out, transaction mistakes caught alike."""
    for cells in FIGURES["statements"].values():
        assert cells["c"] == cells["d"] == cells["e"]
    latency = FIGURES["latency"].values()
    spreads = [took for cells in latency for letter in "de" for took in cells[letter].values()]
    spreads += [took for cell in FIGURES["leaving"]["latency"].values() for took in cell.values()]
    spreads += [took for cell in SLICE["latency"].values() for took in cell.values()]
    for took in spreads:
        assert took["low"] <= 1 <= took["high"]
    for one in FIGURES["mistakes"]["transactions"]:
        assert one["first"]["c"] == one["first"]["d"] == one["first"]["e"], one["name"]


def test_good_styles_differ_where_the_record_says_so() -> None:
    """Lines, changes, fakes, one typo, imports, and the race that only a function outlives."""
    given = DECISION["names"](FIGURES, SLICE)

    def value(name: str) -> dict[str, int]:
        return {letter: int(given[f"{letter}.{name}"]) for letter in GOOD}

    assert min(value("lines"), key=value("lines").__getitem__) == "c"
    assert value("new_scenario")["c"] == value("new_scenario")["e"] < value("new_scenario")["d"]
    assert max(value("audit_row"), key=value("audit_row").__getitem__) == "c"
    assert max(value("tenant"), key=value("tenant").__getitem__) == "e"
    assert value("fakes") == {"c": 0, "d": 0, "e": value("branches")["e"]}
    assert value("stubs") == value("branches")
    assert value("typos_types")["c"] + 1 == value("typos_types")["d"] == value("typos_types")["e"]
    assert value("typos_nothing") == value("transactions_nothing") == dict.fromkeys(GOOD, 0)
    assert value("race") == {"c": 200, "d": 200, "e": 503}
    reached = [FIGURES["imports"][n] for n in GOOD]
    assert [one["session"] for one in reached] == [True, False, False]
    assert not any(one["engine"] for one in reached)


def test_defects_of_the_second_sketch_are_as_told() -> None:
    """Most have nothing to do with its verbs; (a) is faster in everything."""
    broken = {p["row"] for p in FIGURES["contract"] if "b" in p["breaks"]}
    assert broken >= ABOUT_VERBS
    assert len(ABOUT_VERBS) < len(broken - ABOUT_VERBS)
    for cells in FIGURES["latency"].values():
        assert cells["a"]["cpu"]["high"] < 1


def test_way_out_costs_what_is_told() -> None:
    """Statements stay as they are; the second step is where the rerun is lost."""
    before = {scenario: cells["c"] for scenario, cells in FIGURES["statements"].items()}
    steps = FIGURES["leaving"]["steps"]
    assert [step["statements"] for step in steps] == [before] * len(steps)
    assert [step["lost_race"] for step in steps] == [200, 503, 503, 503]
    assert SLICE["statements"]["before"] == SLICE["statements"]["after"]
    assert SLICE["branches"]["fakes"] == SLICE["branches"]["branches"]


def test_verbs_that_nobody_calls_are_as_told() -> None:
    """`create`, `update` and `get_all` are called by no code of ours; they are there for others."""
    uses = FIGURES["uses"]
    assert [uses[name] for name in ("create", "update", "get_all")] == [0, 0, 0]
    assert all(uses[name] for name in ("get_by_id", "get_by_email", "lock", "delete"))
    assert all(hasattr(UserModel, name) for name in uses if not name.endswith("_row"))


def test_verdicts_hold_no_time() -> None:
    """What must come out the same in every run is free of what can't."""
    assert not re.search(r"seconds|'ms'|minutes", str(verdicts(FIGURES)))
