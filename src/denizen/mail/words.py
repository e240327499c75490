"""Small rules of the two languages, and of text that strangers typed: instants, spaces, lines.

Whole sentences stand in `templates/`. No Babel here: it belongs to the pages and their extra.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from denizen.users.values import Locale

VALUE_MAX: Final = 320  # code points; an address has at most 254 octets, a username 64 code points
_MONTHS: Final[dict[Locale, tuple[str, ...]]] = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "ru": (
        *("янв.", "февр.", "мар.", "апр.", "мая", "июн."),
        *("июл.", "авг.", "сент.", "окт.", "нояб.", "дек."),
    ),
}
_RU_SPACES: Final = (
    (re.compile(r" (?=—)"), "\u00a0"),  # no line begins with a dash
    (re.compile(r"\b([авикосуя]) ", re.IGNORECASE), "\\1\u00a0"),  # nor ends with a preposition
)
_PARAGRAPHS: Final = re.compile(r"\n[ \n]*\n")
_LINE_BREAKS: Final = re.compile(r" *\n *")


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant as people read it: `3 Nov 2026, 14:05 UTC`."""

    at: datetime
    locale: Locale

    def __str__(self) -> str:
        """Give day and time."""
        return f"{self.day}, {self.at.astimezone(UTC):%H:%M} UTC"

    @property
    def day(self) -> str:
        """The day alone, in UTC."""
        at = self.at.astimezone(UTC)
        return f"{at.day} {_MONTHS[self.locale][at.month - 1]} {at.year}"


def one_line(text: str, length: int = VALUE_MAX) -> str:
    """Give the text as part of a line: no line breaks, nothing invisible, not endless."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: length + 1])
    return line if len(line) <= length else f"{line[: length - 1]}…"


def paragraphs(text: str) -> list[str]:
    """Split at empty lines and join the lines in between, which are wrapped for the template."""
    parts = (part.strip(" \n") for part in _PARAGRAPHS.split(text))
    return [_LINE_BREAKS.sub(" ", part) for part in parts if part]


def typeset(text: str, locale: Locale) -> str:
    """Put no-break spaces where the language wants them."""
    if locale == "ru":
        for space, kept in _RU_SPACES:
            text = space.sub(kept, text)
    return text
