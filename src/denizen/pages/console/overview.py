"""The first page of the console: what needs attention, and how it goes day by day."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Row
from starlette.responses import Response

from denizen.audit.model import NOBODY
from denizen.device import device_of
from denizen.doctor.examination import examine
from denizen.doctor.findings import Finding
from denizen.keys.scenarios import Key
from denizen.overview.queries import COUNTED
from denizen.overview.scenarios import Day, Overview
from denizen.pages.console import CONSOLE, STAFF
from denizen.pages.console.changes import changes_of
from denizen.pages.console.findings import finding_text
from denizen.pages.events import event_name
from denizen.pages.site import Site
from denizen.pages.visit import Visit

DAYS: Final = 14
LATEST: Final = 8  # events
SLOW: Final = timedelta(minutes=10)  # mails leave within seconds


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that somebody should look after, and where."""

    level: Literal["warn", "bad"]
    said: str
    path: str
    label: str


class OverviewPages:
    """The page that the console opens with."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        site.add(CONSOLE, self.show, **STAFF)

    async def show(self, visit: Visit) -> Response:
        """Show how it is and how it went; to admins also what happened last, and what to mend."""
        service = self._service
        found = await service.overview.look(_midnights(visit))
        findings: Sequence[Finding] = ()
        events: Sequence[Row[Any]] = ()
        names: Mapping[uuid.UUID, str] = {}
        keys: Sequence[Key] = ()
        if visit.me["role"] == "admin":
            findings = await examine(service.parts.db, service.settings)
            events = (await service.audit.list_events(limit=LATEST)).items
            people = [one for event in events for one in (event.actor_id, event.user_id)]
            names = await service.audit.names_of(people)
            keys = await service.keys.list_keys() if found.is_new else []
        return visit.page(
            "console/overview.html",
            found=found,
            people=found.people,
            most=COUNTED,
            attention=[] if found.is_new else list(_attention(visit, found, findings)),
            charts=_charts(visit, found.days),
            has_server=service.settings.mail_server is not None,
            has_key=bool(keys),
            events=events,
            names=names,
            nobody=NOBODY,
            name_of=event_name,
            changes_of=changes_of,
            device_of=device_of,
        )


def _midnights(visit: Visit) -> list[datetime]:
    """Give when the last days began, in the zone of the browser."""
    today = visit.now.astimezone(visit.zone).date()
    days = (today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1))
    return [datetime.combine(day, time(), visit.zone) for day in days]


def _attention(visit: Visit, found: Overview, findings: Sequence[Finding]) -> Iterator[Attention]:
    gettext, mails = visit.gettext, found.mails
    for finding in _worst(findings):
        level: Literal["warn", "bad"] = "bad" if finding.status == "fail" else "warn"
        said = f"{finding_text(visit.words, finding)}."
        yield Attention(level, said, f"{CONSOLE}/system", gettext("All that was looked at"))
    if failed := sum(mails.failed.values()):
        said = visit.ngettext("%(num)d mail was given up.", "%(num)d mails were given up.", failed)
        yield Attention("bad", said, f"{CONSOLE}/system#outbox", gettext("See why"))
    if mails.waiting_since is not None and mails.waiting_since < visit.now - SLOW:
        since = {"time": visit.words.ago(mails.waiting_since, visit.now, visit.zone)}
        said = gettext("Mails are not leaving: the first that waits is from %(time)s.") % since
        yield Attention("bad", said, f"{CONSOLE}/system#outbox", gettext("See why"))
    if found.has_many_failures:
        said = gettext("Far more sign-ins failed today than on other days.")
        path = f"{CONSOLE}/audit?action=session.refused"
        yield Attention("warn", said, path, gettext("Look at them"))


def _worst(findings: Sequence[Finding]) -> list[Finding]:
    """Give what is worst, and that mails go nowhere: everything else may be well without them."""
    bad = sorted((one for one in findings if one.status != "ok"), key=lambda one: one.status)
    mailless = [one for one in bad if one.code == "no_mail_server"]
    return [*[one for one in bad if one not in mailless][:1], *mailless]


@dataclass(frozen=True, slots=True)
class Series:
    """The numbers of a chart, a day each, and what they are called; None was not counted."""

    name: str
    kind: str
    numbers: Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its name, the sentence that sums it up, its series, the days."""

    name: str
    summary: str
    series: Sequence[Series]
    days: Sequence[datetime]

    @property
    def top(self) -> int:
        """The highest number of any day, all series on top of each other; at least 1."""
        columns = zip(*(one.numbers for one in self.series), strict=True)
        return max([1, *(sum(number or 0 for number in column) for column in columns)])


def _charts(visit: Visit, days: Sequence[Day]) -> list[Chart]:
    gettext = visit.gettext

    def series(name: str, kind: str, number: Callable[[Day], int | None]) -> Series:
        return Series(name, kind, [number(day) for day in days])

    named = [
        (gettext("Sign-ups"), [series(gettext("Sign-ups"), "one", lambda day: day.sign_ups)]),
        (
            gettext("Sign-ins"),
            [
                series(gettext("Signed in"), "one", lambda day: day.sign_ins),
                series(gettext("Refused"), "two", lambda day: day.failures),
            ],
        ),
        (
            gettext("Mails"),
            [
                series(gettext("Sent"), "one", lambda day: day.mails_sent),
                series(gettext("Given up"), "two", lambda day: day.mails_failed),
            ],
        ),
    ]
    begins = [day.begins for day in days]
    return [Chart(name, _summary(visit, found), found, begins) for name, found in named]


def _summary(visit: Visit, found: Sequence[Series]) -> str:
    """Give the total and today's number of each series."""
    said = visit.gettext("%(name)s: %(all)s in %(days)s days, %(today)s today.")
    number = visit.words.number
    return " ".join(
        said
        % {
            "name": one.name,
            "all": number(sum(filter(None, one.numbers))),
            "days": len(one.numbers),
            "today": number(one.numbers[-1] or 0),
        }
        for one in found
    )
