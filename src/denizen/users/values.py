"""The rules of e-mail addresses and usernames: what is accepted, and when two are the same.

Pure functions. Lengths are checked before anything is normalised, so that no input is costly.
"""

import functools
import unicodedata
from typing import Any, Final, Literal, get_args

from email_validator import EmailNotValidError, validate_email
from precis_i18n import get_profile

from denizen.errors import InvalidError, Issue

Role = Literal["user", "support", "admin"]
Locale = Literal["en", "ru"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
LOCALES: Final[tuple[Locale, ...]] = get_args(Locale)

EMAIL_MAX: Final = 254  # octets, RFC 5321 4.5.3.1 less the angle brackets
LOCAL_PART_MAX: Final = 64  # octets, RFC 5321 4.5.3.1.1
USERNAME_MAX: Final = 64  # code points
# casefold and NFC make at most three code points of one; a domain in IDNA has at most 253
EMAIL_KEY_MAX: Final = 3 * LOCAL_PART_MAX + 1 + 253
USERNAME_KEY_MAX: Final = 3 * USERNAME_MAX


def parse_email(value: str) -> str:
    """Give the address as typed, in NFC.

    RFC 5321 and 6531, by a library; no quoted local parts and no address literals. A domain has a
    dot: a mailbox at a top-level domain is a typing error (RFC 7085 tells why there are none). It
    need not be public (`.internal`, `.test`), but names at which no mail can ever arrive
    (`.invalid`, `.localhost`, `.local`, `.onion`, `.arpa`) are refused.

    Raises:
        InvalidError: it is no address.
    """
    _parsed(value)
    return unicodedata.normalize("NFC", value)


def email_key(value: str) -> str:
    """Give what makes two addresses the same: NFC, casefold, and the domain in IDNA.

    The key only compares: mail goes to the address as stored, so letters that merely look or fold
    alike never lead it elsewhere.

    Raises:
        InvalidError: it is no address.
    """
    parsed = _parsed(value)
    return f"{_folded(parsed.local_part)}@{parsed.ascii_domain.lower()}"


def parse_username(value: str) -> str:
    """Give the name as typed, in NFC.

    Raises:
        InvalidError: it is no username (RFC 8265 UsernameCaseMapped, 1-64, no `@`, no spaces).
    """
    username_key(value)
    return unicodedata.normalize("NFC", value)


def username_key(value: str) -> str:
    """Give what makes two usernames the same: UsernameCaseMapped (RFC 8265), then casefold.

    Raises:
        InvalidError: it is no username.
    """
    if not 0 < len(value) <= USERNAME_MAX or "@" in value:
        raise _no_username()
    try:
        mapped: str = _username_profile().enforce(value)
    except UnicodeEncodeError:
        raise _no_username() from None
    return _folded(mapped)


def _parsed(value: str) -> Any:
    if len(value) > EMAIL_MAX or not _is_encodable(value) or len(value.encode()) > EMAIL_MAX:
        raise _no_email()
    try:
        parsed = validate_email(
            value,
            check_deliverability=False,
            globally_deliverable=False,
            test_environment=True,  # allows `.test`
        )
    except EmailNotValidError:
        raise _no_email() from None
    *above, top_level = parsed.ascii_domain.split(".")
    is_named = above and not top_level.isdecimal()  # else one label, or an IP address
    if not is_named or len(parsed.local_part.encode()) > LOCAL_PART_MAX:
        raise _no_email()
    return parsed


@functools.cache
def _username_profile() -> Any:
    return get_profile("UsernameCaseMapped")


def _folded(value: str) -> str:
    """Fold until nothing changes: one round of casefold and NFC may leave something to fold."""
    folded = unicodedata.normalize("NFC", value.casefold())
    return folded if folded == value else _folded(folded)


def _is_encodable(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _no_email() -> InvalidError:
    return InvalidError(Issue("email", "email_invalid", "This is not an e-mail address."))


def _no_username() -> InvalidError:
    message = "A username has 1 to 64 letters or digits of any script, no @ and no spaces."
    return InvalidError(Issue("username", "username_invalid", message))
