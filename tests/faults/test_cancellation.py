"""F36: a task is cancelled at each of its awaits, one after the other."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import pytest
from sqlalchemy import select

from denizen.app import Denizen
from denizen.audit.model import OPERATOR
from denizen.audit.queries import record
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from denizen.users.schemas import CreateUser
from faults.report import IN_FULL, Measured, control, publish
from faults.stage import SETTLING
from support import PASSWORD, Api, a_user

NEW_PASSWORD: Final = "another long passphrase 78"
_OPEN: Final = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
AND state <> 'idle'
"""
_CREATED: Final = """
SELECT (SELECT count(*) FROM users WHERE username = $1),
(SELECT count(*) FROM audit_events a JOIN users u ON u.id = a.user_id
 WHERE u.username = $1 AND a.action = 'user.created'),
(SELECT count(*) FROM outbox o JOIN users u ON u.id = o.user_id WHERE u.username = $1)
"""
_SIGNED_IN: Final = """
SELECT (SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.username = $1),
(SELECT count(*) FROM audit_events a JOIN users u ON u.id = a.user_id
 WHERE u.username = $1 AND a.action = 'session.started')
"""
_CHANGED: Final = """
SELECT (SELECT count(*) FROM users WHERE username = $1 AND version > 1),
(SELECT count(*) FROM audit_events a JOIN users u ON u.id = a.user_id
 WHERE u.username = $1 AND a.action = 'password.changed'),
(SELECT count(*) FROM outbox o JOIN users u ON u.id = o.user_id
 WHERE u.username = $1 AND o.kind = 'password_changed')
"""
# as soon as it waits: what it asked for may be carried out; or once the answer is there, unread
Moment = Literal["waiting", "answered"]
_Work = Coroutine[Any, Any, object]


