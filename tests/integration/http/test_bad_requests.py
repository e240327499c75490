"""A thousand bad requests: each is refused as the contract says, and none leaves a trace.

The corpus is data: pure functions of `Facts` give lists of `Case`. A group of cases runs against
one app; a failure lists every case that was answered wrongly, not only the first.
"""

import base64
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.sessions.model import Token
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import Api, a_user

CANARY: Final = "canary-secret-passphrase-93"
FORBIDDEN: Final = (
    "SELECT", "INSERT", "asyncpg", "sqlalchemy", "psycopg", "Traceback", "users.", "argon2", CANARY,
)  # fmt: skip
PROBLEM_KEYS: Final = {"type", "title", "status", "detail", "code"}
NOBODY: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
MAX_BODY: Final = 64 * 1024
JSON: Final = {"Content-Type": "application/json"}

INVALID: Final = frozenset({422})
REFUSED: Final = frozenset({401})
NOT_FOUND: Final = frozenset({404})


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Give settings without limits: one client sends more here than anybody may."""
    return settings.model_copy(update={"throttle": "off"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is in the database that the cases speak about.

    Attributes:
        user_id: Ann's, who is a plain user with the password `CANARY`.
        token: the admin's.
        other_token: Ann's.
        cursor: of the list in its default order, without filters.
        email_cursor: of the list by e-mail.
    """

    user_id: str
    token: str
    other_token: str
    cursor: str
    email_cursor: str

    @property
    def user_path(self) -> str:
        """Where Ann is."""
        return f"/v1/users/{self.user_id}"


@dataclass(frozen=True, slots=True)
class Case:
    """A bad request, the statuses that may answer it, and the field that a 422 has to name."""

    name: str
    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)
    expected: frozenset[int] = INVALID
    field: str | None = None
    is_signed_in: bool = True

    @property
    def identity(self) -> str:
        """What makes two cases the same request."""
        return f"{self.method} {self.path} {self.options!r} {self.is_signed_in}"


