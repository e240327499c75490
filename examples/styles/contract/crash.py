"""Killing the process after each statement of a scenario.

A helper process imports the style once and forks for every crash: the child runs the scenario and
kills itself, with SIGKILL, after its n-th statement; the parent looks at what is stored.
"""

import asyncio
import json
import os
import signal
import sys
import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import Engine

from styles.contract.ground import (
    Ground,
    State,
    connect,
    listening,
    open_ground,
    stored,
    until_no_others,
)

SCENARIOS: Final = ("create_user", "change_email", "delete_user")
MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Crash:
    """One kill: after which statement of which scenario, and what it left.

    Attributes:
        is_whole: all of the scenario is stored, or nothing.
        is_kept: it is stored if the scenario came to its end before the kill.
    """

    scenario: str
    after: int
    is_whole: bool
    is_kept: bool


async def crash_after_each_statement(ground: Ground) -> list[Crash]:
    """Give what every possible kill leaves."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "styles.contract.crash",
        ground.letter,
        ground.url,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    told, _ = await process.communicate()
    found = [Crash(**line) for line in map(json.loads, told.splitlines())]
    if process.returncode or {crash.scenario for crash in found} != set(SCENARIOS):
        raise RuntimeError("the crashing helper failed")
    return found


def main(letter: str, url: str) -> None:
    """Crash after each statement of each scenario, a line for each."""
    for scenario in SCENARIOS:
        user_id, before, instant = asyncio.run(_prepare(letter, url))
        for after in range(1, MOST):
            is_ended = _run_and_crash(letter, url, scenario, user_id, after)
            state = asyncio.run(_look(url, instant))
            if scenario != "delete_user":
                state = replace(state, audit=before.audit)  # what else is recorded is its own
            is_all = state == _expected(scenario, before, user_id)
            crash = Crash(scenario, after, is_all or state == before, is_all or not is_ended)
            sys.stdout.write(json.dumps(asdict(crash)) + "\n")
            if is_ended or not crash.is_whole:
                break
            if is_all:
                user_id, before, instant = asyncio.run(_prepare(letter, url))


async def _prepare(letter: str, url: str) -> tuple[uuid.UUID, State, str]:
    """Put a user there; give their id, what is stored, and when that was, by the server."""
    async with open_ground(letter, url) as ground:
        user_id = await ground.a_user()
        instant = await ground.watcher.fetchval("SELECT clock_timestamp()::text")
        return user_id, await ground.state(), instant


def _run_and_crash(letter: str, url: str, scenario: str, user_id: uuid.UUID, after: int) -> bool:
    """Run in a child; whether it came to its end before the kill."""
    child = os.fork()
    if child == 0:
        asyncio.run(_scenario(letter, url, scenario, user_id, after))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError("the scenario failed")
    return True


async def _scenario(letter: str, url: str, scenario: str, user_id: uuid.UUID, after: int) -> None:
    sent = 0

    def executed(*_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == after:
            os.kill(os.getpid(), signal.SIGKILL)

    async with open_ground(letter, url, is_empty=False) as ground:
        with listening(Engine, "after_cursor_execute", executed):
            if scenario == "create_user":
                answer = await ground.sign_up("new@example.com", "new")
            elif scenario == "change_email":
                answer = await ground.change_email(user_id, "new@example.com")
            else:
                answer = await ground.erase(user_id)
        # answered: what is not stored by now never will be
        os._exit(0 if answer.status_code < 300 else 1)


async def _look(url: str, instant: str) -> State:
    """Give what is stored, once the server has ended the work of who came after that instant."""
    watcher = await connect(url)
    await until_no_others(watcher, f"backend_start > '{instant}'")
    state = await stored(watcher)
    await watcher.close()
    return state


def _expected(scenario: str, before: State, user_id: uuid.UUID) -> State:
    """Give what is stored when all of the scenario is."""
    ((email, username),) = before.users
    users = {
        "create_user": {(email, username), ("new@example.com", "new")},
        "change_email": {("new@example.com", username)},
        "delete_user": set[tuple[str, str]](),
    }[scenario]
    if scenario == "delete_user":
        return State(frozenset(users), (), ((user_id, "user.erased"),))
    return State(frozenset(users), before.sessions, before.audit)


if __name__ == "__main__":
    main(*sys.argv[1:])