class _Stepped:
    """A coroutine whose task is cancelled when it waits for the nth time."""

    def __init__(self, coroutine: _Work, nth: int, moment: Moment) -> None:
        self._coroutine = coroutine
        self._nth = nth
        self._moment = moment
        self.waits = 0

    def __await__(self) -> Generator[Any, None, object]:
        inner = self._coroutine.__await__()
        error: BaseException | None = None
        while True:
            try:
                future = next(inner) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._nth:
                self._cancel(future)
            try:
                yield future
            except BaseException as raised:  # noqa: BLE001  # the coroutine's to handle
                error = raised
            else:
                error = None

    def _cancel(self, future: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._moment == "waiting" or future is None:
            task.cancel()
        else:
            future.add_done_callback(lambda _: task.cancel())


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is done for a user of that name, and the query that counts its effects."""

    make: Callable[[Denizen[UserModel], Api, str], Awaitable[_Work]]
    effects: str


async def _create(denizen: Denizen[UserModel], _admin: Api, name: str) -> _Work:
    return denizen.users.create_user(CreateUser(email=f"{name}@example.com", username=name))


async def _create_by_http(_denizen: Denizen[UserModel], admin: Api, name: str) -> _Work:
    body, key = {"email": f"{name}@example.com", "username": name}, {"Idempotency-Key": name}
    return admin.post("/v1/users", json=body, headers=key)


async def _sign_in(denizen: Denizen[UserModel], _admin: Api, name: str) -> _Work:
    user = await a_user(denizen, username=name, password=PASSWORD)
    return denizen.sessions.sign_in(user.email, PASSWORD)


async def _change_password(denizen: Denizen[UserModel], _admin: Api, name: str) -> _Work:
    user = await a_user(denizen, username=name, password=PASSWORD)
    return denizen.passwords.change_password(user.id, PASSWORD, NEW_PASSWORD)


SCENES: Final = {
    "a user made": _Scene(_create, _CREATED),
    "a user made under a key": _Scene(_create_by_http, _CREATED),
    "a sign-in": _Scene(_sign_in, _SIGNED_IN),
    "a password changed": _Scene(_change_password, _CHANGED),
}


@pytest.fixture
async def watcher(databases: Databases) -> AsyncIterator[Any]:
    """Give a connection of somebody who looks."""
    async with superuser(databases.superuser_url) as connection:
        yield connection


@pytest.mark.parametrize("moment", ["answered", pytest.param("waiting", marks=IN_FULL)])
@pytest.mark.parametrize("name", SCENES)
async def test_task_that_is_cancelled_leaves_one_effect_or_none(
    denizen: Denizen[UserModel], admin: Api, watcher: Any, name: str, moment: Moment
) -> None:
    """At whichever await: row, event and mail together or none, and no connection is kept."""

    def make(user: str) -> Awaitable[_Work]:
        return SCENES[name].make(denizen, admin, user)

    ends = [end async for end in _cancelled(make, SCENES[name].effects, denizen, watcher, moment)]

    torn = [end for end in ends if len(set(end.effects)) > 1]
    fault = f"{name}, cancelled at each of {len(ends) - 1} awaits, {moment}"
    told = Measured(row="F36", fault=fault, expected="done as a whole or not", acts=len(ends))
    publish(replace(told, doubled=len(torn)))
    assert torn == []
    assert [end for end in ends if not (end.is_cancelled or any(end.effects))] == []
    assert len(ends) > 5


async def test_work_in_two_units_is_found_to_be_torn(
    denizen: Denizen[UserModel], watcher: Any
) -> None:
    """The user in one transaction and the event in the next: there is an await between them."""

    async def in_two(name: str) -> None:
        user = await a_user(denizen, username=name)
        audit = denizen.parts.tables.audit
        await denizen.db.run(lambda db: record(db, audit, "user.created", OPERATOR, user.id))

    async def make(name: str) -> _Work:
        return in_two(name)

    ends = [end async for end in _cancelled(make, _CREATED, denizen, watcher, "answered")]

    torn = [end for end in ends if end.effects == (1, 0, 0)]
    assert torn
    fault = "a user and its event in two transactions, cancelled"
    told = Measured(row="F36", fault=fault, expected="torn", acts=len(ends), doubled=len(torn))
    control(told, f"{len(torn)} torn")


@dataclass(frozen=True, slots=True)
class _End:
    """What became of one try: whether it was cancelled, and the counts of its effects."""

    is_cancelled: bool
    effects: tuple[int, ...]


async def _cancelled(
    make: Callable[[str], Awaitable[_Work]],
    effects: str,
    denizen: Denizen[UserModel],
    watcher: Any,
    moment: Moment,
) -> AsyncIterator[_End]:
    """Cancel the work at its first await, then anew at its second, until it has no more of them."""
    for nth in itertools.count(1):
        name = f"c{time.monotonic_ns()}"
        work = await make(name)
        await _connect(denizen)
        stepped = _Stepped(work, nth, moment)
        is_cancelled = await _is_cancelled(stepped)
        await _rest(denizen, watcher)
        yield _End(is_cancelled, tuple(await watcher.fetchrow(effects, name)))
        if stepped.waits < nth:
            return


async def _is_cancelled(stepped: _Stepped) -> bool:
    """Run it in a task of its own; whether it was cut off."""

    async def run() -> None:
        await stepped

    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.create_task(run())
        return False
    return True


async def _connect(denizen: Denizen[UserModel]) -> None:
    """Have connections at rest, or whoever was cancelled would have the next one wait for more."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            db = await stack.enter_async_context(denizen.db.get_session(read_only=True))
            await db.scalar(select(1))


async def _rest(denizen: Denizen[UserModel], watcher: Any) -> None:
    """Wait until nothing is in use and nothing is open; what is shielded goes on for a moment."""
    async with asyncio.timeout(SETTLING):
        while denizen.db.pool.in_use or await watcher.fetchval(_OPEN):  # noqa: ASYNC110  # PostgreSQL has no event
            await asyncio.sleep(0.005)