@dataclass(frozen=True, slots=True)
class Chunked:
    """A body whose length nobody announces."""

    size: int

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body in pieces."""
        for _ in range(self.size // 1024):
            yield b" " * 1024


def raw(content: object, kind: str | bytes | None = "application/json") -> dict[str, Any]:
    """Give the options of a request with that very body."""
    return {"content": content, "headers": {} if kind is None else {"Content-Type": kind}}


def body(value: object) -> dict[str, Any]:
    """Give the options of a request with a JSON body; lone surrogates become escapes."""
    return raw(json.dumps(value).encode())


def new_user(**changes: object) -> dict[str, object]:
    """Give the body of a POST that would succeed, but for the changes."""
    return {
        "email": "new@example.com", "username": "newcomer", "password": CANARY,
    } | changes  # fmt: skip


def credentials(**changes: object) -> dict[str, object]:
    """Give the body of a sign-in."""
    return {"email": "ann@example.com", "password": CANARY} | changes


WRONG_TYPES: Final[dict[str, object]] = {
    "object": {},
    "object with the secret": {"secret": CANARY},
    "array": [],
    "array with the secret": [CANARY],
    "int": 7,
    "negative int": -1,
    "int of 20 digits": 10**20,
    "float": 1.5,
    "nested": {"a": [{"b": [CANARY, None]}]},
}
TEXT_FIELDS: Final = ("email", "username", "password", "role", "locale")
FLAG_FIELDS: Final = ("is_active", "email_verified")
UNKNOWN_FIELDS: Final = (
    "id", "hashed_password", "created_at", "updated_at", "is_admin", "version", "email_key",
    "username_key", "email_verified_at", "roles", "is_superuser", "Email", "EMAIL", "email ",
    "__proto__", "__class__", "metadata", "registry", "_sa_instance_state", "", "a.b", "a[0]",
    "body", "query", "path", "header", "password_hash", "token", "user_id", "sessions",
)  # fmt: skip


def wrong_types(facts: Facts) -> Iterator[Case]:
    """Every field of every body, with values of every wrong type."""
    targets: list[tuple[str, str, Callable[..., dict[str, object]], tuple[str, ...]]] = [
        ("POST", "/v1/users", new_user, TEXT_FIELDS + FLAG_FIELDS),
        ("PATCH", facts.user_path, dict, ("email", "username", "role", "locale")),
        ("PATCH", facts.user_path, dict, FLAG_FIELDS),
        ("POST", "/v1/sessions", credentials, ("email", "password")),
    ]
    for method, path, make, names in targets:
        for name in names:
            values = dict(WRONG_TYPES)
            if name in FLAG_FIELDS:
                values |= {"text": "true", "one": 1, "zero": 0, "empty text": ""}
            else:
                values |= {"true": True, "false": False}
            if (method, name) != ("POST", "password") or path == "/v1/sessions":
                values["null"] = None  # a new user may be without a password
            for kind, value in values.items():
                case = f"{method} {path} {name}: {kind}"
                yield Case(case, method, path, body(make(**{name: value})), INVALID, name)


def unknown_fields(facts: Facts) -> Iterator[Case]:
    """Mass assignment: what a body may not set, and what nobody knows."""
    for name in UNKNOWN_FIELDS:
        for method, path, make in (
            ("POST", "/v1/users", new_user),
            ("PATCH", facts.user_path, dict[str, object]),
            ("POST", "/v1/sessions", credentials),
        ):
            options = body(make() | {name: "x"})
            case = f"{method} {path} unknown {name!r}"
            yield Case(case, method, path, options, INVALID, name or None)
    options = body({"password": CANARY})
    yield Case("PATCH password", "PATCH", facts.user_path, options, INVALID, "password")


BAD_EMAILS: Final[dict[str, str]] = {
    "empty": "",
    "one letter": "a",
    "no at": "example.com",
    "no local part": "@example.com",
    "no domain": "ann@",
    "two ats": "ann@@example.com",
    "two ats apart": "ann@b@example.com",
    "list by comma": "ann@example.com,bob@example.com",
    "list by comma and space": "ann@example.com, bob@example.com",
    "list by semicolon": "ann@example.com;bob@example.com",
    "list by space": "ann@example.com bob@example.com",
    "header by CRLF": "ann@example.com\r\nBcc: bob@example.com",
    "header by LF": "ann@example.com\nBcc: bob@example.com",
    "header by CR": "ann@example.com\rBcc: bob@example.com",
    "header in local part": "ann\r\nBcc: bob@example.com",
    "quoted local part": '"ann"@example.com',
    "quoted with space": '"ann smith"@example.com',
    "quoted at": '"ann@home"@example.com',
    "IPv4 literal": "ann@[127.0.0.1]",
    "IPv6 literal": "ann@[IPv6:::1]",
    "bare IPv4": "ann@127.0.0.1",
    "domain of one label": "ann@localhost",
    "top level alone": "ann@com",
    "special .invalid": "ann@example.invalid",
    "special .localhost": "ann@example.localhost",
    "special .local": "ann@example.local",
    "special .onion": "ann@example.onion",
    "special .arpa": "ann@1.0.0.127.in-addr.arpa",
    "leading space": " ann@example.com",
    "trailing space": "ann@example.com ",
    "trailing LF": "ann@example.com\n",
    "trailing NUL": "ann@example.com\0",
    "NUL in local part": "a\0nn@example.com",
    "NUL in domain": "ann@exam\0ple.com",
    "tab": "ann\t@example.com",
    "escape": "ann\x1b[31m@example.com",
    "delete": "ann\x7f@example.com",
    "C1 control": "ann\x85@example.com",
    "line separator": "ann\u2028@example.com",
    "zero-width space": "ann\u200b@example.com",
    "zero-width in domain": "ann@exam\u200bple.com",
    "right-to-left override": "ann\u202e@example.com",
    "right-to-left override in domain": "ann@\u202eelpmaxe.com",
    "byte order mark": "\ufeffann@example.com",
    "full-width at": "ann\uff20example.com",
    "noncharacter": "ann\uffff@example.com",
    "private use": "ann@exam\ue000ple.com",
    "angle brackets": "<ann@example.com>",
    "display name": "Ann <ann@example.com>",
    "mailto": "mailto:ann@example.com",
    "comment": "ann(comment)@example.com",
    "dot first": ".ann@example.com",
    "dot last": "ann.@example.com",
    "two dots": "ann..smith@example.com",
    "domain with two dots": "ann@example..com",
    "domain dot first": "ann@.example.com",
    "domain dot last": "ann@example.com.",
    "label with hyphen first": "ann@-example.com",
    "label with hyphen last": "ann@example-.com",
    "label with underscore": "ann@exam_ple.com",
    "label with space": "ann@exam ple.com",
    "label with slash": "ann@example.com/path",
    "label with port": "ann@example.com:25",
    "label of 64": f"ann@{'a' * 64}.com",
    "broken punycode": "ann@xn--a.com",
    "empty punycode": "ann@xn--.com",
    "backslash": "ann\\@example.com",
    "local part of 65": f"{'a' * 65}@example.com",
    "local part of 65 octets": f"{'я' * 33}@example.com",
    "255 octets": f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'d' * 60}.example.com",
    "254 letters of two octets": f"{'я' * 30}@{'я' * 219}.com",
    "10k": f"{'a' * 10_000}@example.com",
    "10k of ats": "@" * 10_000,
    "SQL": "' OR 1=1; --",
    "SQL after the at": "ann@example.com' OR '1'='1",
    "template": "{{7*7}}@example.com}",
    "format": "%s%s%n@",
}
BAD_USERNAMES: Final[dict[str, str]] = {
    "empty": "",
    "space": " ",
    "inner space": "ann smith",
    "leading space": " ann",
    "trailing space": "ann ",
    "at": "ann@home",
    "e-mail": "ann@example.com",
    "65 letters": "a" * 65,
    "65 letters of four octets": "𐐨" * 65,
    "10k": "a" * 10_000,
    "NUL": "ann\0",
    "only NUL": "\0",
    "tab": "ann\tsmith",
    "LF": "ann\n",
    "CRLF": "ann\r\nX-Evil: 1",
    "escape": "\x1b[31mann",
    "delete": "ann\x7f",
    "C1 control": "ann\x85",
    "no-break space": "ann\xa0smith",
    "ideographic space": "ann\u3000smith",
    "line separator": "ann\u2028smith",
    "zero-width space": "ann\u200b",
    "zero-width joiner": "ann\u200dsmith",
    "zero-width non-joiner": "ann\u200csmith",
    "word joiner": "ann\u2060",
    "byte order mark": "\ufeffann",
    "right-to-left override": "ann\u202enimda",
    "left-to-right mark": "ann\u200e",
    "isolate": "\u2066ann\u2069",
    "soft hyphen": "an\xadn",
    "mixed directions": "annא",
    "emoji": "😀",
    "flag": "🇷🇺",
    "variation selector": "ann\ufe0f",
    "tag character": "ann\U000e0041",
    "private use": "ann\ue000",
    "noncharacter": "ann\uffff",
    "unassigned": "ann\u0378",
    "ligature": "ﬁne",
    "Roman numeral": "Ⅳ",
    "superscript": "ann²",
    "fraction": "½",
    "old Hangul": "\u1100\u119e",
    "tatweel": "\u0640\u0627",
    "two kinds of Arabic digits": "\u0627\u0661\u06f1",
    "middle dot alone": "a\xb7b",
    "64 that NFC makes 128": "\u0958" * 64,
    "33 that NFC makes 66": "\u0958" * 33,
    "24 that NFC makes 72": "\ufb2c" * 24,
}
BAD_PASSWORDS: Final[dict[str, str]] = {
    "empty": "",
    "one": "x",
    "14": CANARY[:14],
    "257": "long secret " * 21 + "abcde",
    "10k": CANARY * 400,
    "257 of four octets": "𐐨" * 257,
    "15 that NFC makes fewer": "e\u0301" * 7 + "x",
    "on the list": "passwordpassword",
    "on the list, in capitals": "PASSWORDPASSWORD",
    "own address": "new@example.com",
    "own name twice": "newcomernewcomer",
    "name of the product": "denizendenizendenizen",
}


def values(facts: Facts) -> Iterator[Case]:
    """Addresses, names, passwords and words that break the rules of the values."""
    path = facts.user_path
    for kind, email in BAD_EMAILS.items():
        options = body(new_user(email=email))
        yield Case(f"create email {kind}", "POST", "/v1/users", options, INVALID, "email")
        options = body({"email": email})
        yield Case(f"update email {kind}", "PATCH", path, options, INVALID, "email")
        options = body(credentials(email=email))
        yield Case(f"sign in email {kind}", "POST", "/v1/sessions", options, INVALID, "email")
    for kind, username in BAD_USERNAMES.items():
        options = body(new_user(username=username))
        yield Case(f"create username {kind}", "POST", "/v1/users", options, INVALID, "username")
        options = body({"username": username})
        yield Case(f"update username {kind}", "PATCH", path, options, INVALID, "username")
    for kind, password in BAD_PASSWORDS.items():
        options = body(new_user(password=password))
        yield Case(f"create password {kind}", "POST", "/v1/users", options, INVALID, "password")
    for name in ("role", "locale"):
        for word in ("", "Admin", "root", "EN", "de", "user ", "user\0", "en-GB", "x" * 10_000):
            options = body(new_user(**{name: word}))
            case = f"create {name} {word[:9]!r}"
            yield Case(case, "POST", "/v1/users", options, INVALID, name)
            case = f"update {name} {word[:9]!r}"
            yield Case(case, "PATCH", path, body({name: word}), INVALID, name)
    for name in ("email", "username"):
        options = body({k: v for k, v in new_user().items() if k != name})
        yield Case(f"create without {name}", "POST", "/v1/users", options, INVALID, name)


BAD_BODIES: Final[dict[str, bytes]] = {
    "empty": b"",
    "spaces": b"  \n\t",
    "NUL": b"\0",
    "not JSON": b"email=ann@example.com",
    "half an object": b'{"email": "ann@example.com"',
    "single quotes": b"{'email': 'ann@example.com'}",
    "trailing comma": b'{"email": "ann@example.com",}',
    "trailing garbage": b'{"email": "ann@example.com"} x',
    "two objects": b"{} {}",
    "comment": b'{"email": "ann@example.com"} // Ann',
    "NaN": b'{"email": NaN}',
    "Infinity": b'{"email": Infinity}',
    "minus Infinity": b'{"is_active": -Infinity}',
    "float out of range": b'{"email": 1e999}',
    "int out of range": b'{"email": '
    + b"9" * 400
    + b', "password": "canary-secret-passphrase-93"}',
    "leading zero": b'{"email": 007}',
    "hexadecimal": b'{"email": 0x10}',
    "lone surrogate": b'{"email": "\\ud800@example.com"}',
    "lone low surrogate": b'{"username": "a\\udc00"}',
    "surrogates in the wrong order": b'{"username": "\\udc00\\ud800"}',
    "lone surrogate in the password": b'{"password": "canary-secret-passphrase-93\\ud800"}',
    "lone surrogate in a name": b'{"\\ud800": 1}',
    "broken escape": b'{"email": "\\x41"}',
    "short escape": b'{"email": "\\u12"}',
    "raw line feed in text": b'{"email": "ann\n@example.com"}',
    "raw NUL in text": b'{"email": "ann\0@example.com"}',
    "invalid UTF-8": b'{"email": "\xff\xfe@example.com"}',
    "overlong UTF-8": b'{"username": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"username": "\xed\xa0\x80"}',
    "beyond Unicode": b'{"username": "\xf4\x90\x80\x80"}',
    "cut UTF-8": b'{"username": "\xd1',
    "Latin-1": b'{"username": "Ren\xe9"}',
    "UTF-16": '{"username": "ann"}'.encode("utf-16"),
    "UTF-16 without mark": '{"username": "ann"}'.encode("utf-16-le"),
    "UTF-32": '{"username": "ann"}'.encode("utf-32"),
    "byte order mark": b'\xef\xbb\xbf{"username": "ann"}',
    "array": b"[]",
    "array of an object": b'[{"email": "ann@example.com"}]',
    "array of pairs": b'[["email", "ann@example.com"]]',
    "text": b'"ann@example.com"',
    "null": b"null",
    "true": b"true",
    "int": b"7",
    "huge int": b"9" * 10_000,
    "float": b"1.5",
    "NaN alone": b"NaN",
    "33 arrays": b"[" * 33 + b"]" * 33,
    "33 objects": b'{"email":' * 33 + b"1" + b"}" * 33,
    "10k arrays": b"[" * 10_000 + b"]" * 10_000,
    "10k objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10k open arrays": b"[" * 10_000,
    "the limit in spaces": b" " * MAX_BODY,
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
}
# read well, refused by a field
BAD_MEMBERS: Final[dict[str, bytes]] = {
    "both of a name given twice": b'{"email": "bad", "email": "worse", "username": "ann"}',
    "last of a name given twice": b'{"email": "new@example.com", "email": "worse"}',
    "32 levels": b'{"email":' * 31 + b"1" + b"}" * 31,
    "NUL escaped": b'{"email": "ann\\u0000@example.com"}',
    "emoji escaped": b'{"email": "\\ud83d\\ude00"}',
}
WRONG_TYPES_OF_CONTENT: Final[dict[str, str | bytes | None]] = {
    "none": None,
    "empty": "",
    "text": "text/plain",
    "text with charset": "text/plain; charset=utf-8",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "multipart without boundary": "multipart/form-data",
    "xml": "application/xml",
    "html": "text/html",
    "bytes": "application/octet-stream",
    "csv": "text/csv",
    "JSON as text": "text/json",
    "JSON lines": "application/jsonl",
    "merge patch": "application/merge-patch+json",
    "patch": "application/json-patch+json",
    "problem": "application/problem+json",
    "JSON-like": "application/jsonp",
    "JSON and another": "application/json, text/plain",
    "half": "application",
    "any": "*/*",
    "not ASCII": "application/jsön".encode(),
    "NUL": b"application/json\0",
    "10k": "application/" + "x" * 10_000,
}
WRITES: Final = (("POST", "/v1/users"), ("PATCH", ""), ("POST", "/v1/sessions"))


def bodies(facts: Facts) -> Iterator[Case]:
    """Bodies that are no JSON object, of no JSON type, or too large."""
    for method, place in WRITES:
        path = place or facts.user_path
        for kind, content in BAD_BODIES.items():
            case = f"{method} {path} body {kind}"
            yield Case(case, method, path, raw(content), INVALID, "body")
        for kind, content in BAD_MEMBERS.items():
            case = f"{method} {path} body {kind}"
            yield Case(case, method, path, raw(content), INVALID, "email")
        good = json.dumps({"email": "new@example.com", "password": CANARY}).encode()
        for kind, media in WRONG_TYPES_OF_CONTENT.items():
            case = f"{method} {path} content type {kind}"
            yield Case(case, method, path, raw(good, media), frozenset({415}))
        yield Case(f"{method} {path} nothing at all", method, path, {}, frozenset({415}))
        yield from _sizes(method, path)


def _sizes(method: str, path: str) -> Iterator[Case]:
    too_large, malformed = frozenset({413}), frozenset({400})
    padded = json.dumps(new_user(username="a" * MAX_BODY)).encode()
    contents: dict[str, object] = {
        "one byte more": b" " * (MAX_BODY + 1),
        "one long name": padded,
        "1 MiB": b"[" + b"1," * (512 * 1024) + b"1]",
        "without a length": Chunked(MAX_BODY + 1024),
        "1 MiB without a length": Chunked(1024 * 1024),
    }
    for kind, content in contents.items():
        yield Case(f"{method} {path} {kind}", method, path, raw(content), too_large)
    lengths: dict[str, tuple[str | bytes, frozenset[int]]] = {
        "of too much": (str(MAX_BODY + 1), too_large),
        "of 40 digits": ("9" * 40, too_large),
        "of 5,000 digits": ("9" * 5000, too_large | malformed),
        "of words": ("many", malformed),
        "negative": ("-1", malformed),
        "with a sign": ("+2", malformed),
        "empty": ("", malformed),
        "twice": ("2, 2", malformed),
        "with an exponent": ("1e3", malformed),
        "hexadecimal": ("0x10", malformed),
        "with a fraction": ("2.0", malformed),
        "with an underscore": ("1_0", malformed),
        "not ASCII": ("²".encode("latin-1"), malformed),
        "of Arabic digits": ("٢".encode(), malformed),
        "NUL": (b"2\0", malformed),
    }
    for kind, (length, expected) in lengths.items():
        options: dict[str, Any] = raw(b"{}")
        options["headers"] = JSON | {"Content-Length": length}
        yield Case(f"{method} {path} Content-Length {kind}", method, path, options, expected)
    options = {"content": Chunked(MAX_BODY + 1024), "headers": JSON | {"Content-Length": "10"}}
    yield Case(f"{method} {path} more than announced", method, path, options, too_large)


def ids(facts: Facts) -> Iterator[Case]:
    """Ids that are none, that are nobody's, and addresses at which nothing is."""
    is_there = facts.user_id
    either = INVALID | NOT_FOUND
    found: dict[str, tuple[str, frozenset[int]]] = {
        "word": ("ann", INVALID),
        "number": ("1", INVALID),
        "negative": ("-1", INVALID),
        "null": ("null", INVALID),
        "e-mail": ("ann@example.com", INVALID),
        "star": ("*", INVALID),
        "NUL": ("%00", INVALID),
        "id and NUL": (f"{is_there}%00", INVALID),
        "id and space": (f"{is_there}%20", INVALID),
        "id and LF": (f"{is_there}%0a", INVALID),
        "two ids": (f"{is_there},{NOBODY}", INVALID),
        "id too long": (f"{is_there}0", INVALID),
        "id too short": (is_there[:-1], INVALID),
        "id with a wrong letter": (f"{is_there[:-1]}g", INVALID),
        "id with hyphens elsewhere": (f"{is_there[:5]}-{is_there[5:]}", INVALID),
        "full-width digits": ("%ef%bc%91" * 32, INVALID),
        "10k": ("a" * 10_000, INVALID),
        "SQL": ("'%20OR%201=1;--", INVALID),
        "header": ("x%0d%0aX-Evil:%201", INVALID),
        "invalid UTF-8": ("%ff", INVALID),
        "emoji": ("%f0%9f%98%80", INVALID),
        "dots": ("%2e%2e", INVALID),
        "way up": ("%2e%2e%2f%2e%2e%2fetc%2fpasswd", NOT_FOUND),
        "way up to another": (f"x%2f%2e%2e%2f{is_there}", NOT_FOUND),
        "nobody's": (NOBODY, NOT_FOUND),
        "nobody's in capitals": (NOBODY.upper(), NOT_FOUND),
        "nobody's as urn": (f"urn:uuid:{NOBODY}", either),
        "nobody's in braces": (f"%7B{NOBODY}%7D", either),
        "nobody's without hyphens": (NOBODY.replace("-", ""), either),
        "urn without id": ("urn:uuid:", INVALID),
        "zeros": (str(uuid.UUID(int=0)), NOT_FOUND),
        "ones": (str(uuid.UUID(int=2**128 - 1)), NOT_FOUND),
        "version 4": ("7f7c1b5e-52b1-4c0e-9d2a-0b6d1d0c9a11", NOT_FOUND),
    }
    for kind, (text, expected) in found.items():
        path = f"/v1/users/{text}"
        yield Case(f"GET id {kind}", "GET", path, {}, expected, "id")
        yield Case(f"PATCH id {kind}", "PATCH", path, body({"locale": "ru"}), expected, "id")
        yield Case(f"DELETE id {kind}", "DELETE", path, {}, expected, "id")
    for erase in ("", "later", "NOW", "now%0a", "%20now", "now%00", "true", "x" * 5000):
        path = f"{facts.user_path}?erase={erase}"
        yield Case(f"DELETE erase {erase[:9]!r}", "DELETE", path, {}, INVALID, "erase")
    path = f"{facts.user_path}?erase=later&erase=never"
    yield Case("DELETE erase twice", "DELETE", path, {}, INVALID, "erase")
    for path in (
        "/v1", "/v2/users", "/V1/users", "/v1/userz", "/v1/users.json", "/v1/users%00",
        "/v1/users%20", "/.env", "/%2e%2e/etc/passwd", "/v1/%2e%2e/users", "/admin",
        f"{facts.user_path}/password", f"{facts.user_path}/hashed_password", "/v1/me/password%00",
        "/" + "a" * 10_000, "/%ff",
    ):  # fmt: skip
        for method in ("GET", "POST"):
            yield Case(f"{method} {path[:40]}", method, path, {}, NOT_FOUND)


