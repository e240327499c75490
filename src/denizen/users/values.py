"""The rules of e-mail addresses and usernames: what is accepted, and when two are the same.

Pure functions. Lengths are checked before anything is normalised, so that no input is costly.
"""

import functools
import re
import unicodedata
from typing import Any, Final, Literal, get_args

import email_validator
from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from precis_i18n import get_profile

from denizen.errors import InvalidError, Issue

Role = Literal["user", "support", "admin"]
Locale = Literal["en", "ru"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
LOCALES: Final[tuple[Locale, ...]] = get_args(Locale)

EMAIL_MAX: Final = 254  # octets, RFC 5321 4.5.3.1 less the angle brackets
LOCAL_PART_MAX: Final = 64  # octets, RFC 5321 4.5.3.1.1
USERNAME_MAX: Final = 64  # code points
# The widths of the key columns, in code points. A key is an address itself, so that it has at most
# EMAIL_MAX octets; a longer key of a name is refused (casefold makes up to three letters of one).
EMAIL_KEY_MAX: Final = 3 * LOCAL_PART_MAX + 1 + 253
USERNAME_KEY_MAX: Final = 3 * USERNAME_MAX
HASH_MAX: Final = 512  # of a password, whoever made it

# What nearly everybody has: short, ASCII, and valid as it stands, so that its key is its lower case
# (a property test compares). The libraries take 20 times as long, which a million rows feel.
_PLAIN_EMAIL: Final = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
    r"@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+[A-Za-z]+",
    re.ASCII,
)
_PLAIN_USERNAME: Final = re.compile(r"[!-?A-~]{1,64}")


def parse_email(value: str) -> str:
    """Give the address as typed, in NFC; at most 254 octets, 64 of them before the `@`.

    RFC 5321 and 6531, by a library; no quoted local parts and no address literals. A domain has a
    dot: a mailbox at a top-level domain is a typing error (RFC 7085 tells why there are none). It
    need not be public (`.internal`, `.test`), but names at which no mail can ever arrive
    (`.invalid`, `.localhost`, `.local`, `.onion`, `.arpa`) are refused.

    Raises:
        InvalidError: it is no address.
    """
    return read_email(value)[0]


def read_email(value: str) -> tuple[str, str]:
    """Give what `parse_email` gives, and its key.

    Raises:
        InvalidError: it is no address.
    """
    if _is_plain_email(value):
        return value, value.lower()
    email = _short_email(value)
    for text in (value, email):  # NFC may lengthen and shorten
        if len(text.rpartition("@")[0].encode()) > LOCAL_PART_MAX:
            raise _no_email()
    return email, email_key(email)


def email_key(value: str) -> str:
    """Give what makes two addresses the same: NFC, casefold, and the domain in IDNA.

    The key of a key is itself. It only compares: mail goes to the address as stored, so letters
    that fold alike (`ﬁ` and `fi`) never lead it elsewhere, and those that merely look alike (`ı`
    and `i`) stay different people: NFC, not NFKC (CVE-2019-19844).

    Raises:
        InvalidError: it is no address.
    """
    if _is_plain_email(value):
        return value.lower()
    key = _email_folded(value)
    if key != value and _email_folded(key) != key:
        raise _no_email()
    return key


def email_on_wire(value: str) -> str:
    """Give the address as mail servers take it: as stored, with the domain in IDNA.

    Only a local part beyond ASCII then needs a server with SMTPUTF8.

    Raises:
        InvalidError: it is no address.
    """
    parsed = _parsed(_short_email(value))
    return f"{parsed.local_part}@{parsed.ascii_domain}"


def parse_username(value: str) -> str:
    """Give the name as typed, in NFC; 1 to 64 code points, both as typed and in NFC.

    Raises:
        InvalidError: it is no username (RFC 8265 UsernameCaseMapped, 1-64, no `@`, no spaces).
    """
    return read_username(value)[0]


def read_username(value: str) -> tuple[str, str]:
    """Give what `parse_username` gives, and its key.

    Raises:
        InvalidError: it is no username.
    """
    if _PLAIN_USERNAME.fullmatch(value):
        return value, value.lower()
    if len(value) > USERNAME_MAX:
        raise _no_username()
    key = username_key(value)
    name = unicodedata.normalize("NFC", value)
    if len(name) > USERNAME_MAX:  # U+0958, for one, becomes two
        raise _no_username()
    return name, key if name == value else username_key(name)


def username_key(value: str) -> str:
    """Give what makes two usernames the same: UsernameCaseMapped (RFC 8265), then casefold.

    The key of a key is itself, which is why the input may have the length of a key.

    Raises:
        InvalidError: it is no username, or the key is longer than its column.
    """
    if _PLAIN_USERNAME.fullmatch(value):
        return value.lower()
    key = _username_folded(value)
    if key != value and _username_folded(key) != key:  # a Hebrew name, with a mark that folds to ι
        raise _no_username()
    return key


def _is_plain_email(value: str) -> bool:
    """Whether it is an ordinary address, no longer than a local part or a label may be."""
    if len(value) > LOCAL_PART_MAX or _PLAIN_EMAIL.fullmatch(value) is None:
        return False
    return not value.lower().endswith(tuple(email_validator.SPECIAL_USE_DOMAIN_NAMES))


def _email_folded(value: str) -> str:
    parsed = _parsed(_short_email(value))
    return f"{_folded(parsed.local_part)}@{parsed.ascii_domain.lower()}"


def _short_email(value: str) -> str:
    """Give the text in NFC, if neither form is too long: measured before it is normalised."""
    if len(value) > EMAIL_MAX or not _is_encodable(value) or len(value.encode()) > EMAIL_MAX:
        raise _no_email()
    email = unicodedata.normalize("NFC", value)
    if len(email.encode()) > EMAIL_MAX:
        raise _no_email()
    return email


def _parsed(email: str) -> ValidatedEmail:
    try:
        parsed = validate_email(
            email,
            allow_smtputf8=True,  # these five are said, since a host may turn the library's own
            allow_empty_local=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            check_deliverability=False,
            globally_deliverable=False,
            test_environment=True,  # allows `.test`
        )
    except EmailNotValidError:
        raise _no_email() from None
    *above, top_level = parsed.ascii_domain.split(".")
    if not above or top_level.isdecimal():  # one label (RFC 7085), or an IP address
        raise _no_email()
    return parsed


def _username_folded(value: str) -> str:
    if not 0 < len(value) <= USERNAME_KEY_MAX or "@" in value:
        raise _no_username()
    try:
        mapped: str = _username_profile().enforce(value)
    except UnicodeEncodeError:
        raise _no_username() from None
    key = _folded(mapped)
    if len(key) > USERNAME_KEY_MAX:
        raise _no_username()
    return key


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
