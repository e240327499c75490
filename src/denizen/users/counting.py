"""How many users there are of a kind, at little cost however many there are."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.model import table_of
from denizen.exports.queries import estimate_users
from denizen.users import queries
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter

U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are: exactly so many, about, more than that, or nobody knows (0)."""

    number: int
    kind: Literal["exact", "about", "over", "unknown"]


async def count_users(db: DBSessionManager, model: type[U], wanted: UserFilter) -> Count:
    """Count users exactly up to a limit, and all of them by the database's own estimate.

    Where few are found among many, that takes long, and is given up.
    """
    try:
        found = await db.run(lambda unit: queries.count_some(unit, model, wanted))
    except UnavailableError:
        return Count(0, "unknown")
    if found <= queries.COUNTED:
        return Count(found, "exact")
    about = 0
    if not queries.conditions(model, wanted):
        users = table_of(model)
        about = await db.run(lambda unit: estimate_users(unit, users), read_only=True)
    if about <= queries.COUNTED:
        return Count(queries.COUNTED, "over")
    return Count(about, "about")
