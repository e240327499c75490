"""What a list of users is asked for, as it stands in the address.

A reload, a link, going back and every act find it again. Unknown values are left out, so that no
address is an error.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, Self
from urllib.parse import urlencode

from denizen.users.queries import ORDERS, UserFilter
from denizen.users.status import STATUSES, Status
from denizen.users.values import EMAIL_MAX, ROLES, Role

USERS: Final = "/console/users"
NEWEST: Final = "-created_at"


@dataclass(frozen=True, slots=True)
class Listing:
    """The search, the filters and the order of a list."""

    q: str = ""
    status: Status | None = None
    role: Role | None = None
    order: str = NEWEST

    @classmethod
    def of(cls, told: Mapping[str, str]) -> Self:
        """Read a query or the fields of a form."""
        q = "".join(sign for sign in told.get("q", "") if sign.isprintable())
        order = told.get("order", "")
        return cls(
            q=q.strip()[:EMAIL_MAX],
            status=next((one for one in STATUSES if one == told.get("status")), None),
            role=next((one for one in ROLES if one == told.get("role")), None),
            order=order if order in ORDERS else NEWEST,
        )

    @property
    def is_filtered(self) -> bool:
        """Whether some users may be left out."""
        return bool(self.q or self.status or self.role)

    @property
    def wanted(self) -> UserFilter:
        """Who is asked for: without a status also those who are to be erased."""
        return UserFilter(
            search=self.q or None, status=self.status, role=self.role, also_leaving=True
        )

    @property
    def fields(self) -> dict[str, str]:
        """What says the same in a form or a query, as short as can be."""
        told = {name: value for name, value in asdict(self).items() if value}
        return {name: value for name, value in told.items() if (name, value) != ("order", NEWEST)}

    @property
    def address(self) -> str:
        """The list's address."""
        return self.at()

    def at(self, **more: str) -> str:
        """Give the address of the list, or of a page of it."""
        query = urlencode(self.fields | more)
        return f"{USERS}?{query}" if query else USERS

    def but(self, **changed: str | None) -> "Listing":
        """Give the list with another filter or order, from its beginning."""
        return replace(self, **changed)  # type: ignore[arg-type]  # templates name what there is
