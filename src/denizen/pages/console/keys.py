"""API keys: the list, a new one whose secret is shown once, and the end of one."""

from datetime import timedelta
from typing import Final

from starlette.responses import Response

from denizen.errors import InvalidError, Issue
from denizen.keys.model import NAME_MAX, SCOPES
from denizen.pages.complaints import MISSING
from denizen.pages.console import ADMINS, id_in_path
from denizen.pages.site import Site
from denizen.pages.visit import Visit
from denizen.pages.words import Words

KEYS: Final = "/console/keys"
LIVES: Final = ("30", "90", "365", "")  # days; "": no end


class KeyPages:
    """The pages of API keys."""

    def __init__(self, site: Site) -> None:
        self._keys = site.service.keys
        site.add(KEYS, self.show, **ADMINS)
        site.add(f"{KEYS}/new", self.show_new, self.create, **ADMINS)
        site.add(f"{KEYS}/{{id}}/revoke", self.show_revoke, self.revoke, **ADMINS)

    async def show(self, visit: Visit) -> Response:
        """List the keys, the newest first."""
        keys = await self._keys.list_keys()
        return visit.page("console/keys/list.html", keys=keys)

    async def show_new(self, visit: Visit) -> Response:
        """Ask what the key is for, and what it may do."""
        return visit.page(
            "console/keys/new.html",
            scopes=scope_names(visit.words),
            lives={days: _life_name(visit.words, days) for days in LIVES},
            name_max=NAME_MAX,
        )

    async def create(self, visit: Visit) -> Response:
        """Make the key and show it, this once."""
        scopes = visit.form.getlist("scope")
        if not scopes:
            raise InvalidError(*_missing(visit))
        given = visit.read(name=str)
        days = visit.value("life")
        if days not in LIVES:
            raise InvalidError(Issue("life", "life_invalid", ""))
        secret, key = await self._keys.create_key(
            given["name"].strip(),
            scopes,
            life=timedelta(days=int(days)) if days else None,
            actor=visit.actor,
            db=visit.db,
        )
        return visit.page(
            "console/keys/made.html", secret=secret, key=key, scopes=scope_names(visit.words)
        )

    async def show_revoke(self, visit: Visit) -> Response:
        """Say what ends, and ask for the name."""
        key = await self._keys.get_key(id_in_path(visit))
        return visit.page("console/keys/revoke.html", key=key, scopes=scope_names(visit.words))

    async def revoke(self, visit: Visit) -> Response:
        """End it, if the name is the one that was typed."""
        given = visit.read(name=str)
        await self._keys.revoke_key(
            id_in_path(visit), named=given["name"], actor=visit.actor, db=visit.db
        )
        said = visit.gettext("The key “%(name)s” is revoked.") % {"name": given["name"].strip()}
        return visit.leave(KEYS, say=said)


def scope_names(words: Words) -> dict[str, str]:
    """Give what each scope allows, in words."""
    gettext = words.gettext
    names = {
        "users:read": gettext("read users"),
        "users:write": gettext("create, change and delete ordinary users"),
        "audit:read": gettext("read the audit log"),
        "sessions:read": gettext("ask whose a session token is"),
        "metrics:read": gettext("read metrics"),
    }
    return {scope: names[scope] for scope in SCOPES}


def _life_name(words: Words, days: str) -> str:
    if not days:
        return words.gettext("No end")
    return words.ngettext("%(num)d day", "%(num)d days", int(days)) % {"num": int(days)}


def _missing(visit: Visit) -> list[Issue]:
    issues = [Issue("scope", MISSING, "")]
    return issues if visit.value("name").strip() else [Issue("name", MISSING, ""), *issues]
