"""`/v1/users` through HTTP, on a real database."""

import pytest

from denizen.app import Denizen
from denizen.users.model import UserModel
from post import Post
from support import PASSWORD, Api, StatementCounter, a_user

USER_FIELDS = {
    "id", "email", "username", "role", "is_active", "email_verified", "locale",
    "created_at", "updated_at", "version",
}  # fmt: skip


async def test_create_answers_the_user_with_location_and_etag(admin: Api) -> None:
    """A created user is shown with exactly the contract's fields, and can be fetched."""
    body = {"email": "Ann@Example.com", "username": "Ann", "locale": "ru"}
    answer = await admin.post("/v1/users", json=body)

    assert answer.status_code == 201
    user = answer.json()
    assert set(user) == USER_FIELDS
    assert user["email"] == "Ann@Example.com"
    assert user["email_verified"] is False
    assert user["role"] == "user"
    assert answer.headers["etag"] == '"1"'
    shown = await admin.get(answer.headers["location"])
    assert shown.json() == user
    assert shown.headers["etag"] == '"1"'


@pytest.mark.sketch(2)
async def test_create_with_both_taken_names_both(admin: Api, denizen: Denizen[UserModel]) -> None:
    """409 carries the first taken field as its code and every one in `errors`."""
    await a_user(denizen, email="ann@example.com", username="ann")

    answer = await admin.post("/v1/users", json={"email": "ANN@EXAMPLE.com", "username": "aNN"})

    assert answer.status_code == 409
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "email_taken"
    assert problem["detail"] == "Email is already taken by another user."
    assert [e["field"] for e in problem["errors"]] == ["email", "username"]


async def test_create_with_taken_username_says_so(admin: Api, denizen: Denizen[UserModel]) -> None:
    """A taken username is told as such, not as a database error."""
    await a_user(denizen, username="ann")

    body = {"email": "new@example.com", "username": "ANN", "password": PASSWORD}
    answer = await admin.post("/v1/users", json=body)

    assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")
    assert answer.json()["detail"] == "Username is already taken by another user."


async def test_created_user_signs_in_only_when_verified(admin: Api, anonymous: Api) -> None:
    """The password set by an admin works once the address is confirmed, not before."""
    body = {"email": "ann@example.com", "username": "ann", "password": PASSWORD}
    created = (await admin.post("/v1/users", json=body)).json()
    refused = await anonymous.post(
        "/v1/sessions", json={"email": body["email"], "password": PASSWORD}
    )
    assert refused.status_code == 401

    await admin.patch(f"/v1/users/{created['id']}", json={"email_verified": True})

    ann = await anonymous.signed_in("ANN@example.com", PASSWORD)
    assert (await ann.get("/v1/me")).json()["username"] == "ann"


async def test_update_changes_only_what_is_given(admin: Api) -> None:
    """PATCH leaves the rest, counts the version, and moves `updated_at`."""
    body = {"email": "ann@example.com", "username": "ann"}
    before = (await admin.post("/v1/users", json=body)).json()

    answer = await admin.patch(f"/v1/users/{before['id']}", json={"locale": "ru"})

    after = answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"locale", "version", "updated_at"}


@pytest.mark.sketch(22)
async def test_update_with_stale_etag_is_refused(admin: Api, denizen: Denizen[UserModel]) -> None:
    """`If-Match` of an older version answers 412 and changes nothing."""
    user = await a_user(denizen)
    path = f"/v1/users/{user.id}"
    first = await admin.patch(path, json={"locale": "ru"}, headers={"If-Match": '"1"'})
    second = await admin.patch(path, json={"locale": "en"}, headers={"If-Match": '"1"'})

    assert (first.status_code, second.status_code) == (200, 412)
    assert (await admin.get(path)).json()["locale"] == "ru"


async def test_update_to_taken_values_names_both(admin: Api, denizen: Denizen[UserModel]) -> None:
    """A PATCH into somebody else's e-mail and username names both and changes neither."""
    await a_user(denizen, email="ann@example.com", username="ann")
    other = await a_user(denizen)

    body = {"email": "Ann@example.com", "username": "Ann"}
    answer = await admin.patch(f"/v1/users/{other.id}", json=body)

    assert answer.status_code == 409
    assert [e["code"] for e in answer.json()["errors"]] == ["email_taken", "username_taken"]
    assert (await admin.get(f"/v1/users/{other.id}")).json()["username"] == other.username


