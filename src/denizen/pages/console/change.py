"""Changing a user in the console: on what was read, or with the other's change in view."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Row
from starlette.responses import Response

from denizen.db.errors import StaleVersionError
from denizen.pages.console import ADMINS
from denizen.pages.console.changes import Change, field_names, shown
from denizen.pages.console.user import EVENTS_TOLD, USER, acting_of, path_of, showing_of
from denizen.pages.console.users import TOLD
from denizen.pages.entrance import an_email
from denizen.pages.forms import one_of
from denizen.pages.site import Site
from denizen.pages.visit import Visit
from denizen.pages.words import Words
from denizen.users.model import UserMixin
from denizen.users.schemas import UpdateUser
from denizen.users.values import LOCALES, ROLES, parse_username

_LATEST: Final = 20
_UNDOABLE: Final = frozenset({"username", "role", "locale", "email_verified"})


class ChangePages:
    """The form of all fields, and the page where two changes meet."""

    def __init__(self, site: Site) -> None:
        self._service = service = site.service
        show, act = showing_of(service.users)(self.show), acting_of(service.users)(self.change)
        site.add(f"{USER}/change", show, act, **ADMINS)

    async def show(self, visit: Visit, user: UserMixin) -> Response:
        """Ask for other values; where somebody was faster, show both."""
        if isinstance(visit.error, StaleVersionError):
            return await self._show_conflict(visit, user)
        facts = facts_of(user)
        return visit.page("console/users/change.html", user=user, facts=facts, **TOLD)

    async def change(self, visit: Visit, user: UserMixin) -> Response:
        """Write the fields that differ from what the form began with."""
        given = visit.read(
            email=an_email,
            username=parse_username,
            role=one_of(ROLES),
            locale=one_of(LOCALES),
            email_verified=one_of(("yes", "no")),
        )
        told = {n: v for n, v in given.items() if visit.value(f"was_{n}") != v}
        payload: dict[str, Any] = {**told}
        if "email_verified" in told:
            payload["email_verified"] = told["email_verified"] == "yes"
        before = facts_of(user)
        changed = await self._service.users.update_user(
            user.id,
            UpdateUser.model_validate(payload),
            version=_version(visit),
            spare_self=True,
            actor=visit.actor,
            db=visit.db,
        )
        undo, said = "", visit.gettext("Nothing was changed.")
        if changed.version != user.version:
            said = visit.gettext("The changes are saved.")
            if told.keys() <= _UNDOABLE:  # mails about an address are on their way
                fields = urlencode(before | {"version": str(changed.version)})
                undo = f"{path_of(user)}/change?{fields}"
        return visit.leave(path_of(user), say=said, undo=undo)

    async def _show_conflict(self, visit: Visit, user: UserMixin) -> Response:
        """Show what others changed meanwhile, and of one's own changes what would go over it."""
        events = await self._since(visit, user)
        names = await self._service.audit.names_of(event.actor_id for event in events)
        now, merged, differences = facts_of(user), {}, []
        for field, theirs in now.items():
            mine = visit.value(field)
            is_untouched = mine == visit.value(f"was_{field}", "\0")
            merged[field] = theirs if is_untouched else mine
            if merged[field] != theirs:
                differences.append(_difference(visit.words, field, theirs, mine))
        return visit.page(
            "console/users/conflict.html",
            user=user,
            events=events,
            names=names,
            differences=differences,
            merged=merged,
            facts=now,
            **EVENTS_TOLD,
        )

    async def _since(self, visit: Visit, user: UserMixin) -> Sequence[Row[Any]]:
        """Give the changes since the form was shown, the newest first; at least the last one."""
        since = user.updated_at
        with suppress(ValueError, TypeError):
            since = datetime.fromisoformat(visit.value("since"))
        page = await self._service.audit.list_events(user_id=user.id, limit=_LATEST)
        changes = [event for event in page if event.before or event.action.startswith("user.")]
        with suppress(TypeError):  # an instant without a zone: nothing that we wrote
            return [event for event in changes if event.at > since] or changes[:1]
        return changes[:1]


def facts_of(user: UserMixin) -> dict[str, str]:
    """Give the fields of the form as they are."""
    return {
        "email": user.email,
        "username": user.username,
        "role": user.role,
        "locale": user.locale,
        "email_verified": "yes" if user.email_verified else "no",
    }


def _difference(words: Words, field: str, theirs: str, mine: str) -> Change:
    """Give a field that two people have changed, theirs as the value before mine."""
    values: list[object] = [theirs, mine]
    if field == "email_verified":
        values = [value == "yes" for value in values]
    before, after = (shown(words, value, field) for value in values)
    return Change(field, field_names(words)[field], before, after)


def _version(visit: Visit) -> int:
    """Give the version that the form was made of; none is nobody's version."""
    told = visit.value("version")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0
