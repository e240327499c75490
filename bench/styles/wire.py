"""What a call says to the database, and how long it takes."""

import contextlib
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Engine, Pool
from styles.contract.ground import (
    PASSWORD,
    Ground,
    answer_after_a_lost_race,
    listening,
    open_ground,
)
from styles.contract.run import make_database
from styles.outer import NewEmail, NewUser

from bench.styles.timing import Times, now, ratios, since
from denizen.db.testing import Databases

SCENARIOS: Final = ("create_user", "change_email", "delete_user")
BASE: Final = "c"


async def statements(server: Databases, styles: Iterable[str]) -> dict[str, Any]:
    """Give for each scenario and style the statements and transactions of one call."""
    found: dict[str, Any] = {scenario: {} for scenario in SCENARIOS}
    for style in styles:
        databases = await make_database(server, style)
        for scenario in SCENARIOS:
            async with open_ground(style, databases.owner_url) as ground:
                call = _call(ground, scenario, await ground.a_user(), "warm")
                found[scenario][style] = await _heard(call)
    return found


async def lost_races(server: Databases, styles: Iterable[str]) -> dict[str, int]:
    """Give what a change of address is answered whose transaction had to be rerun once."""
    found = {}
    for style in styles:
        databases = await make_database(server, style)
        async with open_ground(style, databases.owner_url) as ground:
            found[style] = await answer_after_a_lost_race(ground)
    return found


async def latency(
    server: Databases, styles: Sequence[str], *, rounds: int, calls: int
) -> dict[str, Any]:
    """Give for each scenario and style the ratio to (c), with its spread over the rounds."""
    times: defaultdict[tuple[str, str], list[list[Times]]] = defaultdict(list)
    async with contextlib.AsyncExitStack() as stack:
        grounds = {}
        for style in styles:
            databases = await make_database(server, style)
            quiet = open_ground(style, databases.owner_url)
            grounds[style] = await stack.enter_async_context(quiet)
        stack.enter_context(listening(Engine, "engine_connect", _print_nothing))
        for number in range(-1, rounds):  # the first one warms up
            for key, rows in (await _round(grounds, f"r{number}", calls)).items():
                if number >= 0:
                    times[key].append(rows)
    return {
        scenario: {style: ratios(times[scenario, style], times[scenario, BASE]) for style in styles}
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


async def _round(
    grounds: dict[str, Ground], word: str, calls: int
) -> dict[tuple[str, str], list[Times]]:
    """Sign up, move and erase that many users, the styles taking turns."""
    times: defaultdict[tuple[str, str], list[Times]] = defaultdict(list)
    letters = list(grounds)
    for number in range(calls):
        letters.append(letters.pop(0))
        for letter in letters:
            for scenario, took in (await _life(grounds[letter], f"{word}n{number}")).items():
                times[scenario, letter].append(took)
    return times


async def _life(ground: Ground, name: str) -> dict[str, Times]:
    """Sign one user up, move and erase them; give how long each took."""
    new = NewUser(email=f"{name}@example.com", username=name, password=PASSWORD)
    began = now()
    user = await ground.users.create_user(new)
    times = {"create_user": since(began)}
    for scenario in SCENARIOS[1:]:
        call = _call(ground, scenario, user.id, f"{name}m")
        began = now()
        await call()
        times[scenario] = since(began)
    return times


def _print_nothing(connection: Any) -> None:
    connection.engine.echo = False
