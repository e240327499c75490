"""One user in the console: what is known, and a page for each act that has a price."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from denizen.audit.model import Actor
from denizen.device import device_of
from denizen.errors import InvalidError, Issue, NotFoundError
from denizen.pages.console import ADMINS, STAFF
from denizen.pages.console.changes import changes_of
from denizen.pages.console.listing import USERS
from denizen.pages.console.users import TOLD
from denizen.pages.entrance import an_email
from denizen.pages.events import event_name
from denizen.pages.site import Answer, Site
from denizen.pages.visit import Visit
from denizen.users.erasure import GRACE
from denizen.users.model import UserMixin
from denizen.users.schemas import UpdateUser
from denizen.users.values import email_key

USER: Final = f"{USERS}/{{id}}"
_EVENTS: Final = 10
OnUser = Callable[[Visit, Any], Awaitable[Response]]
EVENTS_TOLD: Final[dict[str, Any]] = {
    "name_of": event_name,
    "changes_of": changes_of,
    "device_of": device_of,
}


class UserPages:
    """The page of a user, and those behind its buttons.

    What can be taken back is done at once and offers that; what ends something says so first.
    """

    def __init__(self, site: Site) -> None:
        self._service = service = site.service
        showing, acting = showing_of(service.users), acting_of(service.users)
        site.add(USER, showing(self.show), **STAFF)
        for name, show, act in (
            ("disable", self.show_costly("disable"), self.disable),
            ("enable", None, self.enable),
            ("end-session", None, self.end_session),
            ("end-sessions", self.show_costly("end_sessions"), self.end_sessions),
            ("reset-password", self.show_costly("reset_password"), self.reset_password),
            ("resend", None, self.resend),
            ("delete", self.show_costly("delete"), self.delete),
            ("erase", self.show_costly("erase"), self.erase),
            ("keep", None, self.keep),
        ):
            site.add(f"{USER}/{name}", show and showing(show), acting(act), **ADMINS)

    async def show(self, visit: Visit, user: UserMixin) -> Response:
        """Show what is known, where they are signed in, and to admins what happened last."""
        service, events, names = self._service, None, {}
        if visit.me["role"] == "admin":
            events = (await service.audit.list_events(user_id=user.id, limit=_EVENTS)).items
            names = await service.audit.names_of(event.actor_id for event in events)
        return visit.page(
            "console/users/user.html",
            user=user,
            sessions=await service.sessions.list_sessions(user.id),
            events=events,
            names=names,
            **TOLD,
            **EVENTS_TOLD,
        )

    def show_costly(self, act: str) -> OnUser:
        """Give the page that says what an act ends, before it is done."""

        async def show(visit: Visit, user: UserMixin) -> Response:
            sessions = await self._service.sessions.list_sessions(user.id)
            return visit.page(
                f"console/users/{act}.html",
                user=user,
                sessions=len(sessions),
                last_day=visit.now + GRACE,
            )

        return show

    async def disable(self, visit: Visit, user: UserMixin) -> Response:
        """Keep them from signing in; every session ends."""
        await self._service.users.update_user(
            user.id, UpdateUser(is_active=False), spare_self=True, actor=why(visit), db=visit.db
        )
        said = visit.gettext("The account is disabled, and signed out everywhere.")
        return visit.leave(path_of(user), say=said, undo=f"{path_of(user)}/enable")

    async def enable(self, visit: Visit, user: UserMixin) -> Response:
        """Let them sign in again."""
        await self._service.users.update_user(
            user.id, UpdateUser(is_active=True), actor=visit.actor, db=visit.db
        )
        said = visit.gettext("The account is enabled.")
        return visit.leave(path_of(user), say=said, undo=f"{path_of(user)}/disable")

    async def end_session(self, visit: Visit, user: UserMixin) -> Response:
        """End one of their sessions; one that is over already needs nothing."""
        said = visit.gettext("The session is ended.")
        try:
            session_id = uuid.UUID(visit.value("session"))
            await self._service.sessions.end_session(
                user.id, session_id, actor=visit.actor, db=visit.db
            )
        except ValueError:
            raise HTTPException(400) from None
        except NotFoundError:
            said = visit.gettext("That session was over already.")
        return visit.leave(path_of(user), say=said)

    async def end_sessions(self, visit: Visit, user: UserMixin) -> Response:
        """End all of them, but the one that this is asked from."""
        ended = await self._service.sessions.end_all_sessions(
            user.id, but=visit.me["session_id"], actor=why(visit), db=visit.db
        )
        said = visit.ngettext("%(num)d session is ended.", "%(num)d sessions are ended.", ended)
        return visit.leave(path_of(user), say=said)

    async def reset_password(self, visit: Visit, user: UserMixin) -> Response:
        """Mail them a link; the password is good until they use it."""
        await self._service.passwords.mail_link(user.id, actor=why(visit), db=visit.db)
        said = visit.gettext("A mail with a link to set a new password goes to %(email)s.")
        return visit.leave(path_of(user), say=said % {"email": user.email})

    async def resend(self, visit: Visit, user: UserMixin) -> Response:
        """Mail them once more what lets them in."""
        kind = await self._service.users.welcome_user(user.id, actor=visit.actor, db=visit.db)
        said = visit.gettext("Nothing is missing: the address is confirmed, and a password is set.")
        if kind == "invitation":
            said = visit.gettext("A mail with a link to set a password goes to %(email)s.")
        elif kind is not None:
            said = visit.gettext("A mail with a link to confirm the address goes to %(email)s.")
        return visit.leave(path_of(user), say=said.replace("%(email)s", user.email))

    async def delete(self, visit: Visit, user: UserMixin) -> Response:
        """Sign them out and have them erased after the grace period."""
        await self._service.users.delete_user(
            user.id, spare_self=True, actor=why(visit), db=visit.db
        )
        said = visit.gettext("The account will be erased on %(day)s. Until then it can be kept.")
        day = visit.words.day(visit.now + GRACE, visit.zone)
        return visit.leave(path_of(user), say=said % {"day": day}, undo=f"{path_of(user)}/keep")

    async def erase(self, visit: Visit, user: UserMixin) -> Response:
        """Erase them at once: whoever does it has typed whom."""
        given = visit.read(email=an_email)["email"]
        if email_key(given) != user.email_key:
            raise InvalidError(Issue("email", "email_other", ""))
        await self._service.users.delete_user(
            user.id, at_once=True, spare_self=True, actor=visit.actor, db=visit.db
        )
        return visit.leave(USERS, say=visit.gettext("The account is erased."))

    async def keep(self, visit: Visit, user: UserMixin) -> Response:
        """Let them stay who were to be erased."""
        await self._service.users.keep_user(user.id, actor=visit.actor, db=visit.db)
        return visit.leave(path_of(user), say=visit.gettext("The account stays."))


def showing_of(users: Any) -> Callable[[OnUser], Answer]:
    """Make pages about the user of the path; where there is none, another can be looked for."""

    def wrap(answer: OnUser) -> Answer:
        async def show(visit: Visit) -> Response:
            try:
                user = await _user_of(visit, users)
            except NotFoundError:
                return visit.page("console/users/gone.html", status=404)
            return await answer(visit, user)

        return show

    return wrap


def acting_of(users: Any) -> Callable[[OnUser], Answer]:
    """Make acts on the user of the path."""

    def wrap(answer: OnUser) -> Answer:
        async def act(visit: Visit) -> Response:
            user = await _user_of(visit, users)
            try:
                return await answer(visit, user)
            except NotFoundError:  # by somebody else, while the page was looked at
                said = visit.gettext(
                    "Nothing was done: the account is disabled, or waits to be erased."
                )
                return visit.leave(path_of(user), say=said)

        return act

    return wrap


def path_of(user: UserMixin) -> str:
    """Give the address of a user's page."""
    return f"{USERS}/{user.id}"


def why(visit: Visit) -> Actor:
    """Give who acts, with the reason that the form tells."""
    return replace(visit.actor, reason=visit.value("reason"))


async def _user_of(visit: Visit, users: Any) -> UserMixin:
    try:
        user_id = uuid.UUID(visit.request.path_params["id"])
    except ValueError:
        raise NotFoundError from None
    user: UserMixin = await users.get_user(user_id, also_leaving=True)
    return user
