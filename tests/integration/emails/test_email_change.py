"""Changing one's address: confirmed by the new mailbox, undone by the old one."""

from datetime import timedelta
from typing import Any

import pytest

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.errors import PasswordWrongError
from denizen.passwords.queue import Place
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from post import Letter, Post
from support import PASSWORD, Api, a_user

FIRST, SECOND, THIRD = "first@example.com", "second@example.com", "third@example.com"
NEW_PASSWORD = "another long passphrase 78"


@pytest.fixture
async def ann(denizen: Denizen[UserModel], anonymous: Api) -> Api:
    """Give somebody signed in."""
    await a_user(denizen, email=FIRST, username="ann", password=PASSWORD)
    return await anonymous.signed_in(FIRST, PASSWORD)


async def _ask(ann: Api, address: str) -> int:
    body = {"email": address, "password": PASSWORD}
    return (await ann.post("/v1/me/email", json=body)).status_code


async def _confirm(api: Api, letter: Letter) -> int:
    path = {"email-change": "confirm", "email-undo": "undo"}[letter.purpose]
    answer = await api.post(f"/v1/email-changes/{path}", json={"token": letter.token})
    return answer.status_code


async def _address(ann: Api) -> str:
    return str((await ann.get("/v1/me")).json()["email"])


async def test_t_note_1_change_needs_the_new_mailbox_and_tells_the_old(
    ann: Api, anonymous: Api, post: Post
) -> None:
    """202 changes nothing; one mail to each address; confirmed, the new one signs in."""
    assert await _ask(ann, SECOND) == 202
    assert await _address(ann) == FIRST
    new, old = await post.one_to(SECOND), await post.one_to(FIRST)
    assert (new.purpose, old.purpose) == ("email-change", "email-undo")

    assert [await _confirm(anonymous, new) for _ in range(2)] == [204, 400]

    assert await _address(ann) == SECOND
    assert await post.all_to(FIRST) == []
    await anonymous.signed_in(SECOND, PASSWORD)
    old_sign_in = {"email": FIRST, "password": PASSWORD}
    assert (await anonymous.post("/v1/sessions", json=old_sign_in)).status_code == 401


async def test_wrong_password_changes_nothing_and_mails_nobody(ann: Api, post: Post) -> None:
    """403 `password_wrong`."""
    refused = await ann.post("/v1/me/email", json={"email": SECOND, "password": "wrong"})

    assert (refused.status_code, refused.json()["code"]) == (403, "password_wrong")
    assert await post.all_to(SECOND) + await post.all_to(FIRST) == []


