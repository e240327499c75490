"""Services that are broken on purpose: the checkers find it, or a green run would prove nothing."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from denizen.db.testing import superuser
from faults import checkers
from faults.load import ask
from faults.nemeses import postmaster, signal_server, until_new
from faults.proxy import Faults
from faults.recorder import Recorder
from faults.report import Measured, control, publish
from faults.stage import Stage, look, measured_by

UNIQUE = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS made FROM pg_index
WHERE indrelid = 'users'::regclass AND indisunique AND NOT indisprimary
"""


@pytest.fixture
async def forgetful(stage: Stage) -> AsyncIterator[Stage]:
    """Have PostgreSQL acknowledge what it has not written yet, for ten seconds."""
    async with superuser(stage.server.superuser_url) as operator:
        await operator.execute("ALTER SYSTEM SET synchronous_commit = off")
        await operator.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        await operator.execute("SELECT pg_reload_conf()")
    yield stage
    async with superuser(stage.server.superuser_url) as operator:
        await operator.execute("ALTER SYSTEM RESET synchronous_commit")
        await operator.execute("ALTER SYSTEM RESET wal_writer_delay")
        await operator.execute("SELECT pg_reload_conf()")


async def test_commit_that_does_not_wait_for_the_disk_is_found_to_lose(forgetful: Stage) -> None:
    """`synchronous_commit=off` and SIGKILL: what was told is not there."""
    async with forgetful.loaded() as load:
        await load.until(40)
        old = postmaster(forgetful.server)
        signal_server(forgetful.server, signal.SIGKILL)
        await until_new(forgetful.server, old)
        await load.until(5)

    sets = (await look(forgetful.server, load)).sets
    assert sets.lost
    fault = "synchronous_commit=off, PostgreSQL killed"
    told = measured_by(load, sets, row="F5", fault=fault, expected="lost")
    control(told, f"{len(sets.lost)} lost")


async def test_requests_without_a_key_are_found_to_happen_twice(stage: Stage) -> None:
    """The reply to COMMIT dropped, and asked again as another request: two users for one act."""
    async with stage.loaded(is_keyed=False) as load:
        stage.proxy.faults = faults = Faults(cuts=8, is_forwarded=True, every=2)
        async with asyncio.timeout(60):
            while faults.cuts:  # noqa: ASYNC110  # set from another thread
                await asyncio.sleep(0.01)
        await load.until(5)

    sets = (await look(stage.server, load)).sets
    assert sets.doubled
    assert not sets.lost
    fault = "no key, reply to COMMIT dropped"
    told = measured_by(load, sets, row="F11", fault=fault, expected="doubled")
    control(told, f"{len(sets.doubled)} doubled")


async def test_one_address_in_many_spellings_is_one_user(stage: Stage) -> None:
    """Whoever comes first; everybody else is told that it is taken."""
    emails, told = await _race(stage)

    assert checkers.shared(emails, str.casefold) == set()
    assert len(emails) == told
    fault, expected = "one address in four spellings at once", "one user"
    publish(Measured(row="races", fault=fault, expected=expected, acts=told))


async def test_unique_indexes_that_are_gone_are_found(stage: Stage) -> None:
    """Without them nobody sees the others' rows in time: one address belongs to several."""
    async with superuser(stage.server.superuser_url) as operator:
        indexes = await operator.fetch(UNIQUE)
        assert len(indexes) == 2
        for index in indexes:
            await operator.execute(f"DROP INDEX {index['name']}")
        try:
            emails, told = await _race(stage)
        finally:
            await operator.execute("DELETE FROM users WHERE username LIKE 'Race%'")
            for index in indexes:
                await operator.execute(index["made"])

    twice = checkers.shared(emails, str.casefold)
    assert twice
    control(
        Measured(
            row="races",
            fault="unique indexes dropped, spellings race",
            expected="doubled",
            acts=told,
            doubled=len(twice),
        ),
        f"{len(twice)} addresses shared",
    )


async def _race(stage: Stage) -> tuple[list[str], int]:
    """Have four clients each make the same users in their own spelling; give who is there."""
    mark = uuid.uuid4().hex[:8]
    spellings = (str.lower, str.upper, str.title, str.swapcase)
    headers = {"Authorization": f"Bearer {stage.token}"}
    with Recorder(stage.folder / f"race-{mark}.jsonl") as recorder:
        async with httpx.AsyncClient(base_url=stage.url, headers=headers, timeout=30) as client:
            for number in range(10):
                requests = [
                    client.build_request(
                        "POST",
                        "/v1/users",
                        json={
                            "email": spell(f"Race{mark}x{number}@example.com"),
                            "username": f"Race{mark}x{number}y{spelling}",
                        },
                    )
                    for spelling, spell in enumerate(spellings)
                ]
                await asyncio.gather(*(ask(client, r, recorder, "race", "") for r in requests))
        told = sum(one.outcome == "ok" for one in recorder.tries())
    async with superuser(stage.server.superuser_url) as watcher:
        query = "SELECT email FROM users WHERE username LIKE $1"
        return [row["email"] for row in await watcher.fetch(query, f"Race{mark}%")], told