def lists(facts: Facts) -> Iterator[Case]:
    """Limits, orders, filters and cursors that no list takes."""
    for name, texts in {
        "limit": (
            "", "0", "201", "-1", "-0", "1000000000", "1" + "0" * 30, "9" * 5000, "NaN",
            "Infinity", "ten", "1.5", "1e2", "0x10", "true", "null", "50%00", "50;", "%D9%A1",
            "5,0", "50%20OR%201", "[]", "-9223372036854775809", "9223372036854775808",
        ),
        "order": (
            "", "id", "--email", "%2Bemail", "-", "Email", "email%20desc", "email,id", "email%00",
            "hashed_password", "email_key", "-version", "created_at;", "random()", "1", "[email]",
        ),
        "q": ("", "a", "ab", "%20%20", "a" * 101, "a" * 10_000, "abc%00", "%00%00%00", "abc%0a",
              "%1babc", "abc%7f", "%ff%fe"),
        "is_active": ("", "2", "-1", "maybe", "null", "None", "nil", "true%00", "[]", "truе"),
        "email_verified": ("", "2", "maybe", "null", "undefined", "2026-01-01T00:00:00Z"),
        "role": ("", "Admin", "root", "admin,user", "admin%00", "%ff", "*", "a" * 10_000),
        "email": ("a" * 255, "ann@example.com%00", "ann%0d%0a@example.com", "%00", "%1b"),
        "username": ("a" * 65, "ann%00", "%00", "ann%0a", "%7f"),
    }.items():  # fmt: skip
        for text in texts:
            path = f"/v1/users?{name}={text}"
            yield Case(f"{name} {text[:20]!r}", "GET", path, {}, INVALID, name)
    for name, first, last in (
        ("limit", "0", "500"), ("limit", "50", "500"), ("order", "id", "x"),
        ("order", "email", "x"), ("role", "root", "wheel"), ("is_active", "true", "maybe"),
        ("q", "abc", "a"),
        ("cursor", "x", "y"), ("cursor", facts.cursor, "y"),
    ):  # fmt: skip
        path = f"/v1/users?{name}={first}&{name}={last}"
        yield Case(f"{name} twice: {first[:9]}, {last}", "GET", path, {}, INVALID, name)
    for name in (
        "offset", "page", "sort", "Limit", "limit[]", "limit%5B$gt%5D", "id", "hashed_password",
        "email_key", "locale", "version", "created_at", "is_active__ne", "order_by", "select",
        "q%00", "__class__", "self", "body", "query", "path", "header", "callback", "access_token",
    ):  # fmt: skip
        field_name = {"limit%5B$gt%5D": "limit[$gt]", "q%00": "q\0"}.get(name, name)
        path = f"/v1/users?{name}=1"
        yield Case(f"unknown parameter {name}", "GET", path, {}, INVALID, field_name)
    path = f"/v1/users?access_token={facts.token}"
    yield Case("token as a parameter", "GET", path, {}, INVALID, "access_token")
    for kind, query in _cursors(facts).items():
        yield Case(f"cursor {kind}", "GET", f"/v1/users?{query}", {}, INVALID, "cursor")


