"""What the users say to the database before and after `slice.patch`, and how long both take.

Runs over the patched copy that `slice.py` makes, where both versions stand side by side.
"""

import asyncio
import contextlib
import importlib
import json
import sys
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from styles.contract.ground import cheap_hashes

from bench.styles.timing import Times, now, ratios, since
from denizen.app import Denizen
from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager
from denizen.migrations import migrate
from denizen.settings import Settings
from denizen.users.schemas import CreateUser, UpdateUser
from support import PASSWORD, StatementCounter

ROUNDS, CALLS = 15, 20
VERSIONS: Final = ("before", "after")
Life = dict[str, Callable[[], Awaitable[object]]]


async def measure(owner_url: str, app_url: str) -> dict[str, Any]:
    """Give the statements of each scenario in both versions, and the ratio of their times."""
    db = DBSessionManager(owner_url)
    db.init()
    await migrate(db, serving_role="denizen")
    await db.close_connections()
    denizen: Denizen[Any] = Denizen(settings=_settings(app_url))
    denizen.db.init()
    before: Any = importlib.import_module("denizen.users.scenarios_before")
    versions = {"before": before.UserScenarios(denizen.parts), "after": denizen.users}
    with cheap_hashes():
        heard = {name: await _heard(denizen, users) for name, users in versions.items()}
        took = await _timed(versions)
    denizen.hasher.close()
    await denizen.db.close_connections()
    return {"statements": heard, "latency": took}


def _settings(app_url: str) -> Settings:
    return Settings.load(database_url=SecretStr(app_url), workers=1, _env_file=None)


async def _heard(denizen: Denizen[Any], users: Any) -> dict[str, int]:
    """Count what each scenario says, BEGIN and COMMIT included, on a warm pool."""
    counter = StatementCounter(denizen.db)
    for name in ("warm", "heard"):
        found = {}
        for scenario, call in _life(users, f"{name}{uuid.uuid4().hex[:8]}").items():
            async with counter.listening() as heard:
                await call()
            found[scenario] = len(heard)
    return found


async def _timed(versions: dict[str, Any]) -> dict[str, Any]:
    """Let both versions live the same lives, by turns; give the ratio of each round's medians."""
    rounds: defaultdict[tuple[str, str], list[list[Times]]] = defaultdict(list)
    for number in range(-1, ROUNDS):
        times: defaultdict[tuple[str, str], list[Times]] = defaultdict(list)
        for call in range(CALLS):
            for version in VERSIONS if call % 2 else reversed(VERSIONS):
                life = _life(versions[version], f"{version}{number + 1}x{call}")
                for scenario, act in life.items():
                    began = now()
                    await act()
                    times[scenario, version].append(since(began))
        if number >= 0:  # the first one warms up
            for key, rows in times.items():
                rounds[key].append(rows)
    return {
        scenario: ratios(rounds[scenario, "after"], rounds[scenario, "before"])
        for scenario, version in rounds
        if version == "after"
    }


def _life(users: Any, name: str) -> Life:
    """Give one user's life: each act to be called once, in this order."""
    made: list[Any] = []

    async def create() -> None:
        payload = CreateUser(
            email=f"{name}@example.com", username=name, password=SecretStr(PASSWORD)
        )
        made.append(await users.create_user(payload))

    return {
        "create_user": create,
        "get_user": lambda: users.get_user(made[0].id),
        "update_user": lambda: users.update_user(
            made[0].id, UpdateUser(email=f"new.{name}@example.com")
        ),
        "delete_user": lambda: users.delete_user(made[0].id, at_once=True),
    }


def main() -> None:
    """Measure on an embedded server and print JSON."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        server = EmbeddedServer.for_service(Path(folder), durable=False)
        server.start()
        stack.callback(server.stop)
        figures = asyncio.run(measure(server.owner_url, server.app_url))
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
