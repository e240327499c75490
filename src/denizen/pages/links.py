"""The pages behind the links in mails: GET shows a form or one button, POST uses the link up.

Programs that look for viruses open every link in a mail, so that looking must change nothing and
sign nobody in.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from denizen.errors import TokenInvalidError
from denizen.pages.entrance import an_email
from denizen.pages.site import Site
from denizen.pages.visit import HOME, Visit
from denizen.passwords.rules import check_password
from denizen.tokens.model import Purpose
from denizen.users.values import parse_username

NO_REFERRER: Final = {"Referrer-Policy": "no-referrer"}  # the address holds the token
SIGN_IN: Final = "/account/sign-in"
Use = Callable[[Visit, str], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Link:
    """What the page of a purpose asks for, and what uses it up."""

    template: str
    use: Use


class LinkPages:
    """A page for each purpose of a token, at `/account/<purpose>?token=…`."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        for purpose, link in {
            Purpose.REGISTRATION: Link("registration.html", self.register),
            Purpose.FIRST_ADMIN: Link("first_admin.html", self.make_first_admin),
            Purpose.PASSWORD_RESET: Link("password_reset.html", self.set_password),
            Purpose.EMAIL_VERIFICATION: Link("email_verification.html", self.verify_email),
            Purpose.EMAIL_CHANGE: Link("email_change.html", self.change_email),
            Purpose.EMAIL_UNDO: Link("email_undo.html", self.undo_email),
            Purpose.DELETION_UNDO: Link("deletion_undo.html", self.undo_deletion),
        }.items():
            show, act = self._showing(purpose, link), _using(link)
            site.add(f"/account/{purpose}", show, act, headers=NO_REFERRER)

    async def register(self, visit: Visit, token: str) -> Response:
        """Make the account with what the owner of the mailbox chooses."""
        given = visit.read(username=parse_username, password=self._a_password)
        await self._service.registrations.confirm(token, **given, actor=visit.actor)
        return visit.leave(SIGN_IN, say=visit.gettext("Your account is ready. Sign in."))

    async def make_first_admin(self, visit: Visit, token: str) -> Response:
        """Make the first admin, by the link that the service printed."""
        given = visit.read(email=an_email, username=parse_username, password=self._a_password)
        await self._service.registrations.confirm_first_admin(token, **given, actor=visit.actor)
        return visit.leave(SIGN_IN, say=visit.gettext("The administrator's account is ready."))

    async def set_password(self, visit: Visit, token: str) -> Response:
        """Set a password: a forgotten one anew, or the first one of somebody invited."""
        given = visit.read(password=self._a_password)
        await self._service.passwords.confirm_reset(token, **given, actor=visit.actor)
        said = visit.gettext("The password is set, and every device is signed out. Sign in.")
        return visit.leave(SIGN_IN, say=said)

    async def verify_email(self, visit: Visit, token: str) -> Response:
        """Confirm the address of an account that somebody else made."""
        await self._service.emails.confirm_verification(token, actor=visit.actor, db=visit.db)
        return visit.leave(HOME, say=visit.gettext("Your e-mail address is confirmed."))

    async def change_email(self, visit: Visit, token: str) -> Response:
        """Move the account to its new address."""
        await self._service.emails.confirm_change(token, actor=visit.actor, db=visit.db)
        return visit.leave(HOME, say=visit.gettext("Your e-mail address is changed."))

    async def undo_email(self, visit: Visit, token: str) -> Response:
        """Give the account its old address back."""
        await self._service.emails.undo_change(token, actor=visit.actor, db=visit.db)
        said = visit.gettext(
            "The account has its old address again. A mail to it has a link to set a new password."
        )
        return visit.leave(SIGN_IN, say=said)

    async def undo_deletion(self, visit: Visit, token: str) -> Response:
        """Keep an account that was to be erased."""
        await self._service.account.undo_deletion(token, actor=visit.actor, db=visit.db)
        return visit.leave(SIGN_IN, say=visit.gettext("Your account stays. Sign in."))

    def _showing(self, purpose: Purpose, link: Link) -> Callable[[Visit], Awaitable[Response]]:
        async def show(visit: Visit) -> Response:
            token = _token(visit)
            try:
                email = await self._service.tokens.look(purpose, token)
            except TokenInvalidError:
                return visit.page("links/dead.html", status=400, purpose=purpose.value)
            return visit.page(f"links/{link.template}", token=token, email=email)

        return show

    def _a_password(self, text: str) -> str:
        """Refuse what is refused in any case, before it costs a hash; the rest comes later."""
        check_password(text, minimum=self._service.settings.password_min)
        return text


def _using(link: Link) -> Callable[[Visit], Awaitable[Response]]:
    async def act(visit: Visit) -> Response:
        return await link.use(visit, _token(visit))

    return act


def _token(visit: Visit) -> str:
    return visit.value("token") or visit.query("token")
