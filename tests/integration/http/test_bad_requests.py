"""Some hundreds of bad requests: each is refused as the contract says, and none of them leaves a trace.

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
from support import PASSWORD, Api, a_user, superuser

from denizen.app import Denizen
from denizen.db.testing import Databases
from denizen.sessions.model import Token
from denizen.users.model import UserModel

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


@dataclass(frozen=True, slots=True)
class Facts:
    """What is in the database that the cases speak about."""

    user_id: str
    token: str
    other_token: str
    cursor: str
    email_cursor: str


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
        ("PATCH", f"/v1/users/{facts.user_id}", dict, ("email", "username", "role", "locale")),
        ("PATCH", f"/v1/users/{facts.user_id}", dict, FLAG_FIELDS),
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
            ("PATCH", f"/v1/users/{facts.user_id}", dict[str, object]),
            ("POST", "/v1/sessions", credentials),
        ):
            options = body(make() | {name: "x"})
            yield Case(f"{method} {path} unknown {name!r}", method, path, options, INVALID, name)
    path = f"/v1/users/{facts.user_id}"
    yield Case("PATCH password", "PATCH", path, body({"password": CANARY}), INVALID, "password")


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
    "old Hangul": "\u1100\u1161",
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
    path = f"/v1/users/{facts.user_id}"
    for kind, email in BAD_EMAILS.items():
        options = body(new_user(email=email))
        yield Case(f"create email {kind}", "POST", "/v1/users", options, INVALID, "email")
        options = body({"email": email})
        yield Case(f"update email {kind}", "PATCH", path, options, INVALID, "email")
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


GROUPS: Final[dict[str, Callable[[Facts], Iterable[Case]]]] = {
    "wrong types": wrong_types,
    "unknown fields": unknown_fields,
    "values": values,
}
SAMPLE: Final = Facts(NOBODY, "dz_", "dz_", "", "")


def corpus(facts: Facts) -> list[Case]:
    """Give every case."""
    return [case for group in GROUPS.values() for case in group(facts)]


@pytest.fixture
async def facts(admin: Api, anonymous: Api, denizen: Denizen[UserModel]) -> Facts:
    """Put people into the database and learn what the cases need."""
    ann = await a_user(denizen, email="ann@example.com", username="ann", password=PASSWORD)
    signed_in = await anonymous.signed_in(ann.email, PASSWORD)
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

    assert not wrong, f"{len(wrong)} cases:\n" + "\n".join(wrong)
    assert await _state(databases) == before
    assert CANARY not in caplog.text
