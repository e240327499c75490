"""The rules of passwords at every place where one is set: the same ones, and no other way in."""

import base64
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import update
from uuid_utils.compat import uuid7

from denizen.app import Denizen
from denizen.db.model import table_of
from denizen.passwords.hasher import Argon2Parameters, PasswordHasher
from denizen.tokens.model import DAY, Purpose, registration_id
from denizen.tokens.queries import issue
from denizen.users.model import UserModel
from processes import command
from support import PASSWORD, Api, a_user

EMAIL: Final = "annette@example.com"
REFUSED: Final[dict[str, tuple[str, str]]] = {
    "t_pw_1 too short": ("x7#kQ2m!pL9vZw", "password_too_short"),
    "t_pw_1 too short in NFC": ("e\u0301" * 14, "password_too_short"),
    "t_pw_2 too long": ("ab cd efg " * 25 + "1234567", "password_too_long"),
    "t_pw_2 a megabyte": ("x" * 60_000, "password_too_long"),
    "t_pw_5 on the list": ("passwordpassword", "password_blocklisted"),
    "t_pw_5 on the list in capitals": ("PASSWORDPASSWORD", "password_blocklisted"),
    "t_pw_5b own name": ("annette1annette2", "password_context"),
    "t_pw_5b the product": ("denizen2026!!!!!!!", "password_context"),
    "lone surrogate": ("a fine long pass\ud800 77", "password_invalid"),
}
ACCEPTED: Final[dict[str, str]] = {
    "t_pw_1 fifteen": "x7#kQ2m!pL9vZwB",
    "t_pw_1 fifteen emoji": "🦊🐢🦉🐙🦀🐝🦋🐌🐞🦂🐍🦎🦖🐳🦈",
    "t_pw_2 two hundred and fifty-six": "ab cd efg " * 25 + "123456",
    "t_pw_3 decomposed": "cafe\u0301 au lait et the\u0301",
    "t_pw_4 Cyrillic": "кот спит на печи",
    "t_pw_4 lower case": "kwmzxqjvtrplnsg",
    "t_pw_4 blanks around": "  seven tiny ducks  ",
    "t_pw_4 NUL and quotes": "a\0b'\";-- and more text",
}
AT_THE_COMMAND_LINE: Final = {
    "t_pw_1 too short", "t_pw_2 too long", "t_pw_5 on the list", "t_pw_5b own name",
}  # fmt: skip
Set = Callable[[Api, Denizen[UserModel], str], Awaitable[Any]]


async def _by_registration(api: Api, denizen: Denizen[UserModel], password: str) -> Any:
    token = await _token(denizen, Purpose.REGISTRATION, registration_id(EMAIL))
    body = {"token": token, "username": "annette", "password": password}
    return await _send(api, "POST", "/v1/registrations/confirm", body)


async def _by_reset(api: Api, denizen: Denizen[UserModel], password: str) -> Any:
    user = await a_user(denizen, email=EMAIL, username="annette", password=PASSWORD)
    token = await _token(denizen, Purpose.PASSWORD_RESET, user.id)
    return await _send(
        api, "POST", "/v1/password-resets/confirm", {"token": token, "password": password}
    )


async def _by_invitation(api: Api, denizen: Denizen[UserModel], password: str) -> Any:
    user = await a_user(denizen, email=EMAIL, username="annette", verified=False)
    token = await denizen.passwords.make_link(user.id, "invitation")
    return await _send(
        api, "POST", "/v1/password-resets/confirm", {"token": token, "password": password}
    )


async def _by_change(api: Api, denizen: Denizen[UserModel], password: str) -> Any:
    await a_user(denizen, email=EMAIL, username="annette", password=PASSWORD)
    me = await api.signed_in(EMAIL, PASSWORD)
    body = {"current_password": PASSWORD, "new_password": password}
    return await _send(me, "PUT", "/v1/me/password", body)


async def _by_admin(api: Api, denizen: Denizen[UserModel], password: str) -> Any:
    root = await a_user(denizen, password=PASSWORD, role="admin")
    console = await api.signed_in(root.email, PASSWORD)
    body = {"email": EMAIL, "username": "annette", "password": password, "email_verified": True}
    return await _send(console, "POST", "/v1/users", body)


