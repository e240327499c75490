"""The styles of `examples/styles` keep the contract, or break it where they are known to."""

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from styles.contract.ground import answer_after_a_lost_race, open_ground
from styles.contract.properties import Property
from styles.contract.run import list_properties, make_database, try_property
from styles.outer import STYLES

from denizen.db.testing import Databases

FIGURES = Path(__file__).parents[3] / "docs" / "decisions" / "0001-styles.json"
PROPERTIES = list_properties()
CASES = [
    pytest.param(wanted, letter, id=f"{letter}-{wanted.name}")
    for wanted in PROPERTIES
    for letter in wanted.applies
]


@pytest.fixture(scope="module")
def grounds(server: Databases) -> dict[str, Databases]:
    """Give a database with its tables to each style."""

    async def make() -> dict[str, Databases]:
        return {letter: await make_database(server, letter) for letter in STYLES}

    return asyncio.run(make())


@pytest.fixture
def swept(letter: str) -> Iterator[None]:
    """Find what a sketch leaves open here, where it is no surprise, and not in a later test."""
    gc.freeze()  # what was there before is not looked at
    yield
    if letter in "ab":
        gc.collect()
    gc.unfreeze()


@pytest.mark.usefixtures("swept")
@pytest.mark.filterwarnings("ignore")  # the sketches leave much behind
@pytest.mark.parametrize(("wanted", "letter"), CASES)
async def test_style_holds_what_it_should_and_nothing_less(
    wanted: Property, letter: str, grounds: dict[str, Databases]
) -> None:
    """The sketches fail where the table of their defects says so, and the others nowhere."""
    found = await try_property(wanted, letter, grounds[letter])

    assert not found.is_odd, found.seen
    assert found.holds is (letter not in wanted.breaks), found.seen


@pytest.mark.usefixtures("swept")
@pytest.mark.filterwarnings("ignore")  # the sketches leave much behind
@pytest.mark.parametrize("letter", STYLES)
async def test_lost_race_is_answered_as_measured(
    letter: str, grounds: dict[str, Databases]
) -> None:
    """Where the unit is a function it is rerun and the caller hears nothing of it."""
    known = json.loads(FIGURES.read_text("utf-8"))["lost_races"]

    async with open_ground(letter, grounds[letter].owner_url) as ground:
        assert await answer_after_a_lost_race(ground) == known[letter]


def test_only_the_sketches_are_known_to_break_anything() -> None:
    """(c), (d) and (e) keep everything, and every row of the table is asked about."""
    assert {letter for wanted in PROPERTIES for letter in wanted.breaks} == {"a", "b"}
    assert {wanted.row for wanted in PROPERTIES} == {None, *range(1, 25)}


def test_what_breaks_names_a_row() -> None:
    """A property that is broken somewhere is a defect of the table; the others are common."""
    assert all((wanted.row is None) == (wanted.breaks == "") for wanted in PROPERTIES)
