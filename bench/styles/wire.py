"""What a call says to the database, and how long it takes."""

import contextlib
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import Engine, Pool
from styles.contract.ground import PASSWORD, Ground, listening, open_ground
from styles.contract.run import make_database
from styles.outer import STYLES, NewEmail, NewUser

from denizen.db.testing import Databases

SCENARIOS: Final = ("create_user", "change_email", "delete_user")
BASE: Final = "c"
Times = tuple[float, float]  # by the clock, and of this process alone


async def statements(server: Databases) -> dict[str, Any]:
    """Give for each scenario and style the statements and transactions of one call."""
    found: dict[str, Any] = {scenario: {} for scenario in SCENARIOS}
    for letter in STYLES:
        databases = await make_database(server, letter)
        for scenario in SCENARIOS:
            async with open_ground(letter, databases.owner_url) as ground:
                call = _call(ground, scenario, await ground.a_user(), "warm")
                found[scenario][letter] = await _heard(call)
    return found


async def latency(server: Databases, *, rounds: int, calls: int) -> dict[str, Any]:
    """Give for each scenario and style the ratio to (c), with its spread over the rounds."""
    medians: defaultdict[tuple[str, str], list[Times]] = defaultdict(list)
    async with contextlib.AsyncExitStack() as stack:
        grounds = {}
        for letter in STYLES:
            databases = await make_database(server, letter)
            quiet = open_ground(letter, databases.owner_url)
            grounds[letter] = await stack.enter_async_context(quiet)
        stack.enter_context(listening(Engine, "engine_connect", _print_nothing))
        for number in range(-1, rounds):  # the first one warms up
            for key, took in (await _round(grounds, f"r{number}", calls)).items():
                if number >= 0:
                    medians[key].append(took)
    return {
        scenario: {
            letter: _ratios(medians[scenario, letter], medians[scenario, BASE]) for letter in STYLES
        }
        for scenario in SCENARIOS
    }


async def _heard(call: Callable[[], Awaitable[object]]) -> dict[str, int]:
    """Make a call and count what goes over the wire."""
    sent: list[str] = []
    begun: list[str] = []

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    def hear(record: Any) -> None:
        if record.query.startswith("BEGIN"):
            begun.append(record.query)

    def out(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(hear)

    def back(connection: Any, *_: Any) -> None:
        connection.driver_connection.remove_query_logger(hear)

    with (
        listening(Engine, "before_cursor_execute", executed),
        listening(Pool, "checkout", out),
        listening(Pool, "checkin", back),
    ):
        await call()
    return {"statements": len(sent), "transactions": len(begun)}


def _call(
    ground: Ground, scenario: str, user_id: uuid.UUID, word: str
) -> Callable[[], Awaitable[object]]:
    new = NewUser(email=f"{word}@example.com", username=word, password=PASSWORD)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "create_user": lambda: ground.users.create_user(new),
        "change_email": lambda: ground.users.change_email(user_id, NewEmail(email=new.email)),
        "delete_user": lambda: ground.users.delete_user(user_id),
    }
    return calls[scenario]


async def _round(grounds: dict[str, Ground], word: str, calls: int) -> dict[tuple[str, str], Times]:
    """Sign up, move and erase that many users, the styles taking turns; give each median."""
    times: defaultdict[tuple[str, str], list[Times]] = defaultdict(list)
    letters = list(grounds)
    for number in range(calls):
        letters.append(letters.pop(0))
        for letter in letters:
            for scenario, took in (await _life(grounds[letter], f"{word}n{number}")).items():
                times[scenario, letter].append(took)
    return {
        key: (statistics.median(wall), statistics.median(cpu))
        for key, rows in times.items()
        for wall, cpu in [zip(*rows, strict=True)]
    }


async def _life(ground: Ground, name: str) -> dict[str, Times]:
    """Sign one user up, move and erase them; give how long each took."""
    new = NewUser(email=f"{name}@example.com", username=name, password=PASSWORD)
    began = _now()
    user = await ground.users.create_user(new)
    times = {"create_user": _since(began)}
    for scenario in SCENARIOS[1:]:
        call = _call(ground, scenario, user.id, f"{name}m")
        began = _now()
        await call()
        times[scenario] = _since(began)
    return times


def _now() -> Times:
    return time.perf_counter(), time.process_time()


def _since(began: Times) -> Times:
    wall, cpu = _now()
    return wall - began[0], cpu - began[1]


def _ratios(rows: list[Times], base: list[Times]) -> dict[str, Any]:
    return {
        kind: _ratio([row[n] for row in rows], [row[n] for row in base])
        for n, kind in enumerate(("wall", "cpu"))
    }


def _ratio(rows: list[float], base: list[float]) -> dict[str, float]:
    ratios = [one / other for one, other in zip(rows, base, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "ms": round(1000 * statistics.median(rows), 2),
    }


def _print_nothing(connection: Any) -> None:
    connection.engine.echo = False
