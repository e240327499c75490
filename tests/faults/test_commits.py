"""F11, F12: the wire is cut at COMMIT, after it and before it was carried out."""

import asyncio

from faults.load import Load
from faults.proxy import Faults
from faults.report import full
from faults.stage import Stage


async def test_f11_reply_to_commit_is_dropped_and_the_repeated_request_happens_once(
    stage: Stage,
) -> None:
    """What was carried out without anybody being told is told when it is asked again."""
    async with stage.loaded() as load:
        cuts = full(200, 20)
        await _cut(stage, load, cuts, is_forwarded=True)

    measured = await stage.measure(
        load, "F11", f"reply to COMMIT dropped, {cuts} times", "one effect under one key"
    )
    assert measured.unknown


async def test_f12_commit_is_cut_before_it_is_carried_out_and_repeated(stage: Stage) -> None:
    """What was not carried out happens when it is asked again, once."""
    async with stage.loaded() as load:
        cuts = full(50, 10)
        await _cut(stage, load, cuts, is_forwarded=False)

    await stage.measure(
        load, "F12", f"wire cut before COMMIT, {cuts} times", "one effect under one key"
    )


async def _cut(stage: Stage, load: Load, cuts: int, *, is_forwarded: bool) -> None:
    await load.until(20)
    load.recorder.mark("fault")
    stage.proxy.faults = faults = Faults(cuts=cuts, is_forwarded=is_forwarded)
    async with asyncio.timeout(300):
        while faults.cuts:  # noqa: ASYNC110  # set from another thread
            await asyncio.sleep(0.01)
    load.recorder.mark("healed")
    await load.until(20)
