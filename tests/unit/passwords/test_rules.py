"""What is accepted as a new password."""

import time
import unicodedata

import pytest

from denizen.errors import InvalidError
from denizen.passwords.rules import check_password, normalise


def _code(password: str, **options: object) -> str | None:
    try:
        check_password(password, **options)  # type: ignore[arg-type]
    except InvalidError as error:
        found = error
    else:
        return None
    assert password not in str(found)
    return found.issues[0].code


@pytest.mark.parametrize(
    "password",
    [
        "\u043f\u0430\u0440\u043e\u043b\u044c\u043d\u0430\u044f \u0444\u0440\u0430\u0437\u0430",
        "  leading and trailing  ",
        "\U0001f600" * 15,
        " " * 15,
        "onlylowercaseletterszz",
        "e\u0301" * 15,
    ],
)
def test_t_pw_4_any_composition_is_accepted(password: str) -> None:
    """No rule of composition: blanks, Cyrillic, emoji, one letter case."""
    assert check_password(password) == unicodedata.normalize("NFC", password)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("q7!x" * 3 + "yz", "password_too_short"),
        ("e\u0301" * 14, "password_too_short"),
        ("q7!xz" * 3, None),
    ],
)
def test_t_pw_1_fifteen_code_points_after_nfc(password: str, code: str | None) -> None:
    """Fourteen are too few, however many bytes they are; fifteen are enough."""
    assert _code(password) == code


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("q7" * 128, None),
        ("q7" * 128 + "x", "password_too_long"),
        ("\U0001f600" * 256, None),
        ("x" * 1_000_000, "password_too_long"),
    ],
)
def test_t_pw_2_at_most_256_code_points(password: str, code: str | None) -> None:
    """256 are accepted, 257 refused, a megabyte refused at once."""
    began = time.process_time()

    assert _code(password) == code
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize(
    "password", ["123456789012345", "PasswordPassword", "passwordpassword", "qwertyuiopasdfgh"]
)
def test_t_pw_5_what_attackers_try_first_is_refused(password: str) -> None:
    """Listed passwords of fifteen and more, in any letter case."""
    assert _code(password) == "password_blocklisted"


@pytest.mark.parametrize(
    "password",
    ["denizen-denizen-2026", "Annabelle1234567!", "annabelleannabelle", "example.com!2026!!"],
)
def test_t_pw_5b_own_words_are_refused(password: str) -> None:
    """Product, name and address, repeated or padded with digits and signs."""
    words = ("annabelle@example.com", "annabelle")

    assert _code(password, own_words=words) == "password_context"


@pytest.mark.parametrize("password", ["annabelle likes plums", "my denizen and others"])
def test_own_word_inside_a_phrase_is_accepted(password: str) -> None:
    """An own word is no crime when there is enough beside it."""
    assert _code(password, own_words=("annabelle@example.com",)) is None


def test_t_pw_3_both_unicode_forms_are_one_password() -> None:
    """NFC on set and on verify: what looks the same is the same; nothing else is changed."""
    assert normalise("cafe\u0301") == normalise("caf\u00e9")
    assert normalise("\ufb01 X ") == "\ufb01 X "


def test_lone_surrogate_is_refused() -> None:
    """What is no text is named as such."""
    assert _code("\ud800" * 20) == "password_invalid"


def test_minimum_of_eight_still_knows_the_list() -> None:
    """Below ten bytes there is no list to look into; from ten on it holds."""
    assert _code("q7!xz#kp", minimum=8) is None
    assert _code("1234567890", minimum=8) == "password_blocklisted"