async def test_update_of_address_resets_its_confirmation(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """Another mailbox is unconfirmed; another spelling of the same one is not."""
    user = await a_user(denizen, email="ann@example.com")
    path = f"/v1/users/{user.id}"

    respelt = await admin.patch(path, json={"email": "ANN@example.com"})
    moved = await admin.patch(path, json={"email": "ann@example.org"})
    vouched = await admin.patch(path, json={"email": "ann@example.net", "email_verified": True})

    verified = [answer.json()["email_verified"] for answer in (respelt, moved, vouched)]
    assert verified == [True, False, True]


async def test_disabled_user_is_out_at_once(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Disabling ends every session; enabling does not bring them back (ASVS 7.4.2)."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    path = f"/v1/users/{user.id}"

    await admin.patch(path, json={"is_active": False})
    assert (await ann.get("/v1/me")).status_code == 401
    await admin.patch(path, json={"is_active": True})
    assert (await ann.get("/v1/me")).status_code == 401


@pytest.mark.sketch(10)
async def test_delete_erases_user_and_sessions(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """After 204 the user is gone, sessions too, and a second DELETE is 404."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)

    assert (await admin.delete(f"/v1/users/{user.id}?erase=now")).status_code == 204

    assert (await ann.get("/v1/me")).status_code == 401
    assert (await admin.get(f"/v1/users/{user.id}")).status_code == 404
    assert (await admin.delete(f"/v1/users/{user.id}")).status_code == 404


async def test_last_admin_stays(admin: Api) -> None:
    """The only active admin can't be demoted, disabled or deleted."""
    me = (await admin.get("/v1/me")).json()
    path = f"/v1/users/{me['id']}"

    answers = [
        await admin.patch(path, json={"role": "user"}),
        await admin.patch(path, json={"is_active": False}),
        await admin.delete(path),
    ]

    assert [(a.status_code, a.json()["code"]) for a in answers] == [(409, "last_admin")] * 3
    assert (await admin.get("/v1/me")).json()["role"] == "admin"


async def test_list_filters_and_pages(admin: Api, denizen: Denizen[UserModel]) -> None:
    """Filters narrow the list, the order is kept, and cursors lead through all of it."""
    for number in range(5):
        await a_user(denizen, email=f"list{number}@example.org", username=f"list{number}")

    page = (await admin.get("/v1/users?q=LIST&limit=2&order=email")).json()
    names = [user["username"] for user in page["items"]]
    while page["next_cursor"]:
        path = f"/v1/users?q=LIST&limit=2&order=email&cursor={page['next_cursor']}"
        page = (await admin.get(path)).json()
        names += [user["username"] for user in page["items"]]

    assert names == [f"list{number}" for number in range(5)]
    admins = (await admin.get("/v1/users?role=admin")).json()["items"]
    assert [user["role"] for user in admins] == ["admin"]
    exact = (await admin.get("/v1/users?email=LIST3@example.org")).json()["items"]
    assert [user["username"] for user in exact] == ["list3"]


async def test_cursor_of_another_list_is_refused(admin: Api, denizen: Denizen[UserModel]) -> None:
    """A cursor is good for the order and the filters that it was made with (`cursor_invalid`)."""
    for _ in range(3):
        await a_user(denizen)
    cursor = (await admin.get("/v1/users?limit=1")).json()["next_cursor"]

    for other in ("order=email", "order=created_at", "role=user", "q=user"):
        answer = await admin.get(f"/v1/users?limit=1&{other}&cursor={cursor}")
        assert answer.status_code == 422
        errors = answer.json()["errors"]
        assert [(e["field"], e["code"]) for e in errors] == [("cursor", "cursor_invalid")]


async def test_statements_of_each_route_are_counted(
    admin: Api, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """Each route costs the stated number of statements; the first is always "who am I"."""
    user = await a_user(denizen)
    path = f"/v1/users/{user.id}"
    new = {"email": "counted@example.com", "username": "counted"}
    await admin.get(path)  # connections and type look-ups are paid once
    budgets = [
        ("GET", "/v1/me", None, 1),
        ("GET", path, None, 2),
        ("GET", "/v1/users", None, 2),
        ("POST", "/v1/users", new, 6),  # BEGIN, INSERT, audit, mail, COMMIT
        ("PATCH", path, {"locale": "ru"}, 6),  # BEGIN, lock, UPDATE, audit, COMMIT
        # BEGIN, the admins, lock, UPDATE, sessions, links of three kinds, mail, audit, COMMIT
        ("DELETE", path, None, 12),
    ]

    for method, where, body, budget in budgets:
        async with statements.listening() as heard:
            answer = await admin.send(method, where, json=body)
        assert answer.status_code < 300, answer.text
        assert len(heard) == budget, (method, where, heard)


@pytest.mark.parametrize("was_verified", [True, False])
async def test_old_address_is_told_that_an_admin_gave_another(
    admin: Api, denizen: Denizen[UserModel], post: Post, *, was_verified: bool
) -> None:
    """The owner hears of it, unless nobody ever said that the mailbox is theirs; no address in it.

    Where the admin sits is not told either.
    """
    user = await a_user(denizen, verified=was_verified)
    await admin.patch(f"/v1/users/{user.id}", json={"email": "moved@example.com"})

    letters = await post.all_to(user.email)

    assert [letter.subject for letter in letters] == [
        "Your e-mail address was changed"
    ] * was_verified
    for letter in letters:
        told = letter.message.get_body(("plain",))
        assert told is not None
        assert "moved@example.com" not in told.get_content()
        assert "(" not in told.get_content()


async def test_confirmation_taken_away_first_keeps_nothing_from_the_old_address(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """Who has signed in has used the mailbox, and hears that the account goes elsewhere."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.signed_in(user.email, PASSWORD)
    for change in ({"email_verified": False}, {"email": "x@example.com", "email_verified": True}):
        assert (await admin.patch(f"/v1/users/{user.id}", json=change)).status_code == 200

    letters = await post.all_to(user.email)

    assert "Your e-mail address was changed" in [letter.subject for letter in letters]
