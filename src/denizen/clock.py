"""The one door for time. What expires is decided by the database's clock, moved only by tests."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import PlainSerializer, WithJsonSchema
from sqlalchemy import ColumnElement, Interval, bindparam, func, literal

Instant = ColumnElement[datetime]
# the database's time in statements that are made once, which bind `skew`
NOW: Final[Instant] = func.now() + bindparam("skew", timedelta(0), Interval)


@dataclass(slots=True)
class Clock:
    """`now()` of the database plus `skew`, which is zero outside the test kit."""

    skew: timedelta = timedelta(0)

    @property
    def db_now(self) -> Instant:
        """The database's time, as a statement asks for it."""
        return func.now() + literal(self.skew, Interval)

    def now(self) -> datetime:
        """Give this machine's time, for instants that are told and never compared."""
        return datetime.now(UTC) + self.skew


def first_id(instant: datetime) -> uuid.UUID:
    """Give the smallest UUIDv7 of a moment: a range of ids is a range of time."""
    return uuid.UUID(int=max(0, int(instant.timestamp() * 1000)) << 80)


def rfc3339(instant: datetime) -> str:
    """Give an instant as RFC 3339 in UTC, with a `Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


Rfc3339 = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
