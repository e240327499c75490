"""F1 to F3: the service dies under load, and is told to go."""

import asyncio
import contextlib
import os
import random
import signal
import time

from denizen.cli.workers import GRACE
from denizen.db.testing import superuser
from denizen.idempotency.model import LEASE
from faults.load import GIVE_UP
from faults.nemeses import children
from faults.owned import Own
from faults.report import IN_FULL, IS_FULL, full
from faults.stage import Stage
from support import until_a_lock_is_waited_for

IN_FLIGHT = 20
# seconds: all clients may wait for leases at once, and then for the service to be up
LONGEST_GAP = round(LEASE.total_seconds()) + 5
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"


async def test_f1_service_that_is_killed_loses_nothing_that_was_told(
    stage: Stage, own: Own
) -> None:
    """SIGKILL to the whole tree, or to the worker alone, at whatever moment, and started again.

    What it had begun under a key stays claimed for a while; in a short run nobody asks so long.
    """
    kills = full(20, 2)
    service = await own.start()
    give_up = full(int(GIVE_UP), 2)
    async with stage.loaded(url=own.url, give_up=give_up) as load:
        await load.until(20)
        load.recorder.mark("fault")
        for number in range(kills):
            await asyncio.sleep(random.uniform(0, full(2000, 300) / 1000))
            workers = children(service.process.pid)
            for pid in workers if number % 2 else [service.process.pid, *workers]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not number % 2:
                await asyncio.to_thread(service.process.wait)
                service = await own.start()
            await load.until(10)
        load.recorder.mark("healed")
        await load.until(20)

    await own.end()
    measured = await stage.measure(
        load,
        "F1",
        f"the service killed {kills} times",
        f"nothing told is lost; gap < {LONGEST_GAP} s",
        is_settled=IS_FULL,
    )
    assert measured.gap < LONGEST_GAP


async def test_f2_service_that_is_told_to_go_finishes_what_it_has_begun(
    stage: Stage, own: Own
) -> None:
    """SIGTERM while twenty requests wait for a lock: all are answered, then it ends, with 0."""
    service = await own.start()
    async with (
        superuser(stage.server.superuser_url) as operator,
        stage.loaded(url=own.url, clients=IN_FLIGHT, pace=0.01) as load,
    ):
        await load.until(20)
        load.recorder.mark("fault")
        async with operator.transaction():
            await operator.execute("LOCK TABLE users IN EXCLUSIVE MODE")
            await until_a_lock_is_waited_for(operator)
            service.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(1)
        code = await asyncio.to_thread(service.process.wait, GRACE)
        await own.start()
        load.recorder.mark("healed")
        await load.until(20)

    await own.end()
    measured = await stage.measure(
        load, "F2", "SIGTERM with 20 in flight", "they are answered; exit 0 within 20 s"
    )
    assert code == 0
    # a client may send on a connection in the moment in which it is closed
    assert measured.unknown <= IN_FLIGHT // 4


@IN_FULL
async def test_f3_request_that_never_ends_is_ended_with_the_service(stage: Stage, own: Own) -> None:
    """SIGTERM while a body drips in, which may take hours: cut off when the time for it is over.

    Nothing else lasts so long: whatever waits for PostgreSQL has its deadline long before.
    """
    service = await own.start()
    async with (
        superuser(stage.server.superuser_url) as operator,
        stage.loaded(url=own.url) as load,
    ):
        dripping = asyncio.create_task(_upload_forever(stage, own))
        await load.until(20)
        load.recorder.mark("fault")
        service.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = await asyncio.to_thread(service.process.wait, 2 * GRACE)
        took = time.monotonic() - began
        left = await operator.fetchval(CONNECTED, own.name)
        said = await dripping
        await own.start()
        load.recorder.mark("healed")
        await load.until(20)
        imports = await operator.fetchval("SELECT count(*) FROM imports")

    await own.end()
    expected = f"cut off at {GRACE} s; exit 0; no connection, no import"
    await stage.measure(load, "F3", "SIGTERM with a body that never ends", expected)
    assert (code, left, imports, said) == (0, 0, 0, b"")
    assert GRACE - 1 < took < GRACE + 5


async def _upload_forever(stage: Stage, own: Own) -> bytes:
    """Send one octet of a file after the other under a key; give what was answered in the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", own.port)
    writer.write(
        f"POST /v1/imports HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {stage.token}\r\n"
        "Idempotency-Key: forever\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        "Content-Length: 1000000\r\n\r\n--b\r\n"
        'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'.encode()
    )
    answer = asyncio.create_task(reader.read())
    try:
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.5)
        return await answer
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()