async def test_address_of_somebody_else_is_told_to_its_owner_alone(
    ann: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """The same 202; the mail says that there is an account, and carries no token."""
    await a_user(denizen, email=SECOND)

    assert await _ask(ann, SECOND.upper()) == 202
    letter = await post.one_to(SECOND)
    assert (letter.purpose, letter.token) == ("/account", "")


async def test_address_that_was_taken_meanwhile_is_409(
    ann: Api, anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """The link stays good: the other account may go."""
    await _ask(ann, SECOND)
    letter = await post.one_to(SECOND)
    other = await a_user(denizen, email=SECOND)

    assert await _confirm(anonymous, letter) == 409
    await denizen.users.delete_user(other.id, at_once=True)
    assert await _confirm(anonymous, letter) == 204


async def test_undo_of_a_change_gives_the_address_back_and_a_way_to_a_new_password(
    ann: Api, anonymous: Api, post: Post
) -> None:
    """After the undo the mail to the old address resets the password, which ends all sessions."""
    await _ask(ann, SECOND)
    new, old = await post.one_to(SECOND), await post.one_to(FIRST)
    await _confirm(anonymous, new)

    assert [await _confirm(anonymous, old) for _ in range(2)] == [204, 400]
    assert await _address(ann) == FIRST
    letter = await post.one_to(FIRST)
    body = {"token": letter.token, "password": NEW_PASSWORD}
    assert (await anonymous.post("/v1/password-resets/confirm", json=body)).status_code == 204
    assert (await ann.get("/v1/me")).status_code == 401
    await anonymous.signed_in(FIRST, NEW_PASSWORD)


async def test_undo_before_the_confirmation_calls_the_change_off(
    ann: Api, anonymous: Api, post: Post
) -> None:
    """The link at the new address is dead then."""
    await _ask(ann, SECOND)
    new, old = await post.one_to(SECOND), await post.one_to(FIRST)

    assert await _confirm(anonymous, old) == 204
    assert await _confirm(anonymous, new) == 400
    assert await _address(ann) == FIRST


async def test_undo_before_the_mail_is_out_calls_it_off_as_well(
    ann: Api, anonymous: Api, post: Post, databases: Databases
) -> None:
    """The mail to the new address still waits: it is taken back."""
    await _ask(ann, SECOND)
    later = "UPDATE outbox SET next_try_at = now() + interval '{}' WHERE kind = 'email_change'"
    await databases.run(later.format("1 minute"))
    assert await _confirm(anonymous, await post.one_to(FIRST)) == 204
    await databases.run(later.format("0"))

    assert await post.all_to(SECOND) == []


async def test_whoever_changes_the_address_twice_does_not_take_the_first_owners_way_back(
    ann: Api, anonymous: Api, post: Post
) -> None:
    """The first address undoes both changes; the way back of the second is dead then."""
    await _ask(ann, SECOND)
    first_undo = await post.one_to(FIRST)
    await _confirm(anonymous, await post.one_to(SECOND))
    await _ask(ann, THIRD)
    second_undo = await post.one_to(SECOND)
    await _confirm(anonymous, await post.one_to(THIRD))
    assert await _address(ann) == THIRD

    assert await _confirm(anonymous, first_undo) == 204
    assert await _address(ann) == FIRST
    assert await _confirm(anonymous, second_undo) == 400
    assert await _address(ann) == FIRST


async def test_second_address_undoes_the_second_change_alone(
    ann: Api, anonymous: Api, post: Post
) -> None:
    """The first owner's link stays good behind it."""
    await _ask(ann, SECOND)
    first_undo = await post.one_to(FIRST)
    await _confirm(anonymous, await post.one_to(SECOND))
    await _ask(ann, THIRD)
    second_undo = await post.one_to(SECOND)
    await _confirm(anonymous, await post.one_to(THIRD))

    assert await _confirm(anonymous, second_undo) == 204
    assert await _address(ann) == SECOND
    await post.all_to(SECOND)
    assert await _confirm(anonymous, first_undo) == 204
    assert await _address(ann) == FIRST


async def test_undo_link_survives_password_change_disabling_and_deletion(
    ann: Api, anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """Whoever took the account over can't cut the owner's way back; the undo stops a deletion."""
    await _ask(ann, SECOND)
    undo = await post.one_to(FIRST)
    await _confirm(anonymous, await post.one_to(SECOND))
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await ann.put("/v1/me/password", json=body)).status_code == 204
    gone = await ann.post("/v1/me/deletion", json={"password": NEW_PASSWORD})
    assert gone.status_code == 202
    denizen.clock.skew = timedelta(days=29)

    assert await _confirm(anonymous, undo) == 204

    await anonymous.signed_in(FIRST, NEW_PASSWORD)


async def test_undo_of_a_disabled_account_waits_for_it(
    ann: Api, anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """400 while it is disabled, which does not use the link up."""
    await _ask(ann, SECOND)
    undo = await post.one_to(FIRST)
    await _confirm(anonymous, await post.one_to(SECOND))
    user = await denizen.users.find_user("ann")
    await denizen.users.update_user(user.id, UpdateUser(is_active=False))
    assert await _confirm(anonymous, undo) == 400
    await denizen.users.update_user(user.id, UpdateUser(is_active=True))

    assert await _confirm(anonymous, undo) == 204


async def test_admins_change_voids_links_and_asks_for_confirmation(
    ann: Api, admin: Api, anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """Links of a change under way and of undoing are dead; the new address is mailed a link."""
    await _ask(ann, SECOND)
    links = [await post.one_to(SECOND), await post.one_to(FIRST)]
    user = await denizen.users.find_user("ann")
    await admin.patch(f"/v1/users/{user.id}", json={"email": THIRD})

    assert [await _confirm(anonymous, link) for link in links] == [400, 400]
    letter = await post.one_to(THIRD)
    assert letter.purpose == "email-verification"
    verified = await anonymous.post("/v1/email-verifications/confirm", json={"token": letter.token})
    assert verified.status_code == 204
    await anonymous.signed_in(THIRD, PASSWORD)


async def test_verification_of_an_address_that_is_not_the_accounts_any_more_is_dead(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """A link to the old address does not confirm the new one."""
    user = await a_user(denizen, email=FIRST, password=PASSWORD, verified=False)
    await anonymous.post("/v1/email-verifications", json={"email": FIRST})
    letter = await post.one_to(FIRST)
    await denizen.users.update_user(user.id, UpdateUser(email=SECOND))

    answer = await anonymous.post("/v1/email-verifications/confirm", json={"token": letter.token})
    assert answer.status_code == 400
    assert (await denizen.users.get_user(user.id)).email_verified is False


@pytest.mark.parametrize("act", ["request_change", "request_deletion"])
async def test_password_that_was_changed_since_it_was_checked_counts_no_more(
    denizen: Denizen[UserModel], post: Post, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """A reset between the check and the act: who knows the old password gets nothing queued."""
    user = await a_user(denizen, email=FIRST, password=PASSWORD)
    verify = denizen.hasher.verify

    async def meanwhile(stored: str | None, password: str, *, place: Place) -> bool:
        right = await verify(stored, password, place=place)
        async with denizen.db.get_session() as db:
            other = await UserModel.get_by_id(db, user.id)
            assert other is not None
            other.hashed_password = "$argon2id$another"
        return right

    monkeypatch.setattr(denizen.hasher, "verify", meanwhile)
    words: Any = {
        "request_change": (denizen.emails.request_change, (user.id, SECOND, PASSWORD)),
        "request_deletion": (denizen.account.request_deletion, (user.id, PASSWORD)),
    }
    run, arguments = words[act]
    with pytest.raises(PasswordWrongError):
        await run(*arguments)

    assert await post.all_to(SECOND) + await post.all_to(FIRST) == []


async def test_sixth_change_within_an_hour_sends_nothing(
    ann: Api, post: Post, databases: Databases
) -> None:
    """A stranger's mailbox can't be filled: five mails, the same answer ever after."""
    assert [await _ask(ann, SECOND) for _ in range(6)] == [202] * 6

    async with superuser(databases.superuser_url) as watcher:
        queued = await watcher.fetch("SELECT kind, count(*) FROM outbox GROUP BY kind")
    assert {row[0]: row[1] for row in queued} == {"email_change": 5, "email_changing": 5}


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com, b@example.com",
        "a@example.com; b@example.com",
        "a@example.com\n",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 60}.com",
    ],
)
async def test_t_mail_1_what_is_not_one_address_is_refused_by_every_form(
    ann: Api, anonymous: Api, post: Post, address: str
) -> None:
    """422, and no mail to anybody."""
    answers = [
        await ann.post("/v1/me/email", json={"email": address, "password": PASSWORD}),
        await anonymous.post("/v1/registrations", json={"email": address}),
        await anonymous.post("/v1/password-resets", json={"email": address}),
        await anonymous.post("/v1/email-verifications", json={"email": address}),
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert await post.all_to("a@example.com") + await post.all_to("b@example.com") == []
