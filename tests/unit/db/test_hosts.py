"""Which host a connection is opened to: the primary is looked for, replicas take turns."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from denizen.db.engine import DatabaseSettings, _Connector, _Spreading, parse_url
from denizen.db.errors import UnavailableError

URLS = ("postgresql://me@a,b/d", "postgresql://me@c:5433/d")
Reached = list[tuple[str, int]]


class _Opened(str):  # noqa: SLOT000  # it is told more, as a connection is
    """Stands in for a connection: its host."""


@pytest.fixture
def reached() -> Reached:
    """Collect the places that were tried."""
    return []


def _open(
    kind: type[_Connector], reached: Reached, away: Callable[[str], bool], **more: Any
) -> _Connector:
    connector = kind([parse_url(url) for url in URLS], DatabaseSettings(url=URLS[0], **more))

    async def connect(_target: object, host: str, port: int) -> Any:
        reached.append((host, port))
        if away(host):
            raise OSError
        return _Opened(host)

    connector._connect = connect  # type: ignore[method-assign,assignment]
    return connector


async def test_last_good_host_is_asked_first(reached: Reached) -> None:
    """Of several the next is asked only when one is away, and stays the first afterwards."""
    away = {"a"}
    connector = _open(_Connector, reached, away.__contains__)

    assert [await connector.connect() for _ in range(2)] == ["b", "b"]
    away = {"b"}
    connector._connect = _open(_Connector, reached, away.__contains__)._connect  # type: ignore[method-assign]
    assert await connector.connect() == "c"
    assert [host for host, _ in reached] == ["a", "b", "b", "b", "c"]
    assert reached[-1] == ("c", 5433)


async def test_host_that_was_waited_for_in_vain_is_asked_last(reached: Reached) -> None:
    """A wire that had to be cut leads to one that may be replaced and not know of it."""
    connector = _open(_Connector, reached, lambda _: False)
    first: Any = await connector.connect()
    assert first.doubt is not None

    first.doubt()

    assert [await connector.connect() for _ in range(2)] == ["b", "b"]
    first.doubt()  # again, of the same: nobody doubts the new one
    assert await connector.connect() == "b"


async def test_replicas_take_turns_and_who_is_away_is_passed_over(reached: Reached) -> None:
    """Each process begins elsewhere; all places of all URLs have their turn."""
    connector = _open(_Spreading, reached, lambda host: host == "b")
    found: list[Any] = [await connector.connect() for _ in range(6)]

    assert set(found) == {"a", "c"}
    assert reached[0] == [("a", 5432), ("b", 5432), ("c", 5433)][os.getpid() % 3]
    assert found.count("a") >= 2


@pytest.mark.parametrize("kind", [_Connector, _Spreading])
async def test_nobody_there_is_unavailable(kind: type[_Connector], reached: Reached) -> None:
    """Each was tried once."""
    connector = _open(kind, reached, lambda _: True)

    with pytest.raises(UnavailableError) as caught:
        await connector.connect()
    assert caught.value.connection_lost
    assert sorted(reached) == [("a", 5432), ("b", 5432), ("c", 5433)]


async def test_replicas_that_hang_cost_the_time_of_one(reached: Reached) -> None:
    """However many there are, the primary is asked after one time-out."""
    connector = _open(_Spreading, reached, bool, connect_timeout=timedelta(seconds=0.1))

    async def hang(*_: object) -> Any:
        await asyncio.sleep(60)

    connector._connect = hang  # type: ignore[method-assign,assignment]
    async with asyncio.timeout(5):
        with pytest.raises(UnavailableError):
            await connector.connect()
