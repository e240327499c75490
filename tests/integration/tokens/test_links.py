"""Links in mail: they work once, for one purpose, in time, and until something newer counts."""

import asyncio
import hashlib
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.tokens.model import LinkToken, Purpose
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from denizen.users.schemas import CreateUser, UpdateUser
from post import Post
from support import PASSWORD, Api, a_user, until_a_lock_is_waited_for

NEW_PASSWORD = "another long passphrase 78"
Act = Callable[[Denizen[UserModel], Api, UserModel], Awaitable[Any]]


async def _reset_token(anonymous: Api, post: Post, email: str) -> str:
    answer = await anonymous.post("/v1/password-resets", json={"email": email})
    assert answer.status_code == 202, answer.text
    letter = await post.one_to(email)
    assert letter.purpose == "password-reset"
    return letter.token


async def _confirm_reset(anonymous: Api, token: str) -> tuple[int, str | None]:
    body = {"token": token, "password": NEW_PASSWORD}
    answer = await anonymous.post("/v1/password-resets/confirm", json=body)
    return answer.status_code, answer.json()["code"] if answer.content else None


DEAD = (400, "token_invalid")
USED = (204, None)


async def test_t_rst_1_token_has_256_bits_and_the_database_a_digest(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, databases: Databases
) -> None:
    """32 random bytes beside the owner's id; no table holds them, in any spelling."""
    user = await a_user(denizen, email="ann@example.com", password=PASSWORD)
    sent = await _reset_token(anonymous, post, user.email)
    token = LinkToken.parse(sent)
    assert token is not None
    assert (token.user_id, len(token.secret)) == (user.id, 32)

    async with superuser(databases.superuser_url) as watcher:
        stored = await watcher.fetchval("SELECT token_digest FROM tokens")
        dump = await _dump(watcher)

    assert stored == hashlib.sha256(token.secret).digest()
    assert sent not in dump
    assert sent[-40:] not in dump
    assert token.secret.hex() not in dump


async def _dump(watcher: Any) -> str:
    names = await watcher.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [await watcher.fetch(f"SELECT t::text FROM {name[0]} t") for name in names]
    return "\n".join(row[0] for found in rows for row in found)