def _cursors(facts: Facts) -> dict[str, str]:
    """Give the queries with bad cursors by what is bad about them."""
    version, mark, keys = _opened(facts.cursor)
    _, by_email, (last_email,) = _opened(facts.email_cursor)
    instant, last_id = keys
    payloads: dict[str, object] = {
        "null": None, "true": True, "int": 1, "text": "abc", "object": {}, "array": [],
        "object of three": {"a": 1, "b": 2, "c": 3}, "nulls": [None, None, None],
        "two of three": [version, mark], "four of three": [version, mark, keys, 1],
        "next version": [2, mark, keys], "no version": [None, mark, keys],
        "version as text": ["1", mark, keys], "version as true": [True, mark, keys],
        "version as float": [1.0, mark, keys], "huge version": [10**2000, mark, keys],
        "no mark": [version, None, keys], "empty mark": [version, "", keys],
        "foreign mark": [version, "0" * 16, keys], "mark as array": [version, [mark], keys],
        "mark in capitals": [version, f"{mark}A".upper(), keys],
        "keys null": [version, mark, None], "keys as int": [version, mark, 2],
        "keys as text": [version, mark, "ab"], "keys as object": [version, mark, {"a": 1, "b": 2}],
        "keys as names of an object": [version, mark, {instant: 1, last_id: 2}],
        "no keys": [version, mark, []], "one key": [version, mark, [instant]],
        "three keys": [version, mark, [*keys, last_id]],
        "keys swapped": [version, mark, [last_id, instant]],
        "instant as int": [version, mark, [1700000000, last_id]],
        "instant null": [version, mark, [None, last_id]],
        "instant empty": [version, mark, ["", last_id]],
        "instant of words": [version, mark, ["yesterday", last_id]],
        "instant infinity": [version, mark, ["infinity", last_id]],
        "instant in month 13": [version, mark, ["2026-13-01T00:00:00+00:00", last_id]],
        "instant in year 10000": [version, mark, ["10000-01-01T00:00:00+00:00", last_id]],
        "instant before year 1": [version, mark, ["0001-01-01T00:00:00+23:59", last_id]],
        "instant after year 9999": [version, mark, ["9999-12-31T23:59:59-23:59", last_id]],
        "instant with NUL": [version, mark, [f"{instant}\0", last_id]],
        "id as int": [version, mark, [instant, 1]], "id null": [version, mark, [instant, None]],
        "id as array": [version, mark, [instant, [last_id]]],
        "id as object": [version, mark, [instant, {"id": last_id}]],
        "id of words": [version, mark, [instant, "nobody"]],
        "id with SQL": [version, mark, [instant, f"{last_id}' OR 1=1 --"]],
        "id with NUL": [version, mark, [instant, f"{last_id}\0"]],
        "id with surrogate": [version, mark, [instant, "\ud800"]],
    }  # fmt: skip
    emails: dict[str, object] = {
        "NUL": ["\0"], "surrogate": ["\ud800"], "int": [1], "null": [None], "true": [True],
        "array": [[last_email]], "object": [{"a": last_email}], "two": [last_email, last_email],
        "a letter": "x", "names of an object": {"x": 1},
    }  # fmt: skip
    sealed = {kind: _sealed(payload) for kind, payload in payloads.items()}
    texts: dict[str, str] = {
        "empty": "", "garbage": "garbage", "one letter": "A", "signs": "!!!!", "dots": "...",
        "base64 of nothing": "====", "NUL": "%00", "not ASCII": "%D0%BA%D1%83%D1%80%D1%81",
        "emoji": "%F0%9F%98%80", "invalid UTF-8": "%ff%fe", "JSON itself": "[1,2,3]",
        "a number": "2", "SQL": "'%20OR%201=1--", "half": facts.cursor[: len(facts.cursor) // 2],
        "a letter less": facts.cursor[:-2], "a letter more": f"{facts.cursor}A",
        "a space before": f"%20{facts.cursor}", "LF behind": f"{facts.cursor}%0a",
        "NUL behind": f"{facts.cursor}%00", "twice in one": facts.cursor * 2,
        "4,097 letters": "A" * 4097, "4,096 letters": "A" * 4096, "60k": "A" * 60_000,
        "base64 of broken UTF-8": "__79",
        "deep arrays": base64.urlsafe_b64encode(b"[" * 3000).decode(),
        "trailing garbage": base64.urlsafe_b64encode(b"[1,2,3] x").decode().rstrip("="),
        "NaN": base64.urlsafe_b64encode(b"NaN").decode().rstrip("="),
        "int of 2,000 digits": base64.urlsafe_b64encode(b"9" * 2001).decode().rstrip("="),
    }  # fmt: skip
    others = {
        f"of {name}": f"{name}&cursor={facts.cursor}"
        for name in (
            "order=email", "order=-email", "order=username", "order=created_at", "q=abc",
            "role=user", "is_active=true", "is_active=false", "email_verified=true",
            "email=ann@example.com", "username=ann",
        )
    }  # fmt: skip
    others |= {
        f"by e-mail for {name or 'the default'}": f"{name}&cursor={facts.email_cursor}"
        for name in ("", "order=-email", "order=username", "order=-created_at", "order=email&q=abc")
    }
    return (
        {kind: f"cursor={text}" for kind, text in (sealed | texts).items()}
        | others
        | {
            f"by e-mail with {kind}": f"order=email&cursor={_sealed([version, by_email, last])}"
            for kind, last in emails.items()
        }
    )


def _opened(cursor: str) -> list[Any]:
    found: list[Any] = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return found


def _sealed(payload: object) -> str:
    text = json.dumps(payload, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def methods(facts: Facts) -> Iterator[Case]:
    """Methods that an address does not have."""
    strange = ("OPTIONS", "TRACE", "BREW", "PROPFIND", "QUERY")
    for path, names in {
        "/v1/users": ("PUT", "PATCH", "DELETE"),
        facts.user_path: ("PUT", "POST"),
        "/v1/sessions": ("GET", "PUT", "PATCH", "DELETE"),
        "/v1/me": ("POST", "PUT"),
        "/v1/me/sessions/current": ("GET", "POST", "PUT", "PATCH"),
        "/healthz": ("POST", "PUT", "PATCH", "DELETE"),
        "/readyz": ("POST", "PUT", "PATCH", "DELETE"),
        "/openapi.json": ("POST", "PUT", "PATCH", "DELETE"),
    }.items():
        for method in (*names, *strange):
            options = body(new_user()) if method in {"POST", "PUT", "PATCH"} else {}
            yield Case(f"{method} {path}", method, path, options, frozenset({405}))


ETAGS: Final[dict[str, tuple[str | bytes, frozenset[int]]]] = {
    "empty": ("", INVALID),
    "empty in quotes": ('""', INVALID),
    "one quote": ('"', INVALID),
    "word": ('"abc"', INVALID),
    "bare word": ("abc", INVALID),
    "negative": ('"-1"', INVALID),
    "with a sign": ('"+1"', INVALID),
    "float": ('"1.0"', INVALID),
    "exponent": ('"1e0"', INVALID),
    "hexadecimal": ('"0x1"', INVALID),
    "underscore": ('"1_0"', INVALID),
    "inner space": ('"1 1"', INVALID),
    "list": ('"1", "2"', INVALID),
    "list without quotes": ("1,2", INVALID),
    "star in quotes": ('"*"', INVALID),
    "two stars": ("**", INVALID),
    "weak nothing": ("W/", INVALID),
    "weak in small": ('w/"1"', INVALID),
    "ten digits": ('"2147483648"', INVALID),
    "30 digits": (f'"{"1" * 30}"', INVALID),
    "120 digits": (f'"{"1" * 120}"', INVALID),
    "10k": ("1" * 10_000, INVALID),
    "Arabic digit": ('"١"'.encode(), INVALID),
    "superscript": ('"²"'.encode("latin-1"), INVALID),
    "NUL": (b'"1\0"', INVALID),
    "bytes": (b"\xff\xfe", INVALID),
    "SQL": ('"1" OR 1=1', INVALID),
    "date": ("Tue, 24 Nov 2026 14:00:00 GMT", INVALID),
    "version 0": ('"0"', frozenset({412})),
    "version to come": ('"2"', frozenset({412})),
    "far version": ('"999999999"', frozenset({412})),
}


def versions(facts: Facts) -> Iterator[Case]:
    """`If-Match` that is no version, or not this one."""
    for kind, (etag, expected) in ETAGS.items():
        options = body({"locale": "ru"})
        options["headers"] = JSON | {"If-Match": etag}
        yield Case(f"If-Match {kind}", "PATCH", facts.user_path, options, expected, "If-Match")
    options = body({"locale": "ru"})
    options["headers"] = JSON | {"If-Match": "*"}
    yield Case("If-Match any of nobody", "PATCH", f"/v1/users/{NOBODY}", options, NOT_FOUND)


def _authorizations(facts: Facts) -> dict[str, str | bytes | None]:
    """Give what is not the authorization of anybody."""
    token, mine, other = facts.token, Token.parse(facts.token), Token.parse(facts.other_token)
    assert mine is not None
    assert other is not None
    last = "A" if token[-1] != "A" else "B"
    return {
        "none": None,
        "empty": "",
        "scheme alone": "Bearer",
        "scheme and space": "Bearer ",
        "token alone": token,
        "token of the scheme Basic": f"Basic {token}",
        "token of the scheme Token": f"Token {token}",
        "token of the scheme Digest": f"Digest {token}",
        "token of the scheme Bearer2": f"Bearer2 {token}",
        "name and password": "Basic " + base64.b64encode(f"ann:{CANARY}".encode()).decode(),
        "scheme glued": f"Bearer{token}",
        "scheme with a colon": f"Bearer: {token}",
        "scheme with a comma": f"Bearer,{token}",
        "scheme with a tab": f"Bearer\t{token}",
        "word": "Bearer null",
        "prefix alone": "Bearer dz_",
        "without prefix": f"Bearer {token[3:]}",
        "prefix in capitals": f"Bearer DZ_{token[3:]}",
        "prefix twice": f"Bearer dz_{token}",
        "a letter less": f"Bearer {token[:-1]}",
        "four letters less": f"Bearer {token[:-4]}",
        "half": f"Bearer {token[:33]}",
        "a letter more": f"Bearer {token}A",
        "four letters more": f"Bearer {token}AAAA",
        "another last letter": f"Bearer {token[:-1]}{last}",
        "another case": f"Bearer dz_{token[3:].swapcase()}",
        "backwards": f"Bearer dz_{token[:2:-1]}",
        "in quotes": f'Bearer "{token}"',
        "twice": f"Bearer {token} {token}",
        "list": f"Bearer {token}, Bearer {token}",
        "padded": f"Bearer {token[:-1]}=",
        "NUL behind": f"Bearer {token}\0".encode(),
        "zeros": f"Bearer dz_{'A' * 64}",
        "signs": f"Bearer dz_{'!' * 64}",
        "64 spaces": f"Bearer dz_{' ' * 64}",
        "Latin-1": f"Bearer dz_{'é' * 64}".encode("latin-1"),
        "UTF-8": f"Bearer dz_{'é' * 32}".encode(),
        "Cyrillic": f"Bearer {'ж' * 64}".encode(),
        "bytes": b"Bearer \xff\xfe\xfd",
        "bytes alone": b"\xff\xfe\xfd",
        "NUL": b"Bearer \0",
        "8k": f"Bearer {'a' * 8192}",
        "1 MiB": f"Bearer dz_{'a' * 1024 * 1024}",
        "8k of a scheme": f"{'a' * 8192} {token}",
        "unsigned JWT": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "own secret with another's id": f"Bearer {Token(other.user_id, mine.secret).text}",
        "another's secret with own id": f"Bearer {Token(mine.user_id, other.secret).text}",
        "nobody's id": f"Bearer {Token(uuid.UUID(NOBODY), mine.secret).text}",
        "digest for secret": f"Bearer {Token(mine.user_id, mine.digest).text}",
        "no secret": f"Bearer {Token(mine.user_id, bytes(32)).text}",
    }


def authorizations(facts: Facts) -> Iterator[Case]:
    """Headers that sign nobody in, at every route that asks; and a role that does not reach."""
    routes: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/users", {}),
        ("POST", "/v1/users", body(new_user())),
        ("GET", facts.user_path, {}),
        ("PATCH", facts.user_path, body({"locale": "ru"})),
        ("DELETE", facts.user_path, {}),
    ]
    own: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/me", {}),
        ("DELETE", "/v1/me/sessions/current", {}),
    ]
    for kind, value in _authorizations(facts).items():
        for method, path, options in routes + own:
            headers = options.get("headers", {})
            if value is not None:
                headers = headers | {"Authorization": value}
            case = f"{method} {path} Authorization {kind}"
            changed = options | {"headers": headers}
            yield Case(case, method, path, changed, REFUSED, is_signed_in=False)
    for method, path, options in routes:
        headers = options.get("headers", {}) | {"Authorization": f"Bearer {facts.other_token}"}
        changed = options | {"headers": headers}
        yield Case(f"{method} {path} as a user", method, path, changed, frozenset({403}))


