"""My account: one row per fact, each with a page to change it."""

from typing import Any, Final

from starlette.responses import Response

from denizen.account.schemas import ExportView
from denizen.errors import InvalidError, Issue
from denizen.pages import cookies
from denizen.pages.complaints import MISSING
from denizen.pages.entrance import an_email
from denizen.pages.site import Site
from denizen.pages.visit import HOME, Visit, local_path
from denizen.passwords.rules import check_password
from denizen.users.erasure import GRACE
from denizen.users.values import LOCALES, ROLES, Locale, parse_username

EMAIL: Final = "/account/email"
_DOWNLOAD: Final = {"Content-Disposition": 'attachment; filename="account-data.json"'}


class AccountPages:
    """The pages of whoever is signed in, about themselves."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._service = site.service
        mine: dict[str, Any] = {"roles": ROLES}
        site.add(HOME, self.show, **mine)
        site.add("/account/username", self.show_username, self.change_username, **mine)
        site.add("/account/password", self.show_password, self.change_password, **mine)
        site.add(EMAIL, self.show_email, self.change_email, **mine)
        site.add("/account/email/cancel", None, self.cancel_email, **mine)
        site.add("/account/data", self.show_data, **mine)
        site.add("/account/data/download", self.download, headers=_DOWNLOAD, **mine)
        site.add("/account/delete", self.show_delete, self.delete, acts_once=False, **mine)
        site.add("/account/language", self.show_language, self.change_language, acts_once=False)
        site.add("/.well-known/change-password", self.lead_to_password)

    async def show(self, visit: Visit) -> Response:
        """Show what is known of the account, with a link to change each."""
        me, service = visit.me["id"], self._service
        changes = await service.audit.list_events(user_id=me, action="password.changed", limit=1)
        return visit.page(
            "account/summary.html",
            pending=await service.emails.pending_change(me),
            password_changed=next((event.at for event in changes), None),
            devices=len(await service.sessions.list_sessions(me)),
        )

    async def show_username(self, visit: Visit) -> Response:
        """Ask for another username."""
        return visit.page("account/username.html")

    async def change_username(self, visit: Visit) -> Response:
        """Change it."""
        given = visit.read(username=parse_username)
        await self._service.account.update_me(
            visit.me["id"], {**given}, actor=visit.actor, db=visit.db
        )
        return visit.leave(HOME, say=visit.gettext("Your username is changed."))

    async def lead_to_password(self, visit: Visit) -> Response:
        """Lead password managers to the page (W3C, A Well-Known URL for Changing Passwords)."""
        return visit.leave("/account/password")

    async def show_password(self, visit: Visit) -> Response:
        """Ask for the password as it is, and as it is to be."""
        return visit.page("account/password.html")

    async def change_password(self, visit: Visit) -> Response:
        """Change it; every other device is signed out."""
        given = visit.read(current_password=str, password=self._a_password)
        await self._service.passwords.change_password(
            visit.me["id"],
            given["current_password"],
            given["password"],
            actor=visit.actor,
            session_id=visit.me["session_id"],
            db=visit.db,
        )
        said = visit.gettext("Your password is changed, and every other device is signed out.")
        return visit.leave(HOME, say=said)

    async def show_email(self, visit: Visit) -> Response:
        """Show the address, the one that waits, and ask for another."""
        pending = await self._service.emails.pending_change(visit.me["id"])
        return visit.page("account/email.html", pending=pending)

    async def change_email(self, visit: Visit) -> Response:
        """Mail a link to the new address, and word to the old one."""
        given = visit.read(email=an_email, current_password=str)
        await self._service.emails.request_change(
            visit.me["id"],
            given["email"],
            given["current_password"],
            actor=visit.actor,
            db=visit.db,
        )
        said = visit.gettext("A mail with a link is on its way to %(email)s.")
        return visit.leave(EMAIL, say=said % {"email": given["email"]})

    async def cancel_email(self, visit: Visit) -> Response:
        """Call the change off."""
        await self._service.emails.cancel_change(visit.me["id"], actor=visit.actor, db=visit.db)
        return visit.leave(EMAIL, say=visit.gettext("The address stays as it is."))

    async def show_data(self, visit: Visit) -> Response:
        """Say what there is to take along."""
        return visit.page("account/data.html")

    async def download(self, visit: Visit) -> Response:
        """Give all that is held about the person, as the API does."""
        held = await self._service.account.export(visit.me["id"])
        view = ExportView.of(held, visit.me["session_id"])
        return Response(view.model_dump_json(indent=2), media_type="application/json")

    async def show_delete(self, visit: Visit) -> Response:
        """Say what goes, and until when it can be undone."""
        return visit.page("account/delete.html", last_day=visit.now + GRACE)

    async def delete(self, visit: Visit) -> Response:
        """Sign out everywhere; a link in a mail undoes it for 30 days."""
        given = visit.read(current_password=str)
        await self._service.account.request_deletion(
            visit.me["id"], given["current_password"], actor=visit.actor
        )
        visit.put(cookies.SESSION, "")
        said = visit.gettext(
            "Your account will be erased on %(day)s. We have mailed you a link that keeps it."
        )
        day = visit.words.day(visit.now + GRACE, visit.zone)
        return visit.leave("/account/sign-in", say=said % {"day": day})

    async def show_language(self, visit: Visit) -> Response:
        """Ask for a language."""
        return visit.page("account/language.html", next=local_path(visit.query("next")))

    async def change_language(self, visit: Visit) -> Response:
        """Choose it for this browser, and for the account of whoever is signed in."""
        chosen = visit.read(locale=_a_locale)["locale"]
        if visit.user is not None:
            await self._service.account.update_me(
                visit.me["id"], {"locale": chosen}, actor=visit.actor
            )
        visit.put(cookies.LANGUAGE, chosen, cookies.YEAR)
        return visit.leave(local_path(visit.value("next")), say=visit.said)

    def _a_password(self, text: str) -> str:
        return check_password(text, minimum=self._service.settings.password_min)


def _a_locale(text: str) -> Locale:
    for locale in LOCALES:
        if locale == text:
            return locale
    raise InvalidError(Issue("locale", MISSING, ""))
