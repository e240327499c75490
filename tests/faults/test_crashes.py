"""F5, F6: PostgreSQL dies under load, or is told to go, and comes back."""

import asyncio
import os
import random
import signal

import pytest

from faults.nemeses import postmaster, until_new
from faults.report import full
from faults.stage import Stage

HEALED = "nothing told is lost; goes on by itself"


async def test_f5_postgres_that_is_killed_loses_nothing_that_was_told(stage: Stage) -> None:
    """SIGKILL, again and again, at whatever moment: the service goes on where it was."""
    kills = full(10, 2)
    await _end_postgres(stage, "F5", [signal.SIGKILL] * kills, f"PostgreSQL killed {kills} times")


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "fast"), (signal.SIGQUIT, "immediate")]
)
async def test_f6_postgres_that_is_started_anew_is_found_again(
    stage: Stage, number: signal.Signals, name: str
) -> None:
    """A shutdown that ends every session, or one that leaves recovery to the next start."""
    await _end_postgres(stage, "F6", [number], f"PostgreSQL restarted, {name}")


async def _end_postgres(stage: Stage, row: str, signals: list[signal.Signals], fault: str) -> None:
    async with stage.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        for number in signals:
            await asyncio.sleep(random.uniform(0, 0.3))
            old = postmaster(stage.server)
            os.kill(old, number)
            await until_new(stage.server, old)
            await load.until(10)
        load.recorder.mark("healed")
        await load.until(20)
    measured = await stage.measure(load, row, fault, HEALED)
    assert measured.gap < 10
