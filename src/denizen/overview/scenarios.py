"""The one use case of the overview: to look how it is, and how it went day by day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from denizen.audit.queries import DayCounts, count_by_day
from denizen.db.model import table_of
from denizen.db.unit import Db
from denizen.mail.queries import MailCounts, count_mails_by_day
from denizen.overview.queries import People, count_people
from denizen.parts import Parts
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)

SIGN_UPS: Final = ("user.registered", "user.created")
SIGN_INS: Final = ("session.started",)
FAILURES: Final = ("session.refused",)
# so many failed sign-ins in a day are told, where they are so many times as many as on others
MANY_FAILURES: Final = 30
TIMES_AS_MANY: Final = 3


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on a day; None of events, or of mails, that are too many to be counted."""

    begins: datetime
    sign_ups: int | None
    sign_ins: int | None
    failures: int | None
    mails_sent: int | None
    mails_failed: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """How it is.

    Attributes:
        people: how many users there are.
        days: day by day, the last of them today.
        events: what was counted of the audit.
        mails: what was counted of the outbox.
    """

    people: People
    days: Sequence[Day]
    events: DayCounts
    mails: MailCounts

    @property
    def is_new(self) -> bool:
        """Whether there is nobody yet but the first admin."""
        return not self.people.is_about and self.people.users <= 1

    @property
    def has_many_failures(self) -> bool:
        """Whether sign-ins fail today far more often than on the days before."""
        *before, today = [day.failures for day in self.days if day.failures is not None] or [0]
        usual = sum(before) / len(before) if before else 0.0
        return today >= MANY_FAILURES and today > TIMES_AS_MANY * usual


class OverviewScenarios(Generic[U]):
    """Looking at everything at once."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts

    async def look(self, midnights: Sequence[datetime]) -> Overview:
        """Count users, and the events and mails of some days, in a statement each.

        Args:
            midnights: when the days begin, wherever whoever looks is; the last is today's.
        """
        tables, users = self._parts.tables, table_of(self._parts.user_model)

        async def unit(db: Db) -> Overview:
            people = await count_people(db, users)
            events = await count_by_day(db, tables.audit, midnights)
            mails = await count_mails_by_day(db, tables.outbox, midnights)
            days = [_day(number, at, events, mails) for number, at in enumerate(midnights)]
            return Overview(people, days, events, mails)

        return await self._parts.db.run(unit, read_only=True)


def _day(number: int, begins: datetime, events: DayCounts, mails: MailCounts) -> Day:
    has_events, has_mails = events.since <= begins, mails.since <= begins
    return Day(
        begins,
        events.of(number, SIGN_UPS) if has_events else None,
        events.of(number, SIGN_INS) if has_events else None,
        events.of(number, FAILURES) if has_events else None,
        mails.sent.get(number, 0) if has_mails else None,
        mails.failed.get(number, 0) if has_mails else None,
    )