def sign_ins(facts: Facts) -> Iterator[Case]:
    """Sign-ins of nobody, with what is nearly the password, and by who may not."""
    passwords = {
        "empty": "",
        "one letter": "c",
        "a letter less": CANARY[:-1],
        "a letter more": f"{CANARY}3",
        "a space before": f" {CANARY}",
        "a space behind": f"{CANARY} ",
        "LF behind": f"{CANARY}\n",
        "NUL behind": f"{CANARY}\0",
        "NUL before": f"\0{CANARY}",
        "capitals": CANARY.upper(),
        "full width": "".join(chr(ord(letter) + 0xFEE0) for letter in CANARY),
        "another dash": CANARY.replace("-", "\u2010"),
        "zero-width behind": f"{CANARY}\u200b",
        "right-to-left": f"\u202e{CANARY}",
        "combining behind": f"{CANARY}\u0301",
        "twice": CANARY * 2,
        "10k": CANARY * 400,
        "60k": "x" * 60_000,
        "4,096 octets": CANARY + "x" * (4096 - len(CANARY)),
        "4,097 octets": CANARY + "x" * (4097 - len(CANARY)),
        "emoji": "😀" * 30,
        "noncharacters": "\uffff" * 30,
        "SQL": "' OR '1'='1",
        "a hash": "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWA",
        "star": "*",
        "null": "null",
    }
    for kind, password in passwords.items():
        options = body(credentials(password=password))
        yield Case(f"sign in with {kind}", "POST", "/v1/sessions", options, REFUSED)
    for name in (
        "nobody@example.com", "ann@example.org", "ann+1@example.com", "an@example.com",
        "unconfirmed@example.com", "disabled@example.com", "passwordless@example.com",
        "änn@example.com", "ann@exämple.com", "%@example.com", "ann%@example.com",
        "_nn@example.com", "o'or'1'='1@example.com", "ann@example.com.test", "null@example.com",
    ):  # fmt: skip
        options = body(credentials(email=name))
        yield Case(f"sign in as {name}", "POST", "/v1/sessions", options, REFUSED)
    options = body(credentials(email="passwordless@example.com", password=""))
    yield Case("sign in without a password", "POST", "/v1/sessions", options, REFUSED)
    for name in ("email", "password"):
        options = body({k: v for k, v in credentials().items() if k != name})
        yield Case(f"sign in without {name}", "POST", "/v1/sessions", options, INVALID, name)
    options = body({"username": "ann", "password": CANARY})
    yield Case("sign in by username", "POST", "/v1/sessions", options, INVALID, "username")
    path = f"/v1/sessions?email=ann@example.com&password={CANARY}"
    yield Case("sign in by the address", "POST", path, {}, INVALID, "password")
    yield Case("sign in by the address and {}", "POST", path, body({}), INVALID, "password")


