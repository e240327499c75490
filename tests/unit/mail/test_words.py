"""Instants, spaces and lines in the two languages."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from denizen.mail.words import Moment, one_line, paragraphs, typeset

AFTERNOON = datetime(2026, 11, 3, 14, 5, 59, tzinfo=UTC)


def test_instant_is_told_in_utc_without_figures_for_months() -> None:
    """`3 Nov` is no date that Americans and Europeans read differently."""
    elsewhere = AFTERNOON.astimezone(timezone(timedelta(hours=11)))

    assert str(Moment(elsewhere, "en")) == "3 Nov 2026, 14:05 UTC"
    assert str(Moment(elsewhere, "ru")) == "3 нояб. 2026, 14:05 UTC"
    assert Moment(elsewhere, "ru").day == "3 нояб. 2026"


def test_months_are_those_of_the_locale_data() -> None:
    """CLDR's abbreviated names, in the genitive."""
    months = {
        locale: " ".join(
            str(Moment(AFTERNOON.replace(month=m), locale)).split()[1] for m in range(1, 13)
        )
        for locale in ("en", "ru")
    }

    assert months == {
        "en": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "ru": "янв. февр. мар. апр. мая июн. июл. авг. сент. окт. нояб. дек.",
    }


@pytest.mark.parametrize(
    ("plain", "set_"),
    [
        ("Это — вы", "Это\u00a0— вы"),
        ("и в сервисе", "и\u00a0в\u00a0сервисе"),
        ("У вас", "У\u00a0вас"),
        ("сеансов нет", "сеансов нет"),
        ("из-за я вижу", "из-за я\u00a0вижу"),
    ],
)
def test_russian_gets_its_no_break_spaces(plain: str, set_: str) -> None:
    """Before a dash and after a word of one letter; English stays as it is."""
    assert typeset(plain, "ru") == set_
    assert typeset(plain, "en") == plain


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("ann", "ann"),
        ("a\r\nb\tc\u2028d\u202ee\x00f\ud800g", "a  b c d e f g"),
        ("ж" * 320, "ж" * 320),
        ("ж" * 321, "ж" * 319 + "…"),
        ("\n" * 10_000, " " * 319 + "…"),
    ],
)
def test_typed_text_becomes_part_of_a_line(typed: str, shown: str) -> None:
    """Nothing invisible, no second line, not endless."""
    assert one_line(typed) == shown


def test_paragraphs_are_joined_lines() -> None:
    """Empty lines part them, however they are indented; no-break spaces stay."""
    assert paragraphs("\n one\n  two\u00a0x \n \n\nthree\n") == ["one two\u00a0x", "three"]
