"""F9, F10: PostgreSQL hangs, or what lies between does: connections stand, and nothing answers."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import pytest

from faults.load import PATIENCE, Load
from faults.nemeses import frozen
from faults.proxy import Faults
from faults.report import full
from faults.stage import Stage

HEALS = 5.0  # seconds
EXPECTED = f"503 within {PATIENCE:.0f} s; healed within {HEALS:.0f} s"
Fault = Callable[[Stage], contextlib.AbstractContextManager[None]]


def _stopped(stage: Stage) -> contextlib.AbstractContextManager[None]:
    return frozen(stage.server)


@contextlib.contextmanager
def _half_open(stage: Stage) -> Iterator[None]:
    """Hold up everything; afterwards what lay between has forgotten the connections."""
    stage.proxy.faults = Faults(is_frozen=True)
    yield
    stage.proxy.reset()
    stage.proxy.heal()


@contextlib.contextmanager
def _deaf(stage: Stage) -> Iterator[None]:
    """Lose whatever the server says; it does what it is told."""
    stage.proxy.faults = Faults(drops=frozenset({"to_client"}))
    yield
    stage.proxy.heal()


@pytest.mark.parametrize(
    ("row", "fault", "name"),
    [
        ("F9", _stopped, "every process of PostgreSQL stopped"),
        ("F10", _half_open, "no byte moves either way, then reset"),
        ("F10", _deaf, "what the server says is lost"),
    ],
)
async def test_f9_f10_server_that_hangs_is_told_in_time_and_found_again(
    stage: Stage, row: str, fault: Fault, name: str
) -> None:
    """Every request is answered within the deadline, and soon after all is as before."""
    seconds = full(20, 5)
    async with stage.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        with fault(stage):
            await asyncio.sleep(seconds)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await stage.measure(load, row, f"{name}, {seconds} s", EXPECTED)
    assert measured.gap < seconds + HEALS
    _hold(load)


def _hold(load: Load) -> None:
    """Every try was answered in time, and one succeeded soon after the fault."""
    tries, marks = load.recorder.tries(), load.recorder.marks
    assert max(one.ended - one.began for one in tries) < PATIENCE
    assert "503 database_unavailable" in {one.told for one in tries}
    for kind in ("create", "read"):
        healed = min(
            one.ended
            for one in tries
            if one.kind == kind and one.outcome == "ok" and one.ended > marks["healed"]
        )
        assert healed - marks["healed"] < HEALS


async def test_wire_that_is_reset_all_the_time_is_made_anew(stage: Stage) -> None:
    """F15: RST on every connection, five times a second: made anew at once."""
    async with stage.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        for _ in range(full(100, 10)):
            await asyncio.to_thread(stage.proxy.reset)
            await asyncio.sleep(0.2)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await stage.measure(load, "F15", "every connection reset, 5 a second", "made anew")
    assert measured.gap < HEALS


async def test_slow_wire_is_slow_and_nothing_else(stage: Stage) -> None:
    """F13: 20 ms for every piece in either direction: answered later, and no pool collapses."""
    async with stage.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        stage.proxy.faults = Faults(delay=0.02)
        await load.until(full(100, 15), patience=120)
        stage.proxy.heal()
        load.recorder.mark("healed")
        await load.until(20)

    await stage.measure(load, "F13", "40 ms more for every round trip", "slower, nothing else")
    assert {one.outcome for one in load.recorder.tries()} == {"ok"}
