"""The users of the console: searched, filtered and sorted, exported, created."""

import functools
from typing import Any, Final

from starlette.responses import Response

from denizen.db.errors import CursorError
from denizen.pages.console import ADMINS, STAFF
from denizen.pages.console.facts import role_name, status_name
from denizen.pages.console.listing import USERS, Listing
from denizen.pages.download import Download
from denizen.pages.entrance import an_email
from denizen.pages.forms import one_of
from denizen.pages.site import Site
from denizen.pages.visit import CONSOLE, Visit
from denizen.users.counting import Count
from denizen.users.schemas import CreateUser
from denizen.users.status import STATUSES, status_of
from denizen.users.values import LOCALES, ROLES, parse_username

_PAGE: Final = 50
_CSV: Final = "text/csv; charset=utf-8"
TOLD: Final[dict[str, Any]] = {
    "status_of": status_of,
    "status_name": status_name,
    "role_name": role_name,
    "statuses": STATUSES,
    "roles": ROLES,
}


class UserListPages:
    """The list, and what begins there."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        self._let_in_again = site.let_in_again
        site.add(USERS, self.show, **STAFF)
        site.add(f"{USERS}/new", self.show_new, self.create, **ADMINS)
        site.add(f"{CONSOLE}/export", None, self.export, acts_once=False, **ADMINS)

    async def show(self, visit: Visit) -> Response:
        """Show a page of the list; a place in another list is the beginning of this one."""
        users = self._service.users
        listing, cursor = Listing.of(visit.request.query_params), visit.query("cursor")
        try:
            page = await users.list_users(
                listing.wanted, order=listing.order, limit=_PAGE, cursor=cursor or None
            )
        except CursorError:
            return visit.leave(listing.address)
        count = Count(len(page), "exact")
        if cursor or page.next_cursor is not None:
            count = await users.count_users(listing.wanted)
        return visit.page(
            "console/users/list.html", listing=listing, page=page, count=count, **TOLD
        )

    async def export(self, visit: Visit) -> Response:
        """Give all users of the list as a file for a spreadsheet, never a hash."""
        self._service.exports.require_room()  # said on a page, before the file begins
        listing = Listing.of(visit.form)
        source = functools.partial(
            self._service.exports.export, form="csv", wanted=listing.wanted, actor=visit.actor
        )
        name = f"users-{visit.now:%Y-%m-%d}.csv"
        let_in_again = functools.partial(self._let_in_again, visit, ADMINS["roles"])
        return Download(source, name, _CSV, let_in_again=let_in_again)

    async def show_new(self, visit: Visit) -> Response:
        """Ask who it is; they choose their password."""
        return visit.page("console/users/new.html", **TOLD)

    async def create(self, visit: Visit) -> Response:
        """Create the account and mail the invitation."""
        given = visit.read(
            email=an_email, username=parse_username, role=one_of(ROLES), locale=one_of(LOCALES)
        )
        user = await self._service.users.create_user(
            CreateUser.model_validate(given), actor=visit.actor, db=visit.db
        )
        said = visit.gettext(
            "The account is created. A mail with a link to set a password goes to %(email)s."
        )
        return visit.leave(f"{USERS}/{user.id}", say=said % {"email": user.email})
