"""The hash pool: one computation on every path, a queue bounded by time."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import argon2
import pytest
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import error_to_str

from denizen.errors import OverloadedError
from denizen.passwords.hasher import Argon2Parameters, PasswordHasher

PASSWORD = "a fine long passphrase 77"


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    """Give a pool of one thread."""
    found = PasswordHasher(slots=1)
    yield found
    found.close()


async def test_t_hash_1_hash_is_argon2id_with_the_stated_cost(hasher: PasswordHasher) -> None:
    """PHC string with m=19456, t=2, p=1, a 16-byte salt and a 32-byte tag."""
    hashed = await hasher.hash(PASSWORD)

    _, kind, version, cost, salt, tag = hashed.split("$")
    assert (kind, version, cost) == ("argon2id", "v=19", "m=19456,t=2,p=1")
    assert (len(salt), len(tag)) == (22, 43)
    assert await hasher.verify(hashed, PASSWORD)
    assert not hasher.needs_rehash(hashed)


async def test_t_pw_2_no_truncation_and_no_folding(hasher: PasswordHasher) -> None:
    """Shortened, cut at 72 or with letter case swapped, the password is wrong."""
    password = "Aa7!" * 50
    hashed = await hasher.hash(password)

    for wrong in (password[:-1], password[:72], password.swapcase(), password + "x", ""):
        assert not await hasher.verify(hashed, wrong)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "plain",
        "$2b$05$abcdefghijklmnopqrstuuW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6",
        "$argon2id$v=19$m=19456,t=2,p=1$AAAA",
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$c29tZWhhc2hzb21laGFzaHNvbWVoYXNo",
        "$argon2id$v=19$m=65536,t=9999,p=1$c29tZXNhbHRzb21lc2FsdA$c29tZWhhc2hzb21laGFzaHNvbWVoYXNo",
    ],
)
async def test_every_path_computes_exactly_once(hasher: PasswordHasher, stored: str | None) -> None:
    """No hash, a malformed, a foreign, a far too costly one: one dummy, and the answer is no."""
    began = time.perf_counter()

    assert not await hasher.verify(stored, PASSWORD)

    assert hasher.evaluations == 1
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("password", ["\ud800", "x" * 100_000, "\0", ""])
async def test_strange_passwords_are_wrong_not_errors(
    hasher: PasswordHasher, password: str
) -> None:
    """What nobody could have set is simply not it, at the same cost."""
    hashed = await hasher.hash(PASSWORD)

    assert not await hasher.verify(hashed, password)
    assert hasher.evaluations == 2


@pytest.mark.parametrize("memory", [19456, 12288])
async def test_password_is_never_wrong_for_want_of_memory(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    """The stored hash can't be computed now, the dummy could: refused, whatever its cost."""
    parameters = Argon2Parameters(memory=memory, passes=2 if memory == 19456 else 3)
    hashed = await PasswordHasher(slots=1, parameters=parameters).hash(PASSWORD)
    verify = argon2.PasswordHasher.verify

    def short(self: argon2.PasswordHasher, stored: str, password: bytes) -> bool:
        if stored == hashed:
            raise VerificationError(error_to_str(-22))
        return verify(self, stored, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", short)
    with pytest.raises(OverloadedError):
        await hasher.verify(hashed, PASSWORD)


async def test_password_is_not_hashed_without_memory(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused; it may be tried again."""

    def short(*_: object) -> str:
        raise HashingError(error_to_str(-22))

    with monkeypatch.context() as patch:
        patch.setattr(argon2.PasswordHasher, "hash", short)
        with pytest.raises(OverloadedError):
            await hasher.hash(PASSWORD)
    assert await hasher.verify(await hasher.hash(PASSWORD), PASSWORD)


async def test_no_more_threads_is_a_refusal(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a turn that never comes, and the next one is served."""

    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        with pytest.raises(OverloadedError):
            await hasher.hash(PASSWORD)
    assert hasher.queue.waiting == 0
    assert await hasher.hash(PASSWORD)


async def test_overlong_password_does_not_match_by_its_beginning(hasher: PasswordHasher) -> None:
    """The bound on what is hashed never makes two passwords one."""
    hashed = await hasher.hash("x" * 4096)

    assert not await hasher.verify(hashed, "x" * 5000)


async def test_queue_beyond_its_time_is_refused_at_once() -> None:
    """With 50 ms of queue and one thread, of forty jobs some are refused, immediately."""
    hasher = PasswordHasher(slots=1, queue_seconds=0.05)
    began, worked = time.perf_counter(), time.thread_time()
    jobs = [asyncio.ensure_future(hasher.hash(PASSWORD)) for _ in range(40)]
    await asyncio.sleep(0)
    refused = [job for job in jobs if job.done() and isinstance(job.exception(), OverloadedError)]

    assert time.thread_time() - worked < 0.1
    assert time.perf_counter() - began < 1
    assert len(refused) > 30
    assert hasher.queue.refused == len(refused)
    await asyncio.gather(*jobs, return_exceptions=True)
    assert (hasher.queue.waiting, hasher.queue.running) == (0, 0)
    hasher.close()


async def test_job_cancelled_in_the_queue_is_dropped(hasher: PasswordHasher) -> None:
    """It costs no computation and leaves the count right; one under way keeps its slot."""
    jobs = [asyncio.ensure_future(hasher.hash(PASSWORD)) for _ in range(10)]
    await asyncio.sleep(0.005)
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    async with asyncio.timeout(30):
        while hasher.queue.running:  # noqa: ASYNC110  # the queue has no event
            await asyncio.sleep(0.01)

    assert hasher.queue.waiting == 0
    assert hasher.evaluations < 5
    assert await hasher.hash(PASSWORD)


@pytest.mark.sketch(18)
async def test_loop_turns_while_hashing(hasher: PasswordHasher) -> None:
    """The event loop is not held: it turns many times during one hash."""
    job = asyncio.ensure_future(hasher.hash(PASSWORD))
    turns = 0
    while not job.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 20


@pytest.mark.parametrize(
    ("memory", "passes", "lanes"), [(19455, 2, 1), (47103, 1, 1), (7167, 9, 1), (19456, 2, 0)]
)
def test_t_hash_4_cost_below_the_floor_is_refused(memory: int, passes: int, lanes: int) -> None:
    """OWASP's floor is the floor."""
    with pytest.raises(ValueError, match="KiB"):
        Argon2Parameters(memory=memory, passes=passes, lanes=lanes)


async def test_t_hash_2_older_cost_is_noticed(hasher: PasswordHasher) -> None:
    """A hash with other parameters verifies, and asks to be renewed."""
    other = PasswordHasher(slots=1, parameters=Argon2Parameters(memory=47104, passes=1))
    hashed = await other.hash(PASSWORD)
    other.close()

    assert await hasher.verify(hashed, PASSWORD)
    assert hasher.needs_rehash(hashed)


async def test_closed_hasher_works_again(hasher: PasswordHasher) -> None:
    """An app may be stopped and started again, as test clients do."""
    hasher.close()

    assert await hasher.verify(await hasher.hash(PASSWORD), PASSWORD)
