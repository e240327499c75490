"""My devices and what happened to my account: each sign-in, each change."""

import uuid
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from denizen.device import device_of
from denizen.errors import NotFoundError
from denizen.pages.events import event_name
from denizen.pages.site import Site
from denizen.pages.visit import Visit
from denizen.users.values import ROLES

DEVICES: Final = "/account/sessions"
_PAGE: Final = 20


class DevicePages:
    """The pages of sessions, and of one's own events."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        mine: dict[str, Any] = {"roles": ROLES}
        site.add(DEVICES, self.show, **mine)
        site.add(f"{DEVICES}/end", None, self.end, **mine)
        site.add(f"{DEVICES}/end-others", None, self.end_others, **mine)
        site.add("/account/activity", self.activity, **mine)

    async def show(self, visit: Visit) -> Response:
        """Show where the person is signed in, this device first."""
        here = visit.me["session_id"]
        sessions = await self._service.sessions.list_sessions(visit.me["id"])
        rows = sorted(sessions, key=lambda row: bool(row.id != here))
        return visit.page("account/sessions.html", sessions=rows, here=here, device_of=device_of)

    async def end(self, visit: Visit) -> Response:
        """Sign one device out; one that is gone already needs nothing."""
        try:
            session_id = uuid.UUID(visit.value("id"))
        except ValueError:
            raise HTTPException(400) from None
        try:
            await self._service.sessions.end_session(
                visit.me["id"], session_id, actor=visit.actor, db=visit.db
            )
        except NotFoundError:
            return visit.leave(DEVICES, say=visit.gettext("That device was signed out already."))
        return visit.leave(DEVICES, say=visit.gettext("The device is signed out."))

    async def end_others(self, visit: Visit) -> Response:
        """Sign every device out but this one."""
        ended = await self._service.sessions.end_all_sessions(
            visit.me["id"], actor=visit.actor, but=visit.me["session_id"], db=visit.db
        )
        said = visit.ngettext(
            "%(num)d other device is signed out.", "%(num)d other devices are signed out.", ended
        )
        return visit.leave(DEVICES, say=said)

    async def activity(self, visit: Visit) -> Response:
        """Show what happened to the account, the newest first."""
        page = await self._service.audit.list_events(
            user_id=visit.me["id"], limit=_PAGE, cursor=visit.query("cursor") or None
        )
        return visit.page(
            "account/activity.html", page=page, name_of=event_name, device_of=device_of
        )