async def test_t_rst_2_token_works_once(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """204, then the one 400 of all tokens that don't work."""
    user = await a_user(denizen, password=PASSWORD)
    token = await _reset_token(anonymous, post, user.email)

    assert [await _confirm_reset(anonymous, token) for _ in range(2)] == [USED, DEAD]


async def test_t_race_2_t_rst_2_fifty_uses_at_once_have_one_success(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fifty that look at a live token at the same time one takes it."""
    user = await a_user(denizen, password=PASSWORD)
    token = await _reset_token(anonymous, post, user.email)
    hashed = await denizen.hasher.hash(NEW_PASSWORD)
    everybody = asyncio.Barrier(50)

    async def hash_with_all(*_: str) -> str:
        await everybody.wait()  # each of them has found the token good
        return hashed

    monkeypatch.setattr(denizen.hasher, "hash", hash_with_all)
    answers = await asyncio.gather(*(_confirm_reset(anonymous, token) for _ in range(50)))

    assert Counter(answers) == {USED: 1, DEAD: 49}


async def test_t_race_2_fifty_confirmations_of_a_registration_make_one_account(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty with one link and different names: one 201, and one user."""
    await anonymous.post("/v1/registrations", json={"email": "ann@example.com"})
    token = (await post.one_to("ann@example.com")).token
    hashed = await denizen.hasher.hash(PASSWORD)
    everybody = asyncio.Barrier(50)

    async def hash_with_all(*_: str) -> str:
        await everybody.wait()
        return hashed

    monkeypatch.setattr(denizen.hasher, "hash", hash_with_all)
    bodies = [{"token": token, "username": f"ann{n}", "password": PASSWORD} for n in range(50)]
    answers = await asyncio.gather(
        *(anonymous.post("/v1/registrations/confirm", json=body) for body in bodies)
    )

    assert Counter(answer.status_code for answer in answers) == {201: 1, 400: 49}
    assert len(list(await denizen.users.list_users(UserFilter()))) == 1


async def _registration(api: Api, _denizen: Denizen[UserModel]) -> str:
    await api.post("/v1/registrations", json={"email": "new@example.com"})
    return "new@example.com"


async def _reset(api: Api, denizen: Denizen[UserModel]) -> str:
    user = await a_user(denizen, email="old@example.com")
    await api.post("/v1/password-resets", json={"email": user.email})
    return user.email


async def _invitation(_api: Api, denizen: Denizen[UserModel]) -> str:
    await denizen.users.create_user(CreateUser(email="guest@example.com", username="guest"))
    return "guest@example.com"


async def _verification(api: Api, denizen: Denizen[UserModel]) -> str:
    user = await a_user(denizen, email="old@example.com", verified=False)
    await api.post("/v1/email-verifications", json={"email": user.email})
    return user.email


async def _change(api: Api, denizen: Denizen[UserModel]) -> str:
    await a_user(denizen, email="old@example.com", password=PASSWORD)
    ann = await api.signed_in("old@example.com", PASSWORD)
    await ann.post("/v1/me/email", json={"email": "new@example.com", "password": PASSWORD})
    return "new@example.com"


async def _change_notice(api: Api, denizen: Denizen[UserModel]) -> str:
    await _change(api, denizen)
    return "old@example.com"


async def _deletion(api: Api, denizen: Denizen[UserModel]) -> str:
    await a_user(denizen, email="old@example.com", password=PASSWORD)
    ann = await api.signed_in("old@example.com", PASSWORD)
    await ann.post("/v1/me/deletion", json={"password": PASSWORD})
    return "old@example.com"


CONFIRMING: dict[str, tuple[str, dict[str, str], int]] = {
    "registration": (
        "/v1/registrations/confirm",
        {"username": "new", "password": NEW_PASSWORD},
        201,
    ),
    "password-reset": ("/v1/password-resets/confirm", {"password": NEW_PASSWORD}, 204),
    "email-verification": ("/v1/email-verifications/confirm", {}, 204),
    "email-change": ("/v1/email-changes/confirm", {}, 204),
    "email-undo": ("/v1/email-changes/undo", {}, 204),
    "deletion-undo": ("/v1/deletions/undo", {}, 204),
}
Asking = Callable[[Api, Denizen[UserModel]], Awaitable[str]]
ASKING: list[tuple[Asking, str, timedelta]] = [
    (_registration, "registration", timedelta(hours=24)),
    (_reset, "password-reset", timedelta(hours=1)),
    (_invitation, "password-reset", timedelta(hours=24)),
    (_verification, "email-verification", timedelta(hours=24)),
    (_change, "email-change", timedelta(hours=24)),
    (_change_notice, "email-undo", timedelta(days=30)),
    (_deletion, "deletion-undo", timedelta(days=30)),
]


@pytest.mark.parametrize(("ask", "purpose", "life"), ASKING)
async def test_t_rst_3_t_inv_1_token_dies_at_its_end(
    anonymous: Api,
    denizen: Denizen[UserModel],
    post: Post,
    *,
    ask: Asking,
    purpose: str,
    life: timedelta,
) -> None:
    """Just outside its life a token is the one 400, just inside it works, and then never again."""
    letter = await post.one_to(await ask(anonymous, denizen))
    path, more, status = CONFIRMING[purpose]
    body = {"token": letter.token} | more
    told = []
    for skew in (life + timedelta(seconds=1), life - timedelta(seconds=20), timedelta(0)):
        denizen.clock.skew = skew
        told.append((await anonymous.post(path, json=body)).status_code)

    assert letter.purpose == purpose
    assert told == [400, status, 400]


@pytest.mark.parametrize(("ask", "purpose", "life"), ASKING)
async def test_t_flow_1_token_is_good_for_its_purpose_alone(
    anonymous: Api,
    denizen: Denizen[UserModel],
    post: Post,
    *,
    ask: Asking,
    purpose: str,
    life: timedelta,
) -> None:
    """At every other door it is the one 400, and none of them uses it up."""
    letter = await post.one_to(await ask(anonymous, denizen))
    for other, (path, more, _) in CONFIRMING.items():
        if other != purpose:
            answer = await anonymous.post(path, json={"token": letter.token} | more)
            assert (answer.status_code, answer.json()["code"]) == DEAD, other

    path, more, status = CONFIRMING[purpose]
    answer = await anonymous.post(path, json={"token": letter.token} | more)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", [path for path, _, _ in CONFIRMING.values()])
async def test_t_flow_1_nothing_is_confirmed_that_was_not_asked_for(
    anonymous: Api, denizen: Denizen[UserModel], path: str
) -> None:
    """Guessed, truncated, prolonged, re-spelt, of another kind, empty: one 400 for all."""
    user = await a_user(denizen, password=PASSWORD)
    session = (await anonymous.signed_in(user.email, PASSWORD)).token
    more = next(more for one, more, _ in CONFIRMING.values() if one == path)
    guessed = LinkToken.new(user.id).text
    tokens = ["", "dzl_", guessed, guessed[:-1], guessed + "A", guessed.lower(), session, "é" * 68]

    answers = [await anonymous.post(path, json={"token": token} | more) for token in tokens]

    assert {(a.status_code, a.json()["code"]) for a in answers} == {DEAD}
    assert len({answer.content for answer in answers}) == 1


async def test_t_rst_5_token_of_another_user_is_nobodys(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """The secret of one with the id of another opens neither account."""
    user, other = await a_user(denizen, password=PASSWORD), await a_user(denizen)
    token = LinkToken.parse(await _reset_token(anonymous, post, user.email))
    assert token is not None

    forged = LinkToken(other.id, token.secret).text
    assert await _confirm_reset(anonymous, forged) == DEAD
    assert await _confirm_reset(anonymous, token.text) == USED


async def test_t_rst_5_older_link_is_dead_after_a_newer(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """The last mail counts, also for registrations, in whatever spelling they were asked for."""
    user = await a_user(denizen, password=PASSWORD)
    older = await _reset_token(anonymous, post, user.email)
    newer = await _reset_token(anonymous, post, user.email)
    registrations = []
    for email in ("New@example.com", "new@EXAMPLE.com"):
        await anonymous.post("/v1/registrations", json={"email": email})
        registrations.append((await post.one_to(email.replace("EXAMPLE", "example"))).token)
    body = {"username": "new", "password": NEW_PASSWORD}

    assert await _confirm_reset(anonymous, older) == DEAD
    assert await _confirm_reset(anonymous, newer) == USED
    bodies = [body | {"token": token} for token in registrations]
    answers = [await anonymous.post("/v1/registrations/confirm", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [400, 201]


async def test_t_rst_5_mails_sent_in_the_wrong_order_leave_the_last_request(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, databases: Databases
) -> None:
    """A mail that had to wait makes no link when a later one is out."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.post("/v1/password-resets", json={"email": user.email})
    async with superuser(databases.superuser_url) as writer:
        await writer.execute("UPDATE outbox SET next_try_at = now() + interval '1 minute'")
    newer = await _reset_token(anonymous, post, user.email)
    denizen.clock.skew = timedelta(minutes=2)

    assert await post.all_to(user.email) == []
    assert await _confirm_reset(anonymous, newer) == USED


async def _change_password(_denizen: Denizen[UserModel], api: Api, user: UserModel) -> None:
    ann = await api.signed_in(user.email, PASSWORD)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD + "9"}
    answer = await ann.put("/v1/me/password", json=body)
    assert answer.status_code == 204, answer.text


async def _change_email(denizen: Denizen[UserModel], _api: Api, user: UserModel) -> None:
    change = UpdateUser(email="moved@example.com", email_verified=True)
    await denizen.users.update_user(user.id, change)


async def _disable(denizen: Denizen[UserModel], _api: Api, user: UserModel) -> None:
    await denizen.users.update_user(user.id, UpdateUser(is_active=False))


async def _disable_and_enable(denizen: Denizen[UserModel], _api: Api, user: UserModel) -> None:
    await denizen.users.update_user(user.id, UpdateUser(is_active=False))
    await denizen.users.update_user(user.id, UpdateUser(is_active=True))


async def _delete(denizen: Denizen[UserModel], _api: Api, user: UserModel) -> None:
    await denizen.users.delete_user(user.id)


async def _erase(denizen: Denizen[UserModel], _api: Api, user: UserModel) -> None:
    await denizen.users.delete_user(user.id, at_once=True)


ACTS: list[Act] = [
    _change_password,
    _change_email,
    _disable,
    _disable_and_enable,
    _delete,
    _erase,
]


@pytest.mark.parametrize("act", ACTS)
async def test_t_rst_9_t_ses_7_reset_link_is_dead_after_what_changes_the_account(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, act: Act
) -> None:
    """Password or address changed, disabled (and enabled again), deleted: the link is void."""
    user = await a_user(denizen, password=PASSWORD)
    token = await _reset_token(anonymous, post, user.email)

    await act(denizen, anonymous, user)

    assert await _confirm_reset(anonymous, token) == DEAD


@pytest.mark.parametrize("act", ACTS)
async def test_t_rst_9_queued_link_is_void_as_well(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, act: Act
) -> None:
    """Asked for before, not sent yet: no mail with a link comes any more."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.post("/v1/password-resets", json={"email": user.email})

    await act(denizen, anonymous, user)

    letters = await post.all_to(user.email) + await post.all_to("moved@example.com")
    assert [one.subject for one in letters if one.purpose == "password-reset"] == []


async def test_t_rst_9_link_in_the_making_is_void_as_well(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, databases: Databases
) -> None:
    """A worker that has just claimed the mail is waited for, and its token goes too."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.post("/v1/password-resets", json={"email": user.email})
    compose = denizen.mail._compose
    claimed, changing = asyncio.Event(), asyncio.Event()

    async def slowly(db: Any, row: Any) -> Any:
        mail = await compose(db, row)
        claimed.set()
        await changing.wait()
        return mail

    denizen.mail._compose = slowly  # type: ignore[method-assign]
    sending = asyncio.create_task(denizen.mail.send_due())
    await claimed.wait()
    change = asyncio.create_task(_change_password(denizen, anonymous, user))
    async with superuser(databases.superuser_url) as watcher:
        await until_a_lock_is_waited_for(watcher)
    changing.set()
    await asyncio.gather(sending, change)

    letters = await post.all_to(user.email)
    (made,) = [one.token for one in letters if one.purpose == "password-reset"]
    assert await _confirm_reset(anonymous, made) == DEAD


async def test_t_rst_8_reset_ends_every_session_and_signs_nobody_in(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """All devices are out, the old password is wrong, the new one right; the owner is told."""
    user = await a_user(denizen, password=PASSWORD)
    devices = [await anonymous.signed_in(user.email, PASSWORD) for _ in range(2)]
    token = await _reset_token(anonymous, post, user.email)
    body = {"token": token, "password": NEW_PASSWORD}
    answer = await anonymous.post("/v1/password-resets/confirm", json=body)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "set-cookie" not in answer.headers
    assert [(await one.get("/v1/me")).status_code for one in devices] == [401, 401]
    old = {"email": user.email, "password": PASSWORD}
    assert (await anonymous.post("/v1/sessions", json=old)).status_code == 401
    await anonymous.signed_in(user.email, NEW_PASSWORD)
    assert [one.purpose for one in await post.all_to(user.email)] == ["forgot"]  # T-NOTE-1


async def test_t_rst_2_refused_password_leaves_the_link_good(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """422 for a weak password, then the same link with a better one."""
    user = await a_user(denizen, password=PASSWORD)
    token = await _reset_token(anonymous, post, user.email)
    weak = {"token": token, "password": "passwordpassword"}

    assert (await anonymous.post("/v1/password-resets/confirm", json=weak)).status_code == 422
    assert await _confirm_reset(anonymous, token) == USED


async def test_t_rst_11_look_alike_gets_no_mail(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """Letters that look alike name another mailbox; a mail goes to the address that is stored."""
    await a_user(denizen, email="mike@example.com", username="mike")
    await a_user(denizen, email="fine@example.com", username="fine")
    for address in ("mıke@example.com", "ﬁne@example.com", "mİke@example.com"):
        answer = await anonymous.post("/v1/password-resets", json={"email": address})
        assert answer.status_code in {202, 422}
        assert await post.all_to(address) == []
    assert await post.all_to("mike@example.com") == []

    await anonymous.post("/v1/password-resets", json={"email": "MIKE@Example.COM"})
    assert (await post.one_to("mike@example.com")).purpose == "password-reset"


async def test_t_inv_1_invited_user_chooses_a_password(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """Nobody signs in before; the link sets the password once and confirms the address."""
    user = await denizen.users.create_user(CreateUser(email="guest@example.com", username="guest"))
    token = (await post.one_to(user.email)).token
    before = await anonymous.post("/v1/sessions", json={"email": user.email, "password": ""})

    assert before.status_code == 401
    assert [await _confirm_reset(anonymous, token) for _ in range(2)] == [USED, DEAD]
    guest = await anonymous.signed_in(user.email, NEW_PASSWORD)
    assert (await guest.get("/v1/me")).json()["email_verified"] is True


async def test_registration_link_survives_a_taken_name_and_a_weak_password(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """409 and 422 leave it good; 201 uses it up."""
    await a_user(denizen, username="taken")
    await anonymous.post("/v1/registrations", json={"email": "ann@example.com"})
    body = {"token": (await post.one_to("ann@example.com")).token}
    told = []
    for username, password in (
        ("TAKEN", NEW_PASSWORD),
        ("ann", "short"),
        ("ann", NEW_PASSWORD),
        ("ann2", NEW_PASSWORD),
    ):
        more = {"username": username, "password": password}
        answer = await anonymous.post("/v1/registrations/confirm", json=body | more)
        told.append((answer.status_code, answer.json().get("code")))

    assert told == [(409, "username_taken"), (422, "invalid"), (201, None), DEAD]


async def test_name_taken_at_the_last_moment_leaves_the_link_good(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes the name while the password is hashed: the index refuses, nothing is used."""
    await anonymous.post("/v1/registrations", json={"email": "ann@example.com"})
    token = (await post.one_to("ann@example.com")).token
    hashed = await denizen.hasher.hash(NEW_PASSWORD)

    async def meanwhile(*_: str) -> str:
        monkeypatch.undo()
        await a_user(denizen, username="ann")
        return hashed

    monkeypatch.setattr(denizen.hasher, "hash", meanwhile)
    body = {"token": token, "username": "ann", "password": NEW_PASSWORD}
    refused = await anonymous.post("/v1/registrations/confirm", json=body)
    body["username"] = "ann2"
    made = await anonymous.post("/v1/registrations/confirm", json=body)

    assert (refused.status_code, refused.json()["code"]) == (409, "username_taken")
    assert made.status_code == 201


async def test_mail_sent_twice_has_two_good_tokens_of_one_request(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, databases: Databases
) -> None:
    """As after a crash: one Message-ID, both links good, and the use of either ends both."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.post("/v1/password-resets", json={"email": user.email})
    for used in (0, 1):
        async with superuser(databases.superuser_url) as writer:
            rows = await writer.fetch("SELECT * FROM outbox WHERE next_try_at IS NOT NULL")
            first = await post.one_to(user.email)
            await writer.execute("DELETE FROM outbox")
            values = list(dict(rows[0]).values())
            marks = ", ".join(f"${n + 1}" for n in range(len(values)))
            await writer.execute(f"INSERT INTO outbox VALUES ({marks})", *values)
        second = await post.one_to(user.email)

        assert first.message["Message-ID"] == second.message["Message-ID"]
        assert first.token != second.token
        tokens = [first.token, second.token]
        assert await _confirm_reset(anonymous, tokens.pop(used)) == USED
        assert await _confirm_reset(anonymous, tokens[0]) == DEAD
        await post.all_to(user.email)
        await anonymous.post("/v1/password-resets", json={"email": user.email})


async def test_expired_tokens_are_purged(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """What is over leaves the table; what is live stays."""
    user = await a_user(denizen, password=PASSWORD)
    await _reset_token(anonymous, post, user.email)
    await anonymous.post("/v1/registrations", json={"email": "ann@example.com"})
    await post.deliver()
    denizen.clock.skew = timedelta(hours=2)

    await denizen.housekeeper.clean_up()

    async with denizen.db.get_session(read_only=True) as db:
        left = (await db.scalars(text("SELECT purpose FROM tokens"))).all()
    assert list(left) == [Purpose.REGISTRATION]


async def test_link_of_nobody_is_dead(anonymous: Api) -> None:
    """A token for an id that no user has."""
    assert await _confirm_reset(anonymous, LinkToken.new(uuid.uuid4()).text) == DEAD