async def _by_key(api: Api, denizen: Denizen[UserModel], password: str) -> Any:
    text, _ = await denizen.keys.create_key("a service", ["users:write"])
    body = {"email": EMAIL, "username": "annette", "password": password, "email_verified": True}
    return await _send(Api(api.client, text), "POST", "/v1/users", body)


ENTRIES: Final[dict[str, Set]] = {
    "registration": _by_registration,
    "reset": _by_reset,
    "invitation": _by_invitation,
    "change": _by_change,
    "admin": _by_admin,
    "key": _by_key,
}


@pytest.mark.parametrize("rule", REFUSED)
@pytest.mark.parametrize("entry", ENTRIES)
async def test_t_pw_1_t_pw_2_t_pw_5_rule_holds_at_every_entry(
    anonymous: Api,
    denizen: Denizen[UserModel],
    entry: str,
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """422 with the reason, before anything is hashed; T-PW-5b for the person's own words."""
    password, code = REFUSED[rule]
    hashed: list[str] = []
    compute = denizen.hasher.hash

    async def noting(password: str, *network: str) -> str:
        hashed.append(password)
        return await compute(password, *network)

    monkeypatch.setattr(denizen.hasher, "hash", noting)
    answer = await ENTRIES[entry](anonymous, denizen, password)

    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    if rule == "lone surrogate":  # it is no JSON in the first place
        assert error["field"] == "body"
    else:
        assert error["code"] == code
        assert "password" in error["field"]
    assert set(hashed) <= {PASSWORD}  # of the people who were there before
    assert password[:40] not in answer.text


@pytest.mark.parametrize("rule", ACCEPTED)
@pytest.mark.parametrize("entry", ["registration", "reset", "change", "admin"])
async def test_t_pw_2b_t_pw_3_t_pw_4_what_is_accepted_signs_in(
    anonymous: Api, denizen: Denizen[UserModel], entry: str, rule: str
) -> None:
    """Any composition and length up to 256, in either Unicode form; and as typed alone."""
    password = ACCEPTED[rule]
    answer = await ENTRIES[entry](anonymous, denizen, password)
    assert answer.status_code < 300, answer.text

    await anonymous.signed_in(EMAIL, password)
    for other in {password[:-1], password[:72], password.swapcase(), password.strip()} - {password}:
        body = {"email": EMAIL, "password": other}
        assert (await anonymous.post("/v1/sessions", json=body)).status_code == 401


def test_t_pw_1_t_pw_5_rules_hold_at_the_command_line(tmp_path: Path) -> None:
    """Status 1 and the reason on one line; the password is not repeated, and nobody is made."""
    folder = tmp_path / "data"
    for rule, (password, _) in REFUSED.items():
        if rule not in AT_THE_COMMAND_LINE:
            continue
        words = ("users", "create", EMAIL, "annette", "--password-stdin")
        refused = command(folder, *words, stdin=password + "\n")
        assert refused.returncode == 1, (rule, refused.stderr)
        assert refused.stderr.startswith("denizen: "), rule
        assert password not in refused.stdout + refused.stderr
    assert '"items":[]' in command(folder, "users", "list", "--json").stdout


async def test_t_pw_6_change_needs_the_current_one_and_changes_nothing_without(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Missing: 422; wrong: 403; the stored hash stays in both cases."""
    user = await a_user(denizen, email=EMAIL, password=PASSWORD)
    me = await anonymous.signed_in(EMAIL, PASSWORD)
    new = "another " + PASSWORD
    missing = await _send(me, "PUT", "/v1/me/password", {"new_password": new})
    wrong = await _send(
        me, "PUT", "/v1/me/password", {"current_password": new, "new_password": new}
    )

    assert missing.status_code == 422
    assert (wrong.status_code, wrong.json()["code"]) == (403, "password_wrong")
    assert await _hash_of(denizen, user) == user.hashed_password


async def test_t_pw_7_no_password_grows_old(anonymous: Api, denizen: Denizen[UserModel]) -> None:
    """Four hundred days later it opens a session, and nothing asks for a new one."""
    await a_user(denizen, email=EMAIL, password=PASSWORD)
    denizen.clock.skew = timedelta(days=400)

    me = await anonymous.signed_in(EMAIL, PASSWORD)

    assert set((await me.get("/v1/me")).json()) >= {"id", "email"}


@pytest.mark.full_hashes
async def test_t_hash_1_t_hash_3_stored_hash_is_argon2id_with_a_salt_of_its_own(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """T-HASH-3: 19 MiB, two passes, one lane, 128 bits of salt, 256 of tag; never twice alike."""
    found = []
    for n in range(2):
        body = {"email": f"u{n}@example.com", "username": f"u{n}", "password": PASSWORD}
        made = (await admin.post("/v1/users", json=body)).json()
        user = await denizen.users.get_user(uuid.UUID(made["id"]))
        found.append(await _hash_of(denizen, user) or "")
    for stored in found:
        _, kind, version, cost, salt, tag = stored.split("$")
        assert (kind, version, cost) == ("argon2id", "v=19", "m=19456,t=2,p=1")
        assert [len(base64.b64decode(part + "==")) for part in (salt, tag)] == [16, 32]
    assert found[0] != found[1]


@pytest.mark.full_hashes
async def test_t_hash_2_hash_is_renewed_by_the_right_password_alone(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """A wrong one leaves the older hash as it is; the right one brings it up to date, once."""
    user = await a_user(denizen, email=EMAIL)
    older = await PasswordHasher(parameters=Argon2Parameters(12288, 3)).hash(PASSWORD)
    await _set_hash(denizen, user, older)

    await anonymous.post("/v1/sessions", json={"email": EMAIL, "password": PASSWORD + "x"})
    assert await _hash_of(denizen, user) == older
    await anonymous.signed_in(EMAIL, PASSWORD)
    renewed = await _hash_of(denizen, user)
    await anonymous.signed_in(EMAIL, PASSWORD)

    assert str(renewed).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await _hash_of(denizen, user) == renewed


@pytest.mark.parametrize(
    "stored",
    [
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$argon2id$v=19$m=4194304,t=9,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFn",
        "$argon2id$v=19$m=19456,t=2,p=4096$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFn",
        "",
        PASSWORD,
    ],
    ids=["bcrypt", "heavy", "lanes", "blank", "plain"],
)
async def test_t_hash_5_hash_that_is_not_ours_opens_to_nobody(
    anonymous: Api, denizen: Denizen[UserModel], stored: str
) -> None:
    """Foreign, ruinous, blank or plain: one ordinary 401, whatever is typed, in ordinary time."""
    user = await a_user(denizen, email=EMAIL)
    await _set_hash(denizen, user, stored)
    before = denizen.hasher.evaluations

    for password in (PASSWORD, "", stored):
        answer = await anonymous.post("/v1/sessions", json={"email": EMAIL, "password": password})
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_failed")
    assert denizen.hasher.evaluations == before + 3


async def _token(denizen: Denizen[UserModel], purpose: Purpose, owner: Any) -> str:
    """Make a link's token without a mail."""
    parts = denizen.sessions._parts
    async with denizen.db.get_session() as db:
        issued = await issue(
            db,
            parts.tables.tokens,
            purpose,
            owner,
            request_id=uuid7(),
            now=denizen.clock.db_now,
            life=DAY,
            email=EMAIL,
        )
    assert issued is not None
    return issued.token.text


async def _send(api: Api, method: str, path: str, body: dict[str, Any]) -> Any:
    """Send JSON that may hold what no encoder of UTF-8 takes."""
    headers = {"Content-Type": "application/json"}
    return await api.send(method, path, content=json.dumps(body).encode(), headers=headers)


async def _hash_of(denizen: Denizen[UserModel], user: UserModel) -> str | None:
    async with denizen.db.get_session(read_only=True) as db:
        found = await UserModel.get_by_id(db, user.id)
    assert found is not None
    return found.hashed_password


async def _set_hash(denizen: Denizen[UserModel], user: UserModel, stored: str) -> None:
    table = table_of(UserModel)
    async with denizen.db.get_session() as db:
        await db.execute(update(table).where(table.c.id == user.id).values(hashed_password=stored))