def conflicts(facts: Facts) -> Iterator[Case]:
    """Values that belong to somebody, and the last admin's leave."""
    refused = frozenset({409})
    admin = Token.parse(facts.token)
    assert admin is not None
    for email in ("ann@example.com", "ANN@EXAMPLE.COM", "Ann@Example.Com", "aNN@eXAMPLE.cOM"):
        options = body(new_user(email=email))
        yield Case(f"taken {email}", "POST", "/v1/users", options, refused)
        options = body({"email": email})
        path = f"/v1/users/{admin.user_id}"
        yield Case(f"taken {email} by PATCH", "PATCH", path, options, refused)
    for username in ("ann", "ANN", "Ann", "\uff41\uff4e\uff4e"):
        options = body(new_user(username=username))
        yield Case(f"taken {username}", "POST", "/v1/users", options, refused)
        options = body({"username": username})
        path = f"/v1/users/{admin.user_id}"
        yield Case(f"taken {username} by PATCH", "PATCH", path, options, refused)
    path = f"/v1/users/{admin.user_id}"
    for changes in ({"role": "user"}, {"role": "support"}, {"is_active": False}):
        yield Case(f"last admin {changes}", "PATCH", path, body(changes), refused)
    yield Case("last admin deleted", "DELETE", path, {}, refused)
    yield Case("last admin erased", "DELETE", f"{path}?erase=now", {}, refused)


