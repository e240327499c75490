"""Acts on many users: the page that says whom they reach, and the report."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import ImmutableMultiDict
from starlette.responses import Response

from denizen.pages.console import ADMINS
from denizen.pages.console.listing import USERS, Listing
from denizen.pages.console.user import why
from denizen.pages.console.users import TOLD
from denizen.pages.site import Site
from denizen.pages.visit import Visit
from denizen.pages.words import Words
from denizen.selections.rules import ACTS, AT_ONCE, Act, Report, Selection, Skip
from denizen.users.erasure import GRACE

BULK: Final = f"{USERS}/bulk"
_SHOWN: Final = 10


class BulkPages:
    """The page between the ticks in the list and what is done to the ticked."""

    def __init__(self, site: Site) -> None:
        self._selections = site.service.selections
        site.add(BULK, self.show, self.act, **ADMINS)

    async def show(self, visit: Visit) -> Response:
        """Say whom it reaches, how many sessions end, who is skipped and why.

        All that match a filter are those who were there at this moment: who comes later is not met.
        """
        told = visit.form or visit.request.query_params
        listing, act = Listing.of(told), _act(told)
        selection = _selection(told, listing)
        if act is None or not selection.who:
            said = visit.gettext("Nobody is selected. Tick users, then choose what to do.")
            return visit.leave(listing.address, say=said)
        preview = await self._selections.look(selection, act, actor=visit.actor)
        return visit.page(
            "console/users/bulk.html",
            act=act,
            listing=listing,
            preview=preview,
            ids=told.getlist("id") if "all" not in told else (),
            moment=told.get("before") or preview.moment.isoformat(),
            shown=_SHOWN,
            most=AT_ONCE,
            last_day=visit.now + GRACE,
            skip_name=skip_name,
            **TOLD,
        )

    async def act(self, visit: Visit) -> Response:
        """Do it, in as many units as it takes, and tell."""
        form = visit.form
        listing, act, expected = Listing.of(form), _act(form), form.get("expected", "")
        selection = _selection(form, listing)
        if act is None or not selection.who or not expected:
            return await self.show(visit)
        report = await self._selections.apply(selection, act, expected=expected, actor=why(visit))
        return visit.leave(listing.address, say=said_of(visit, act, report))


def said_of(visit: Visit, act: Act, report: Report) -> str:
    """Give the report as sentences."""
    told = {
        "disable": lambda n: visit.ngettext(
            "%(num)d account is disabled.", "%(num)d accounts are disabled.", n
        ),
        "enable": lambda n: visit.ngettext(
            "%(num)d account is enabled.", "%(num)d accounts are enabled.", n
        ),
        "end_sessions": lambda n: visit.ngettext(
            "%(num)d account is signed out everywhere.",
            "%(num)d accounts are signed out everywhere.",
            n,
        ),
        "delete": lambda n: visit.ngettext(
            "%(num)d account will be erased.", "%(num)d accounts will be erased.", n
        ),
    }
    sentences = [told[act](report.done)]
    if not report.is_whole:
        sentences.append(visit.gettext("Then the database went away. Do it again for the rest."))
    if report.skipped:
        skipped = (f"{skip_name(visit.words, one)}: {n}" for one, n in report.skipped.items())
        said = visit.gettext("Skipped (%(reasons)s).")
        sentences.append(said % {"reasons": ", ".join(skipped)})
    return " ".join(sentences)


def skip_name(words: Words, reason: Skip) -> str:
    """Give why somebody is skipped."""
    names: dict[Skip, str] = {
        "self": words.gettext("yourself"),
        "already": words.gettext("is so already"),
        "leaving": words.gettext("waits to be erased"),
        "last_admin": words.gettext("the last active administrator"),
    }
    return names[reason]


def _act(told: Mapping[str, str]) -> Act | None:
    return next((act for act in ACTS if act == told.get("act")), None)


def _selection(told: ImmutableMultiDict[str, Any], listing: Listing) -> Selection:
    if "all" in told:
        before = None
        with suppress(ValueError):
            before = datetime.fromisoformat(told.get("before", "")).astimezone(UTC)
        return Selection(replace(listing.wanted, created_before=before))
    ids = []
    for text in told.getlist("id"):
        with suppress(ValueError):
            ids.append(uuid.UUID(text))
    return Selection(ids)
