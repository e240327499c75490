"""argon2id off the event loop, in threads that take turns between clients (`queue.py`).

A hash costs some 20 ms of a core, so a machine has a fixed number of them a second. What this
module decides is what is computed: one hash of today's cost, whoever asks and whatever is stored.
"""

import base64
import contextlib
import secrets
import threading
from dataclasses import dataclass
from typing import Final

import argon2
from argon2.exceptions import (
    HashingError,
    InvalidHashError,
    VerificationError,
    VerifyMismatchError,
)

from denizen.cores import cores
from denizen.network import UNKNOWN
from denizen.passwords.foreign import (
    HEAVIEST_MEMORY,
    StoredHash,
    is_bearable_argon2,
    read_hash,
    refuse_without_memory,
)
from denizen.passwords.queue import FairQueue, Place

# OWASP Password Storage Cheat Sheet: memory in KiB by iterations, all with one lane
_FLOOR: Final = {1: 47104, 2: 19456, 3: 12288, 4: 9216, 5: 7168}
_SALT: Final = 16
_TAG: Final = 32
_MAX_BYTES: Final = 4096  # what no accepted password reaches; a longer one is just wrong


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost of a hash: memory in KiB, passes, lanes.

    Raises:
        ValueError: below OWASP's floor, or so heavy that the hash could not be verified.
    """

    memory: int = 19456
    passes: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        floor = _FLOOR.get(min(self.passes, max(_FLOOR)))
        is_strong = floor is not None and self.memory >= floor
        if not is_strong or not is_bearable_argon2(self.memory, self.passes, self.lanes):
            floors = ", ".join(f"{memory} KiB with {passes}" for passes, memory in _FLOOR.items())
            raise ValueError(
                f"argon2id needs at least {floors} or more passes, 1 to 16 lanes, and at most "
                f"{HEAVIEST_MEMORY} KiB and a second of a core"
            )


class PasswordHasher:
    """Hashes and checks passwords in threads, so many at once as there are slots.

    Args:
        slots: threads; by default the cores that this process may use.
        parameters: the cost of new hashes; OWASP's first choice by default.
        queue_seconds: longest wait for a slot, by the running mean of a hash; beyond it, refused.

    Attributes:
        evaluations: computations of today's argon2 done so far; equal on every path that can be
            compared.
        waiting: jobs in the queue.
        running: jobs being computed.
        refused: jobs turned away since the queue was full.
    """

    def __init__(
        self,
        *,
        slots: int | None = None,
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
        self._lock = threading.Lock()
        self._dummy = _dummy_hash(self._parameters)
        self.queue = FairQueue(cores() if slots is None else slots, queue_seconds)
        self.evaluations = 0

    async def hash(self, password: str, network: str = UNKNOWN) -> str:
        """Give the PHC string of a password that `check_password` accepted.

        Args:
            password: as it was accepted.
            network: of the client that it is for; clients take turns.

        Raises:
            OverloadedError: the queue is full, or there is no memory.
            ValueError: no text: nobody has checked it.
        """
        text = _encoded(password)
        return await self.queue.run(network, lambda: self._hashed(text))

    async def verify(
        self, password_hash: str | None, password: str, *, place: Place | None = None
    ) -> bool:
        """Whether the password, in NFC, is the one that was hashed.

        Exactly one computation of today's cost, with or without a hash to compare: where there is
        none, or one that can't be computed, of a dummy, and the answer is no. A hash of another
        scheme or another cost is computed as it is, and the dummy beside it, whatever the answer:
        such an account never answers sooner than one that does not exist. A password that is too
        long or no text is just wrong.

        Args:
            password_hash: as it is stored; None where there is none.
            password: as typed.
            place: in the queue, where one was taken before; else one is taken now.

        Raises:
            OverloadedError: the queue is full, or there is no memory: the password may be right.
        """
        text = password.encode("utf-8", "surrogatepass")
        stored = self._dummy if password_hash is None or len(text) > _MAX_BYTES else password_hash
        known = read_hash(stored)
        if known is None or not known.is_bearable:
            stored, known = self._dummy, None
        foreign = known if self.needs_rehash(stored) else None
        text = text[:_MAX_BYTES]
        with contextlib.nullcontext(place) if place else self.queue.place(UNKNOWN) as taken:
            return await taken.run(lambda: self._matches(stored, foreign, text))

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash has another cost than today's, or is none."""
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def close(self) -> None:
        """End the threads; a job that comes later starts new ones."""
        self.queue.close()

    def _hashed(self, text: bytes) -> str:
        try:
            found = self._argon2.hash(text)
        except HashingError as error:
            refuse_without_memory(error)
            raise
        self._count_evaluation()
        return found

    def _matches(self, stored: str, foreign: StoredHash | None, text: bytes) -> bool:
        """Compare; a hash malformed beyond its header costs nothing, so a dummy does."""
        if foreign is not None:
            is_match = foreign.matches(text)
            self._is_match(self._dummy, text)
            return is_match
        try:
            return self._is_match(stored, text)
        except (VerificationError, InvalidHashError):
            self._is_match(self._dummy, text)
            return False

    def _is_match(self, stored: str, text: bytes) -> bool:
        try:
            is_match = bool(self._argon2.verify(stored, text))
        except VerifyMismatchError:
            is_match = False
        except VerificationError as error:
            refuse_without_memory(error)
            raise
        self._count_evaluation()
        return is_match

    def _count_evaluation(self) -> None:
        with self._lock:
            self.evaluations += 1


def _encoded(password: str) -> bytes:
    """Give UTF-8. The error is raised by hand: Python's own carries the password along."""
    text = password.encode("utf-8", "surrogatepass")
    if text.decode("utf-8", "replace") != password:
        raise ValueError("a password with lone surrogates can't be hashed")
    return text


def _dummy_hash(parameters: Argon2Parameters) -> str:
    """Assemble a hash that nothing matches: a random tag of the right length, not computed.

    So it costs nothing at the start, and the first sign-in of somebody unknown costs one
    computation like every other, not a second one to make the dummy.
    """
    salt, tag = (
        base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (_SALT, _TAG)
    )
    cost = f"m={parameters.memory},t={parameters.passes},p={parameters.lanes}"
    return f"$argon2id$v=19${cost}${salt}${tag}"
