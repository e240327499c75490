"""The two languages of the pages: gettext's catalogues, and instants as people read them.

English stands in the code and the templates; `locale/ru.po` is read and compiled in memory when
the service starts. Sentences for errors stand in `complaints.py`.
"""

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from gettext import NullTranslations
from importlib.resources import files
from typing import Final

from babel.dates import format_datetime, format_timedelta, get_timezone
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import Translations

from denizen.mail.words import typeset
from denizen.users.values import LOCALES, Locale

NAMES: Final[Mapping[Locale, str]] = {"en": "English", "ru": "Русский"}
_RECENT: Final = timedelta(days=7)


class Words:
    """One language.

    Attributes:
        locale: its code.
        name: what its speakers call it.
    """

    def __init__(self, locale: Locale) -> None:
        self.locale: Locale = locale
        self.name = NAMES[locale]
        found = _catalogue(locale)
        self.gettext = found.gettext
        self.ngettext = found.ngettext
        self.pgettext = found.pgettext
        self.npgettext = found.npgettext

    def moment(self, at: datetime, zone: tzinfo = UTC) -> str:
        """Give day and time, and in which zone: `3 Nov 2026, 14:05 UTC`."""
        return self._formatted(at, "d MMM y, HH:mm zzz", zone)

    def day(self, at: datetime, zone: tzinfo = UTC) -> str:
        """Give the day: `3 Nov 2026`."""
        return self._formatted(at, "d MMM y", zone)

    def short_day(self, at: datetime) -> str:
        """Give the day of an instant in its own zone, of this year or so: `3 Nov`."""
        return format_datetime(at, "d MMM", tzinfo=at.tzinfo, locale=self.locale)

    def zone_name(self, at: datetime, zone: tzinfo = UTC) -> str:
        """Give what a zone is called at an instant: `UTC`, `GMT+9`."""
        return self._formatted(at, "zzz", zone)

    def ago(self, at: datetime, now: datetime, zone: tzinfo = UTC) -> str:
        """Give how long ago it was within a week, and else the day."""
        passed = now - at
        if not timedelta(0) <= passed < _RECENT:
            return self.day(at, zone)
        if passed < timedelta(minutes=1):
            return self.gettext("just now")
        return format_timedelta(-passed, add_direction=True, locale=self.locale)

    def later(self, seconds: int) -> str:
        """Give when that will be: `in 3 minutes`."""
        span = timedelta(seconds=seconds)
        return format_timedelta(span, threshold=1.5, add_direction=True, locale=self.locale)

    def span(self, seconds: float) -> str:
        """Give how long that is: `3 minutes`."""
        return format_timedelta(timedelta(seconds=seconds), threshold=1.5, locale=self.locale)

    def number(self, number: float) -> str:
        """Give a number with its digits in groups: `12,400`."""
        return format_decimal(number, locale=self.locale)

    def _formatted(self, at: datetime, pattern: str, zone: tzinfo) -> str:
        return format_datetime(at, pattern, tzinfo=zone, locale=self.locale)


def all_words() -> dict[Locale, Words]:
    """Read every language."""
    return {locale: Words(locale) for locale in LOCALES}


def zone_of(name: str) -> tzinfo:
    """Give the time zone that a browser names; UTC when it is none."""
    try:
        return get_timezone(name[:64]) if name else UTC
    except (LookupError, ValueError, OSError):
        return UTC


@cache
def _catalogue(locale: Locale) -> NullTranslations:
    if locale == "en":
        return NullTranslations()
    source = files("denizen.pages") / "locale" / f"{locale}.po"
    catalogue = read_po(io.BytesIO(source.read_bytes()), locale=locale)
    for message in catalogue:
        said = message.string or ""
        if isinstance(said, str):
            message.string = typeset(said, locale)
        else:
            message.string = tuple(typeset(form, locale) for form in said)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)
