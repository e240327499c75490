"""Checks that look inside a style: rows of the sketch's table that its outer interface hides."""

import ast
import asyncio
import importlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import argon2
from sqlalchemy import Engine

from styles.contract import probes
from styles.contract.ground import (
    PASSWORD,
    Ground,
    counting_connections,
    heard_logs,
    listening,
)
from styles.contract.properties import hold, holds
from styles.outer import STYLES, NewUser

TOLD_BY_INDEXES = """
SELECT i.indrelid::regclass::text AS table, array_agg(a.attname ORDER BY k.n) AS columns
FROM pg_index i
CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(attnum, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid::regclass::text IN ('users', 'sessions', 'audit_events')
GROUP BY i.indexrelid, i.indrelid
"""


@holds(row=5, breaks="a", outer=False)
async def instance_uses_what_it_was_given(ground: Ground) -> None:
    """A second instance, given a session or manager of its own, leaves the first one's alone."""
    sent: list[str] = []
    async with probes.second_instance(ground.letter, ground.url) as (users, is_its_own):

        def executed(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if not is_its_own(connection.engine):
                sent.append(statement)

        with listening(Engine, "after_cursor_execute", executed):
            await users.create_user(_payload("ann"))

    hold(sent == [], f"{len(sent)} statement went over the first one's connection")


@holds(row=6, breaks="b", outer=False)
async def look_up_of_nobody_is_false(ground: Ground) -> None:
    """Looking up an address that nobody has says so (the second sketch's as it was written)."""
    found = await probes.look_up(ground.letter, ground.url, "nobody@example.com")

    hold(not found, f"looking up nobody gives a {type(found).__name__}, which is true")


@holds(row=7, breaks="b", outer=False)
async def scenario_runs_as_it_is_written(ground: Ground) -> None:
    """The scenario can be called (the second sketch's as it was written)."""
    create_user = probes.create_user_as_written(ground.letter) or ground.users.create_user
    try:
        await create_user(_payload("ann"))
    except AttributeError as error:
        hold(condition=False, seen=f"AttributeError: {error}")


@holds(row=8, breaks="ab", outer=False)
async def instants_come_from_the_database_with_a_zone(ground: Ground) -> None:
    """Two users made one after the other have two instants, with a time zone."""
    await ground.a_user()
    await asyncio.sleep(0.002)
    await ground.a_user()

    instants = await ground.watcher.fetch("SELECT created_at FROM users")
    hold(len({row[0] for row in instants}) == 2, "both were made at the same instant")
    hold(all(row[0].tzinfo for row in instants), "an instant has no time zone")


@holds(row=9, breaks="ab", outer=False)
async def log_holds_no_value(ground: Ground) -> None:
    """No line of the log tells an address or a hash."""
    with heard_logs() as lines:
        await ground.sign_up("canary@example.com", "ann")

    for word in ("canary", "$argon2id$"):
        hold(not any(word in line for line in lines), f"the log tells {word!r}")


@holds(row=10, breaks="b", applies="bcde", outer=False)
async def deletion_by_itself_is_kept(ground: Ground) -> None:
    """A user deleted by the style's own verb, in a session of its own, is gone for everybody."""
    user_id = await ground.a_user(sessions=0)

    await probes.delete_alone(ground.letter, ground.url, user_id)

    hold((await ground.state()).users == frozenset(), "the row is still there")


@holds(row=11, breaks="b", applies="bcde", outer=False)
async def two_steps_can_be_one_transaction(ground: Ground) -> None:
    """When the step after it fails, a row made by the style's own verb is not stored."""
    await probes.create_then_fail(ground.letter, ground.url)

    hold((await ground.state()).users == frozenset(), "the first step is stored")


@holds(row=12, breaks="b", applies="bc", outer=False)
async def reading_all_is_bounded(ground: Ground) -> None:
    """Reading "all" of 300 users holds no more than a page of them in memory."""
    await ground.watcher.execute(probes.three_hundred_users(ground.letter))

    count = await probes.count_of_all(ground.letter, ground.url)

    hold(count <= 100, f"{count} of 300 are read at once")


@holds(row=13, breaks="ab", outer=False)
async def texts_are_bounded_and_never_null(ground: Ground) -> None:
    """What people type is NOT NULL and bounded, in the database."""
    columns = await ground.watcher.fetch(
        "SELECT column_name, is_nullable, character_maximum_length FROM information_schema.columns "
        "WHERE table_name = 'users' AND column_name IN ('email', 'username')"
    )
    for name, is_nullable, longest in columns:
        hold(is_nullable == "NO", f"{name} may be NULL")
        hold(longest is not None, f"{name} has no limit")


@holds(row=14, breaks="ab", outer=False)
async def no_index_repeats_another(ground: Ground) -> None:
    """No index serves what another serves already."""
    found = [(r["table"], tuple(r["columns"])) for r in await ground.watcher.fetch(TOLD_BY_INDEXES)]
    for number, (table, columns) in enumerate(found):
        others = [c for n, (t, c) in enumerate(found) if t == table and n != number]
        repeated = any(other[: len(columns)] == columns for other in others)
        hold(not repeated, f"two indexes begin with {table}.{columns[0]}")


@holds(row=15, breaks="b", outer=False)
async def nothing_waits_for_an_exception_that_never_comes(ground: Ground) -> None:
    """`NoResultFound` is not caught: `get` answers None."""
    caught = [
        path.name
        for path, node in _nodes(ground.letter)
        if isinstance(node, ast.ExceptHandler)
        and node.type is not None
        and "NoResultFound" in ast.unparse(node.type)
    ]

    hold(caught == [], f"{', '.join(caught)} waits for NoResultFound")


@holds(row=16, breaks="b", applies="bcde", outer=False)
async def manager_before_init_says_what_to_call(ground: Ground) -> None:
    """A manager that was not started raises an error of its own kind that names `init()`."""
    error = await probes.error_before_init(ground.letter, ground.url)

    hold(type(error) is not Exception, "the error is a bare Exception, which nobody can catch")
    hold("init()" in str(error), "the error does not say what to call")


@holds(row=17, breaks="b", outer=False)
async def caller_sets_named_columns_alone(ground: Ground) -> None:
    """A payload that carries another column does not write it."""
    chosen = uuid.uuid4()
    payload = WithId(email="ann@example.com", username="ann", password=PASSWORD, id=chosen)

    await ground.users.create_user(payload)

    stored_id = await ground.watcher.fetchval("SELECT id FROM users")
    hold(stored_id != chosen, "the caller chose the primary key")


class WithId(NewUser):
    """A payload that grew a field which is a column, too."""

    id: uuid.UUID


@holds(row=18, breaks="ab", outer=False)
async def hash_holds_neither_the_loop_nor_a_connection(ground: Ground) -> None:
    """While a password is hashed the event loop turns and no connection is held."""
    turns = 0
    seen: list[tuple[int, int]] = []

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    with counting_connections() as held:

        def slow(_self: argon2.PasswordHasher, _password: str | bytes) -> str:
            began, connections = turns, held[-1]
            time.sleep(0.1)
            seen.append((turns - began, connections))
            return "$argon2id$slow"

        with mock.patch.object(argon2.PasswordHasher, "hash", slow):
            turning = asyncio.create_task(turn())
            await ground.sign_up("ann@example.com", "ann")
            turning.cancel()

    ((turned, connections),) = seen
    hold(turned > 0, "the event loop stands still during a hash")
    hold(connections == 0, f"{connections} connection is held during a hash")


@holds(row=19, breaks="b", outer=False)
async def what_was_written_can_be_read_after_the_unit(ground: Ground) -> None:
    """An attribute read after the commit asks nobody."""
    error = await probes.error_reading_after_commit(ground.letter, ground.url)

    hold(error is None, f"reading an attribute after the commit raises {type(error).__name__}")


@holds(row=21, breaks="b", outer=False)
async def context_manager_alone_rolls_back(ground: Ground) -> None:
    """Nothing rolls back by hand what a `begin()` around it rolls back (the database hears one)."""
    twice = [
        path.name
        for path, node in _nodes(ground.letter)
        if isinstance(node, ast.AsyncWith)
        and any(".begin()" in ast.unparse(item) for item in node.items)
        and any(".rollback()" in ast.unparse(inner) for inner in node.body)
    ]

    hold(twice == [], f"{', '.join(twice)} rolls back inside begin(), which does it anyway")


def _nodes(letter: str) -> Iterator[tuple[Path, ast.AST]]:
    """Walk a style's source."""
    folder = Path(str(importlib.import_module("styles").__path__[0])) / STYLES[letter]
    for path in sorted(folder.glob("*.py")):
        yield from ((path, node) for node in ast.walk(ast.parse(path.read_text("utf-8"))))


def _payload(name: str) -> NewUser:
    return NewUser(email=f"{name}@example.com", username=name, password=PASSWORD)