GROUPS: Final[dict[str, Callable[[Facts], Iterable[Case]]]] = {
    "wrong types": wrong_types,
    "unknown fields": unknown_fields,
    "values": values,
    "bodies": bodies,
    "ids": ids,
    "lists": lists,
    "methods": methods,
    "versions": versions,
    "authorizations": authorizations,
    "sign-ins": sign_ins,
    "conflicts": conflicts,
}
SAMPLE: Final = Facts(
    user_id="01890a5d-ac96-774b-bcce-b302099a8058",
    token=Token(uuid.UUID(int=1), b"\1" * 32).text,
    other_token=Token(uuid.UUID(int=2), b"\2" * 32).text,
    cursor=_sealed([1, "0123456789abcdef", ["2026-01-01T00:00:00+00:00", NOBODY]]),
    email_cursor=_sealed([1, "fedcba9876543210", ["ann@example.com"]]),
)


def corpus(facts: Facts) -> list[Case]:
    """Give every case."""
    return [case for group in GROUPS.values() for case in group(facts)]


@pytest.fixture
async def facts(admin: Api, anonymous: Api, denizen: Denizen[UserModel]) -> Facts:
    """Put people into the database and learn what the cases need."""
    ann = await a_user(denizen, email="ann@example.com", username="ann", password=CANARY)
    signed_in = await anonymous.signed_in(ann.email, CANARY)
    await a_user(denizen, email="passwordless@example.com")
    await a_user(denizen, email="unconfirmed@example.com", password=CANARY, verified=False)
    disabled = await a_user(denizen, email="disabled@example.com", password=CANARY)
    answer = await admin.patch(f"/v1/users/{disabled.id}", json={"is_active": False})
    assert answer.status_code == 200
    cursors = [
        (await admin.get(f"/v1/users?limit=1&order={order}")).json()["next_cursor"]
        for order in ("-created_at", "email")
    ]
    return Facts(str(ann.id), admin.token or "", signed_in.token or "", *cursors)


