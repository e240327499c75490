"""F7, F8: the backends of PostgreSQL are ended, or what they do is cancelled, all the time."""

import asyncio
from collections import Counter

from faults.load import Load
from faults.nemeses import every
from faults.report import full
from faults.stage import Stage

ONE = "FROM pg_stat_activity WHERE usename = 'denizen' ORDER BY random() LIMIT 1"
ACTIVE = "FROM pg_stat_activity WHERE usename = 'denizen' AND state = 'active'"


async def test_f7_backends_that_are_ended_are_replaced_unseen(stage: Stage) -> None:
    """One at random every 100 ms: reads never fail, and a write is made anew or told again."""
    load = await _disturbed(stage, f"SELECT pg_terminate_backend(pid) {ONE}")

    measured = await stage.measure(
        load, "F7", "a backend ended every 100 ms", "no read fails; nothing lost or doubled"
    )
    assert measured.gap < 5
    assert _failed(load, "read") == {}


async def test_f8_statements_that_are_cancelled_leave_no_transaction(stage: Stage) -> None:
    """All that run, every 100 ms: 503 and asked again, and nobody's transaction stays open."""
    load = await _disturbed(stage, f"SELECT pg_cancel_backend(pid) {ACTIVE}")

    await stage.measure(
        load, "F8", "what runs cancelled every 100 ms", "503, asked again; no transaction left"
    )
    told = _failed(load, "create").keys() | _failed(load, "read").keys()
    assert told <= {"503 database_unavailable", "503 outcome_unknown"}


async def _disturbed(stage: Stage, query: str) -> Load:
    async with stage.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        async with every(0.1, stage.server, query):
            await asyncio.sleep(full(20, 3))
        load.recorder.mark("healed")
        await load.until(20)
    return load


def _failed(load: Load, kind: str) -> Counter[str]:
    tries = load.recorder.tries()
    return Counter(one.told for one in tries if one.kind == kind and one.outcome != "ok")
