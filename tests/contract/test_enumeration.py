"""Nobody learns from a public form which addresses are known (ASVS 6.3.8).

For each form and each state that an account can be in, everything that a stranger can see or
measure is observed: status, headers, body, argon2 evaluations, SQL statements. All states of a form
must be one class; the controls at the end show that the eye is not blind.
"""

import html
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.mail import queue
from denizen.mail.queries import enqueue
from denizen.passwords.hasher import Argon2Parameters, PasswordHasher
from denizen.passwords.queue import Place
from denizen.throttle.model import MAIL_ADDRESS, SIGN_IN_ACCOUNT
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from denizen.users.values import email_key
from support import PASSWORD, Api, StatementCounter, a_user
from webforms import ORIGIN, Browser

OLDER: Final = Argon2Parameters(memory=12288, passes=3)
BCRYPT: Final = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
BROKEN: Final = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$"
HEAVY: Final = "$argon2id$v=19$m=4194304,t=9,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFn"
ODD: Final = {"foreign": BCRYPT, "broken": BROKEN, "heavy": HEAVY, "blank": ""}

People = dict[str, str]  # state -> address
Form = Callable[[Api, str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a stranger sees or measures of one request."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    evaluations: int
    statements: tuple[str, ...]


class Observer:
    """Sends a form and looks."""

    def __init__(self, denizen: Denizen[UserModel], statements: StatementCounter) -> None:
        self._denizen = denizen
        self._statements = statements

    async def see(self, form: Form, api: Api, email: str) -> Seen:
        """Give what is to be seen of one request."""
        before = self._denizen.hasher.evaluations
        async with self._statements.listening() as heard:
            answer = await form(api, email)
        return Seen(
            answer.status_code,
            tuple(sorted((n, v) for n, v in answer.headers.items() if n != "x-request-id")),
            answer.content,
            self._denizen.hasher.evaluations - before,
            tuple(heard),
        )

    async def classes(self, form: Form, api: Api, people: People) -> dict[Seen, list[str]]:
        """Give the states by what is seen of them; a first request warms everything up."""
        await self.see(form, api, "warm-up@example.com")
        found: dict[Seen, list[str]] = {}
        for state, email in people.items():
            found.setdefault(await self.see(form, api, email), []).append(state)
        return found


@pytest.fixture
def observer(denizen: Denizen[UserModel], statements: StatementCounter) -> Observer:
    """Give an observer of the app."""
    return Observer(denizen, statements)


@pytest.fixture
async def people(denizen: Denizen[UserModel]) -> People:
    """Give an address in every state that an account can be in, and two that nobody has."""
    active = await a_user(denizen, password=PASSWORD)
    unverified = await a_user(denizen, password=PASSWORD, verified=False)
    disabled = await a_user(denizen, password=PASSWORD)
    await denizen.users.update_user(disabled.id, UpdateUser(is_active=False))
    leaving = await a_user(denizen, password=PASSWORD)
    await denizen.users.delete_user(leaving.id)
    invited = await a_user(denizen, verified=False)
    older = await a_user(denizen)
    await _set_hash(denizen, older, await PasswordHasher(parameters=OLDER).hash(PASSWORD))
    users = {
        "active": active,
        "unverified": unverified,
        "disabled": disabled,
        "leaving": leaving,
        "without a password": invited,
        "older": older,
    }
    for state, hashed in ODD.items():
        users[state] = await a_user(denizen)
        await _set_hash(denizen, users[state], hashed)
    unknown = {"unknown": "nobody@example.com", "unknown, odd": "ﬁ+x@bücher.example"}
    return unknown | {state: user.email for state, user in users.items()}


async def _set_hash(denizen: Denizen[UserModel], user: UserModel, hashed: str) -> None:
    async with denizen.db.get_session() as db:
        await UserModel.update(db, user.id, hashed_password=hashed)


async def _sign_in_wrongly(api: Api, email: str) -> Any:
    return await api.post("/v1/sessions", json={"email": email, "password": "wrong " + PASSWORD})


async def _sign_in_blank(api: Api, email: str) -> Any:
    return await api.post("/v1/sessions", json={"email": email, "password": ""})


async def _register(api: Api, email: str) -> Any:
    return await api.post("/v1/registrations", json={"email": email})


async def _forget(api: Api, email: str) -> Any:
    return await api.post("/v1/password-resets", json={"email": email})


async def _verify(api: Api, email: str) -> Any:
    return await api.post("/v1/email-verifications", json={"email": email})


async def _change(api: Api, email: str) -> Any:
    return await api.post("/v1/me/email", json={"email": email, "password": PASSWORD})


FORMS: Final[dict[str, Form]] = {
    "sign-in": _sign_in_wrongly,
    "sign-in, blank": _sign_in_blank,
    "registration": _register,
    "t_rst_4 reset": _forget,
    "verification": _verify,
}

MAILING: Final[dict[str, Form]] = {
    "registration": _register,
    "password_reset": _forget,
    "email_verification": _verify,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_t_rst_4_every_account_state_is_one_class(
    anonymous: Api, observer: Observer, people: People, form: Form
) -> None:
    """Known, unknown, disabled, leaving, with any hash or none: a stranger sees one thing."""
    found = await observer.classes(form, anonymous, people)

    assert list(found.values()) == [list(people)]
    seen = next(iter(found))
    assert seen.status == (401 if form in {_sign_in_wrongly, _sign_in_blank} else 202)
    assert seen.evaluations == (seen.status == 401)


@pytest.mark.parametrize("name", ["sign-in", "register", "forgot", "verify"])
async def test_every_account_state_is_one_class_on_the_pages(
    app: FastAPI, observer: Observer, people: People, name: str
) -> None:
    """The forms of the pages hide as much as the routes: but for what was typed, one thing."""

    async def form(_api: Api, email: str) -> Any:
        page = pages[email]
        answer = await browser.post(page.forms[f"/account/{name}"], typed | {"email": email})
        return _Masked(answer, email)

    typed = {"password": "wrong " + PASSWORD} if name == "sign-in" else {}
    browser = Browser.of(app, base_url=ORIGIN)
    emails = [*people.values(), "warm-up@example.com"]
    pages = {email: await browser.open(f"/account/{name}") for email in emails}
    found = await observer.classes(form, Api(browser.client), people)
    await browser.client.aclose()

    assert list(found.values()) == [list(people)]
    seen = next(iter(found))
    assert (seen.status, seen.evaluations) == ((401, 1) if name == "sign-in" else (303, 0))


class _Masked:
    """An answer without what was typed, and without what is fresh in every answer."""

    def __init__(self, answer: httpx.Response, email: str) -> None:
        self.status_code = answer.status_code
        kept = {
            n: v
            for n, v in answer.headers.items()
            if n not in {"content-length", "set-cookie", "x-request-id"}
        }
        cookies = answer.headers.get_list("set-cookie")
        self.headers = kept | {"set-cookie": " ".join(one.partition("=")[0] for one in cookies)}
        text = answer.text.replace(html.escape(email), "").replace(email, "")
        self.content = re.sub(r'value="[^"]*"', "", text).encode()


async def test_address_that_is_asked_for_as_the_new_one_is_one_class(
    anonymous: Api, observer: Observer, people: People, denizen: Denizen[UserModel]
) -> None:
    """Whoever changes their address to another's learns nothing of that one."""
    found: dict[Seen, list[str]] = {}
    for number, (state, email) in enumerate(people.items()):
        me = await a_user(denizen, email=f"me{number}@example.com", password=PASSWORD)
        api = await anonymous.signed_in(me.email, PASSWORD)
        await api.get("/v1/me/sessions")  # last seen is noted
        found.setdefault(await observer.see(_change, api, email), []).append(state)

    assert list(found.values()) == [list(people)]
    assert next(iter(found)).status == 202


async def test_right_password_of_an_account_that_can_not_be_used_is_one_answer(
    anonymous: Api, observer: Observer, people: People
) -> None:
    """Disabled, leaving, unverified: even the right password gets the answer of a wrong one.

    Only the statements of the unverified differ: who has the password is mailed the link again.
    """

    async def sign_in(api: Api, email: str) -> Any:
        return await api.post("/v1/sessions", json={"email": email, "password": PASSWORD})

    states = ("unknown", "unverified", "disabled", "leaving", "without a password", *ODD)
    seen = {state: await observer.see(sign_in, anonymous, people[state]) for state in states}

    answers = {(one.status, one.headers, one.body, one.evaluations) for one in seen.values()}
    assert len(answers) == 1
    assert len({one.statements for s, one in seen.items() if s != "unverified"}) == 1


async def test_throttled_account_is_one_class_whether_or_not_it_exists(
    anonymous: Api, observer: Observer, people: People, denizen: Denizen[UserModel]
) -> None:
    """After a hundred failures the answer stays, nothing is computed, and that for all alike."""
    usual = await observer.see(_sign_in_wrongly, anonymous, "somebody@example.com")
    await _empty(denizen, SIGN_IN_ACCOUNT, people, "{}")

    found = await observer.classes(_sign_in_wrongly, anonymous, people)

    assert list(found.values()) == [list(people)]
    seen = next(iter(found))
    assert (seen.status, seen.headers, seen.body) == (usual.status, usual.headers, usual.body)
    assert seen.evaluations == 0


@pytest.mark.parametrize("kind", MAILING)
async def test_mailbox_at_its_limit_is_one_class_and_not_told(
    anonymous: Api,
    observer: Observer,
    people: People,
    denizen: Denizen[UserModel],
    kind: str,
) -> None:
    """Beyond five mails nothing is queued, and the form answers as before."""
    form = MAILING[kind]
    usual = await observer.see(form, anonymous, "somebody@example.com")
    await _empty(denizen, MAIL_ADDRESS, people, kind + " {}")

    found = await observer.classes(form, anonymous, people)

    assert list(found.values()) == [list(people)]
    seen = next(iter(found))
    assert (seen.status, seen.headers, seen.body) == (usual.status, usual.headers, usual.body)


async def test_known_device_is_one_class(
    anonymous: Api, observer: Observer, people: People
) -> None:
    """From the network of an earlier sign-in a wrong password looks like anybody's."""
    await anonymous.signed_in(people["active"], PASSWORD)

    found = await observer.classes(_sign_in_wrongly, anonymous, people)

    assert list(found.values()) == [list(people)]


async def test_control_without_the_dummy_hash_the_classes_part(
    anonymous: Api,
    observer: Observer,
    people: People,
    denizen: Denizen[UserModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the dummy taken out, accounts with a password stand out: the eye sees."""
    verify = denizen.hasher.verify

    async def without_dummy(stored: str | None, password: str, *, place: Place) -> bool:
        return stored is not None and await verify(stored, password, place=place)

    monkeypatch.setattr(denizen.hasher, "verify", without_dummy)

    found = await observer.classes(_sign_in_wrongly, anonymous, people)

    by_cost = {seen.evaluations: states for seen, states in found.items()}
    assert by_cost[0] == ["unknown", "unknown, odd", "without a password"]
    assert len(found) == 2


async def test_control_with_a_statement_more_for_the_known_the_classes_part(
    anonymous: Api, observer: Observer, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one look more for known addresses, these stand out."""

    async def curious(db: Any, outbox: Any, kind: Any, email: str, **more: Any) -> Any:
        if (user := await UserModel.get_by_email(db, email)) is not None:
            await UserModel.get_by_username(db, user.username)
        return await enqueue(db, outbox, kind, email, **more)

    monkeypatch.setattr(queue, "enqueue", curious)

    found = await observer.classes(_forget, anonymous, people)

    assert sorted(map(len, found.values())) == [2, len(people) - 2]


async def _empty(denizen: Denizen[UserModel], limit: Any, people: People, value: str) -> None:
    """Empty the bucket of every address, and the one that warms up."""
    table = denizen.sessions._parts.tables.throttles
    async with denizen.db.get_session() as db:
        for email in [*people.values(), "warm-up@example.com"]:
            await db.execute(
                table.insert().values(
                    key=limit.bucket(value.format(email_key(email))),
                    full_at=denizen.clock.now() + limit.burst * limit.refill,
                )
            )
