"""The audit log: who did what to whom, when and from where; filtered, the newest first."""

import uuid
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from denizen.audit.model import NOBODY
from denizen.db.errors import CursorError
from denizen.db.paging import Page
from denizen.device import device_of
from denizen.errors import NotFoundError
from denizen.pages.console import ADMINS
from denizen.pages.console.changes import changes_of
from denizen.pages.events import event_name, event_names
from denizen.pages.site import Site
from denizen.pages.visit import Visit

AUDIT: Final = "/console/audit"
PAGE: Final = 50
FILTERS: Final = ("user_id", "action", "from", "to")
_LONGEST_ACTION: Final = 64


class AuditPages:
    """The page of the audit log."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        site.add(AUDIT, self.show, **ADMINS)

    async def show(self, visit: Visit) -> Response:
        """Show the events that the address asks for."""
        asked = {name: visit.query(name).strip() for name in FILTERS}
        action = asked["action"][:_LONGEST_ACTION].replace("\0", "")
        first, last = _day(asked["from"]), _day(asked["to"])
        following = last + timedelta(days=1) if last and last < date.max else None
        user_id, is_known = await self._whom(asked["user_id"])
        page: Page[Any] = Page([], None)
        if is_known:
            try:
                page = await self._service.audit.list_events(
                    user_id=user_id,
                    action=action or None,
                    since=_midnight(first, visit.zone),
                    until=_midnight(following, visit.zone),
                    limit=PAGE,
                    cursor=visit.query("cursor") or None,
                )
            except CursorError:  # of other filters, or of another time zone
                return visit.leave(_address(asked))
        names = event_names(visit.words)
        people = [one for event in page for one in (event.actor_id, event.user_id)]
        return visit.page(
            "console/audit/list.html",
            page=page,
            names=await self._service.audit.names_of(people),
            actions=sorted(names.items(), key=lambda pair: pair[1]),
            asked=asked,
            is_filtered=any(asked.values()),
            newest=_address(asked),
            older=_address(asked, page.next_cursor) if page.next_cursor else None,
            nobody=NOBODY,
            name_of=event_name,
            changes_of=changes_of,
            device_of=device_of,
        )

    async def _whom(self, text: str) -> tuple[uuid.UUID | None, bool]:
        """Give whose events are asked for, and whether that is anybody; of ids all may be."""
        if not text:
            return None, True
        try:
            return uuid.UUID(text), True
        except ValueError:
            pass
        try:
            return (await self._service.users.find_user(text)).id, True
        except NotFoundError:
            return None, False


def _address(asked: Mapping[str, str], cursor: str | None = None) -> str:
    """Give the address of a page of this list."""
    told = {name: value for name, value in asked.items() if value}
    told |= {"cursor": cursor} if cursor else {}
    return f"{AUDIT}?{urlencode(told)}" if told else AUDIT


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _midnight(day: date | None, zone: tzinfo) -> datetime | None:
    """Give when a day begins where the browser is; what no clock reaches is no limit."""
    if day is None or not date.min < day < date.max:
        return None
    return datetime.combine(day, time(), zone)
