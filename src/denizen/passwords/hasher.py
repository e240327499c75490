"""argon2id off the event loop, in a pool whose queue is bounded by time.

A hash costs some 20 ms of a core, so a machine has a fixed number of them a second. What this
module decides is what happens to everybody else meanwhile (nothing: hashing runs in threads that
let go of the interpreter) and to those beyond the limit (refused at once).
"""

import asyncio
import base64
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from denizen.errors import OverloadedError

T = TypeVar("T")

# OWASP Password Storage Cheat Sheet: memory in KiB by iterations, all with one lane
_FLOOR: Final = {1: 47104, 2: 19456, 3: 12288, 4: 9216, 5: 7168}
_HEAVIEST_MEMORY: Final = 128 * 1024  # KiB; more is refused at import and never computed
_HEAVIEST_WORK: Final = 2 * 1024 * 1024  # KiB times iterations, about one second
_SALT: Final = 16
_TAG: Final = 32
_FIRST_GUESS: Final = 0.03  # seconds for a hash, until one was measured
_MAX_BYTES: Final = 4096  # what no accepted password reaches; a longer one is just wrong


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost of a hash: memory in KiB, passes, lanes. Below OWASP's floor it can't be made."""

    memory: int = 19456
    passes: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        floor = _FLOOR[min(max(self.passes, 1), 5)]
        if self.lanes < 1 or self.passes < 1 or self.memory < floor:
            raise ValueError(f"argon2id with {self.passes} passes needs {floor} KiB or more")


class PasswordHasher:
    """Hashes and checks passwords in `slots` threads.

    Attributes:
        evaluations: argon2 computations so far; equal on every path that can be compared.
        waiting: jobs in the queue.
        running: jobs being computed.
        refused: jobs turned away since the queue was full.
    """

    def __init__(
        self,
        *,
        slots: int,
        parameters: Argon2Parameters | None = None,
        queue_seconds: float = 1.0,
    ) -> None:
        self._parameters = parameters or Argon2Parameters()
        self._argon2 = argon2.PasswordHasher(
            time_cost=self._parameters.passes,
            memory_cost=self._parameters.memory,
            parallelism=self._parameters.lanes,
            hash_len=_TAG,
            salt_len=_SALT,
        )
        self._slots = slots
        self._queue_seconds = queue_seconds
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="argon2")
        self._lock = threading.Lock()
        self._mean = _FIRST_GUESS
        self._dummy = _dummy_hash(self._parameters)
        self.evaluations = self.waiting = self.running = self.refused = 0

    async def hash(self, password: str) -> str:
        """Give the PHC string of a password that `check_password` accepted.

        Raises:
            OverloadedError: the queue is full.
        """
        return await self._run(lambda: self._argon2.hash(password))

    async def verify(self, hashed_password: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed.

        Exactly one computation, with or without a hash to compare: where there is none, or one
        that is not ours to compute, a dummy of the current cost is used and the answer is no.

        Raises:
            OverloadedError: the queue is full.
        """
        text = password.encode("utf-8", "surrogatepass")
        is_real = hashed_password is not None and _is_ours(hashed_password)
        is_real &= len(text) <= _MAX_BYTES
        stored = hashed_password if is_real and hashed_password else self._dummy
        is_right = await self._run(lambda: self._matches(stored, text[:_MAX_BYTES]))
        return is_right and is_real

    def needs_rehash(self, hashed_password: str) -> bool:
        """Whether the hash has another cost than today's."""
        return self._argon2.check_needs_rehash(hashed_password)

    def close(self) -> None:
        """End the threads; queued jobs are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, text: bytes) -> bool:
        try:
            return self._argon2.verify(stored, text)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, job: Callable[[], T]) -> T:
        with self._lock:
            if self.waiting * self._mean / self._slots > self._queue_seconds:
                self.refused += 1
                raise OverloadedError
            self.waiting += 1
        started = threading.Event()
        future = self._pool.submit(self._timed, job, started)
        future.add_done_callback(lambda done: self._forget(done, started))
        return await asyncio.wrap_future(future)

    def _timed(self, job: Callable[[], T], started: threading.Event) -> T:
        started.set()
        with self._lock:
            self.waiting -= 1
            self.running += 1
            self.evaluations += 1
        began = time.perf_counter()
        try:
            return job()
        finally:
            took = time.perf_counter() - began
            with self._lock:
                self.running -= 1
                self._mean += (took - self._mean) / 8

    def _forget(self, future: Future[T], started: threading.Event) -> None:
        """Take a job that was cancelled in the queue off the count."""
        if future.cancelled() and not started.is_set():
            with self._lock:
                self.waiting -= 1


def _is_ours(hashed_password: str) -> bool:
    """Whether a stored hash is argon2 and of a cost that a sign-in may ask for."""
    try:
        cost = argon2.extract_parameters(hashed_password)
    except (InvalidHashError, ValueError):
        return False
    is_light = cost.memory_cost <= _HEAVIEST_MEMORY
    return is_light and cost.memory_cost * cost.time_cost <= _HEAVIEST_WORK


def _dummy_hash(parameters: Argon2Parameters) -> str:
    """Assemble a hash that nothing matches: no computation at start, none that could be timed."""
    salt, tag = (
        base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (_SALT, _TAG)
    )
    cost = f"m={parameters.memory},t={parameters.passes},p={parameters.lanes}"
    return f"$argon2id$v=19${cost}${salt}${tag}"