async def _state(databases: Databases) -> tuple[object, ...]:
    async with superuser(databases.superuser_url) as connection:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM users),"
            " (SELECT md5(string_agg(u::text, '|' ORDER BY u.id)) FROM users u),"
            " (SELECT md5(string_agg(s::text, '|' ORDER BY s.id)) FROM sessions s)"
        )
    assert row is not None
    return tuple(row)


def _complaints(case: Case, answer: httpx.Response) -> Iterator[str]:
    """Give what is wrong with an answer."""
    if answer.status_code not in case.expected:
        yield f"{answer.status_code} instead of {sorted(case.expected)}"
    if answer.headers.get("content-type") != "application/problem+json":
        yield f"content type {answer.headers.get('content-type')}"
        return
    problem = answer.json()
    if set(problem) - {"errors"} != PROBLEM_KEYS:
        yield f"keys {sorted(problem)}"
    if problem.get("status") != answer.status_code:
        yield f"status {problem.get('status')} in the body"
    if answer.status_code == 422 and problem.get("code") != "invalid":
        yield f"code {problem.get('code')}"
    if answer.status_code == 422:
        named = [error["field"] for error in problem.get("errors", [])]
        if not named or (case.field is not None and case.field not in named):
            yield f"names {[name[:40] for name in named]} instead of {case.field!r}"
    if answer.status_code == 401 and "www-authenticate" not in answer.headers:
        yield "no WWW-Authenticate"
    if answer.status_code == 405 and "allow" not in answer.headers:
        yield "no Allow"
    told = f"{answer.text} {answer.headers}"
    yield from (f"tells {word!r}" for word in FORBIDDEN if word in told)


def test_corpus_is_large_and_without_repetition() -> None:
    """At least 500 requests, each of its own, each expecting nothing but 4xx."""
    cases = corpus(SAMPLE)
    assert len(cases) >= 500
    assert len({case.identity for case in cases}) == len(cases)
    assert all(400 <= status < 500 for case in cases for status in case.expected)


@pytest.mark.parametrize("group", GROUPS)
async def test_bad_requests_are_refused_without_a_trace(
    group: str,
    facts: Facts,
    admin: Api,
    databases: Databases,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each case is answered by a clean 4xx problem, and no row and no secret moves."""
    caplog.set_level(logging.DEBUG, logger="denizen")
    before = await _state(databases)
    wrong: list[str] = []

    for case in GROUPS[group](facts):
        api = admin if case.is_signed_in else Api(admin.client)
        answer = await api.send(case.method, case.path, **case.options)
        if complaints := list(_complaints(case, answer)):
            wrong.append(f"{case.name}: {', '.join(complaints)}")

    if await _state(databases) != before:
        wrong.append("the rows of users or sessions are not what they were")
    if CANARY in caplog.text:
        wrong.append("the log tells the secret")
    assert not wrong, f"{len(wrong)} of {group}:\n" + "\n".join(wrong)
