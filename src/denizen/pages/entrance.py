"""The pages of whoever is not signed in: the start, signing in, registering, a new link."""

from typing import Final

from starlette.responses import Response

from denizen.pages import cookies
from denizen.pages.site import Site
from denizen.pages.visit import CONSOLE, HOME, Visit, local_path
from denizen.sessions.model import SESSION_LIFE
from denizen.users.values import Role, parse_email

# not "cookies": that would sign the person out of every service under the same domain
_CLEAR: Final = {"Clear-Site-Data": '"cache", "storage"'}


def an_email(text: str) -> str:
    """Give the address in a field, into which blanks are easily pasted."""
    return parse_email(text.strip())


class EntrancePages:
    """The pages in front of an account."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._service = site.service
        self._sessions = site.service.sessions
        site.add("/", self.front)
        site.add("/account/sign-in", self.show_sign_in, self.sign_in, acts_once=False)
        site.add("/account/sign-out", None, self.sign_out, acts_once=False, headers=_CLEAR)
        site.add("/account/register", self.show_register, self.register)
        site.add("/account/forgot", self.show_forgot, self.forgot)
        site.add("/account/verify", self.show_verify, self.verify)
        site.add("/account/mail-sent", self.mail_sent)

    async def front(self, visit: Visit) -> Response:
        """Say what this is and where to go."""
        return visit.page("entrance/front.html")

    async def show_sign_in(self, visit: Visit) -> Response:
        """Ask for address and password; whoever is signed in has no need of it."""
        wanted = visit.value("next") or visit.query("next")
        is_asked_for = visit.request.method == "POST" or bool(visit.query("again"))
        if visit.user is not None and not is_asked_for:
            return visit.leave(local_path(wanted, _home_of(visit.me["role"])), say=visit.said)
        keeps = self._site.is_keeping_cookies(visit.request)
        return visit.page(
            "entrance/sign_in.html", next=local_path(wanted, ""), is_keeping_cookies=keeps
        )

    async def sign_in(self, visit: Visit) -> Response:
        """Sign in: a session of its own, whatever cookie came along (T-SES-3)."""
        if "forgot" in visit.form:
            return await self.show_forgot(visit)
        given = visit.read(email=an_email, password=str)
        started = await self._sessions.sign_in(given["email"], given["password"], actor=visit.actor)
        if visit.user is not None:
            await self._end(visit)
        visit.put(cookies.SESSION, started.token.text, SESSION_LIFE)
        visit.put(cookies.GUARD, "")
        return visit.leave(local_path(visit.value("next"), _home_of(started.user.role)))

    async def sign_out(self, visit: Visit) -> Response:
        """End the session of this browser."""
        if visit.user is not None:
            await self._end(visit)
        visit.put(cookies.SESSION, "")
        return visit.leave("/account/sign-in", say=visit.gettext("You are signed out."))

    async def show_register(self, visit: Visit) -> Response:
        """Ask for an address, where strangers may register."""
        return visit.page("entrance/register.html")

    async def register(self, visit: Visit) -> Response:
        """Mail a link, or word that there is an account; the next page is the same."""
        email = visit.read(email=an_email)["email"]
        await self._service.registrations.request(
            email, visit.words.locale, actor=visit.actor, db=visit.db
        )
        return self._sent(visit, email)

    async def show_forgot(self, visit: Visit) -> Response:
        """Ask whose password was forgotten."""
        return visit.page("entrance/forgot.html")

    async def forgot(self, visit: Visit) -> Response:
        """Mail a link to set a new one, if there is such an account."""
        email = visit.read(email=an_email)["email"]
        await self._service.passwords.request_reset(
            email, visit.words.locale, actor=visit.actor, db=visit.db
        )
        return self._sent(visit, email)

    async def show_verify(self, visit: Visit) -> Response:
        """Ask which address is to be confirmed."""
        return visit.page("entrance/verify.html")

    async def verify(self, visit: Visit) -> Response:
        """Mail the link to confirm an address once more, if an account waits for it."""
        email = visit.read(email=an_email)["email"]
        await self._service.emails.request_verification(
            email, visit.words.locale, actor=visit.actor, db=visit.db
        )
        return self._sent(visit, email)

    async def mail_sent(self, visit: Visit) -> Response:
        """Say what to do until the mail is there."""
        return visit.page("entrance/mail_sent.html")

    async def _end(self, visit: Visit) -> None:
        session_id = visit.me["session_id"]
        await self._sessions.end_session(visit.me["id"], session_id, actor=visit.actor)

    def _sent(self, visit: Visit, email: str) -> Response:
        said = visit.gettext("A mail is on its way to %(email)s.") % {"email": email}
        return visit.leave("/account/mail-sent", say=said)


def _home_of(role: Role) -> str:
    return HOME if role == "user" else CONSOLE
