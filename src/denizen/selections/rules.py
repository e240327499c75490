"""What a selection is, what can be done to one, and who of it is skipped; pure rules."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar, get_args

from denizen.audit.model import Actor
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter
from denizen.users.status import status_of

U = TypeVar("U", bound=UserMixin)
Act = Literal["disable", "enable", "end_sessions", "delete"]
Skip = Literal["self", "already", "leaving", "last_admin"]

ACTS: Final[tuple[Act, ...]] = get_args(Act)
AT_ONCE: Final = 1000  # users in one go
BATCH: Final = 50  # users in one unit of work: nobody waits long for their rows


@dataclass(frozen=True, slots=True)
class Selection:
    """The users with these ids, or all that are wanted."""

    who: Sequence[uuid.UUID] | UserFilter


@dataclass(frozen=True, slots=True)
class Preview(Generic[U]):
    """What an act would do.

    Attributes:
        moment: when it was looked at, by the database's clock.
        chosen: whom it would be done to.
        skipped: everybody else of the selection, by the reason.
        sessions: how many live sessions the chosen have.
        is_too_many: more were selected than may be in one go; the rest is empty.
    """

    moment: datetime
    chosen: Sequence[U] = ()
    skipped: dict[Skip, list[U]] = field(default_factory=dict)
    sessions: int = 0
    is_too_many: bool = False

    @property
    def mark(self) -> str:
        """What these have that no others do: who confirms an act means exactly these."""
        ids = b"".join(sorted(user.id.bytes for user in self.chosen))
        return hashlib.sha256(ids).hexdigest()


@dataclass(slots=True)
class Report:
    """What was done: to how many, how many were skipped, and whether it came to its end."""

    done: int = 0
    skipped: Counter[Skip] = field(default_factory=Counter)
    is_whole: bool = True


def reason_to_skip(user: UserMixin, act: Act, actor: Actor) -> Skip | None:
    """Give why an act leaves somebody alone; None when it doesn't."""
    status = status_of(user)
    if user.id == actor.id and act != "enable":
        return "self"
    if status == "leaving":
        return "already" if act == "delete" else "leaving"
    is_done = user.is_active if act == "enable" else status == "disabled" and act == "disable"
    return "already" if is_done else None
