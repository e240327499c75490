"""The console's API keys: made with a secret that is shown once, listed, revoked by name."""

import re
from datetime import timedelta

import pytest

from denizen.app import Denizen
from denizen.keys.scenarios import Key
from denizen.pages.console.keys import KEYS
from denizen.users.model import UserModel
from support import PASSWORD, StatementCounter, a_user
from webforms import Browser, Page
from xss import EVIL, is_inert

NEW = f"{KEYS}/new"


def _secret(page: Page) -> str:
    return "".join(re.findall(r"dzk_[A-Za-z0-9_-]{64}", page.text)[:1])


async def _keys(denizen: Denizen[UserModel]) -> list[Key]:
    return await denizen.keys.list_keys()


async def test_key_is_made_and_works(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Its secret stands on the page that follows; the list shows its beginning alone."""
    page = await console.fill(NEW, name=" billing ", scope=["users:read", "audit:read"], life="30")
    secret = _secret(page)
    (key,) = await _keys(denizen)
    answer = await console.client.get("/v1/users", headers={"Authorization": f"Bearer {secret}"})
    listed = await console.open(KEYS)

    assert page.heading == "The key is created"
    assert (page.status, page.answer.headers["cache-control"]) == (200, "no-store")
    assert answer.status_code == 200
    assert (key.name, key.scopes) == ("billing", ("audit:read", "users:read"))
    assert key.expires_at is not None
    assert abs(key.expires_at - key.created_at - timedelta(days=30)) < timedelta(minutes=1)
    assert "by root" in listed.text
    assert "Works" in listed.text
    assert secret not in listed.text
    assert secret[:12] in listed.text


async def test_form_that_comes_twice_makes_one_key(
    console: Browser, denizen: Denizen[UserModel]
) -> None:
    """The second answer leads back to the form and says so; the secret is not shown again."""
    form = (await console.open(NEW)).forms[NEW]
    first = await console.send(form, name="once", scope="users:read")
    second = await console.send(form, name="once", scope="users:read")

    assert _secret(first)
    assert _secret(second) == ""
    assert second.said == "This was done already: the form was sent twice."
    assert len(await _keys(denizen)) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "", "scope": "users:read"}, "Enter a name."),
        ({"name": "x"}, "Choose at least one."),
        ({"name": "x" * 81, "scope": "users:read"}, "at most 80 characters"),
        ({"name": "a\tb", "scope": "users:read"}, "one line"),
        ({"name": "x", "scope": "users:everything"}, "be used"),
        ({"name": "x", "scope": "users:read", "life": "31"}, "be used"),
    ],
)
async def test_key_that_breaks_a_rule_is_not_made(
    console: Browser, denizen: Denizen[UserModel], fields: dict[str, str], said: str
) -> None:
    """422, the form again with what was typed and ticked."""
    page = await console.fill(NEW, **fields)

    assert page.status == 422
    assert said in page.alert
    assert fields["name"] in page.text
    if fields.get("scope") == "users:read":
        assert re.search(r'value="users:read"[^>]* checked', page.text)
    assert await _keys(denizen) == []


async def test_key_is_revoked_by_its_name(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Another name changes nothing; the right one ends it, and the audit says who did it."""
    _, key = await denizen.keys.create_key("billing", ["users:read"])
    path = f"{KEYS}/{key.id}/revoke"
    wrong = await console.fill(path, name="Billing")
    kept = (await _keys(denizen))[0].revoked_at
    done = await console.fill(path, name="billing")
    again = await console.open(path)
    event = (await denizen.audit.list_events(action="key.revoked")).items[0]

    assert (wrong.status, wrong.alert) == (422, "There is a problem This is not the name.")
    assert kept is None
    assert done.said == "The key “billing” is revoked."
    assert (await _keys(denizen))[0].revoked_at is not None
    assert f"{path}" not in done.text
    assert again.status == 404
    assert (event.actor_kind, event.after["name"]) == ("user", "billing")


async def test_list_tells_of_every_kind_of_key(
    console: Browser, denizen: Denizen[UserModel]
) -> None:
    """The operator's, an erased admin's, one that is over."""
    maker = await a_user(denizen, role="admin", password=PASSWORD)
    empty = await console.open(KEYS)
    await denizen.keys.create_key("operator's", ["users:read"])
    await denizen.keys.create_key("over", ["users:read"], life=timedelta(microseconds=1))
    other = Browser(console.client)
    await denizen.users.delete_user(maker.id, at_once=True)
    page = await other.open(KEYS)

    assert "There is no key yet." in empty.text
    assert "by the operator" in page.text
    assert "Expired" in page.text
    assert "Never" in page.text


async def test_support_makes_and_revokes_no_key(
    console: Browser, helper: Browser, denizen: Denizen[UserModel]
) -> None:
    """T-AZ: with a form of its own session 403, and nothing changes."""
    _, key = await denizen.keys.create_key("billing", ["users:read"])
    form = (await helper.open("/account")).forms["/account/sign-out"]
    for action, fields in (
        (NEW, {"name": "mine", "scope": "users:read", "life": ""}),
        (f"{KEYS}/{key.id}/revoke", {"name": "billing"}),
    ):
        form.action = action
        answer = await helper.post(form, fields)
        assert answer.status_code == 403
        assert "open to you" in answer.text
    assert [(k.name, k.revoked_at) for k in await _keys(denizen)] == [("billing", None)]


async def test_names_of_keys_are_text(console: Browser) -> None:
    """T-XSS-1: in the list, on the page of a new key, where it is revoked, in what is said."""
    made = await console.fill(NEW, name=EVIL, scope="users:read")
    listed = await console.open(KEYS)
    (path,) = re.findall(rf'"({KEYS}/[0-9a-f-]+/revoke)"', listed.text)
    asked = await console.open(path)
    done = await console.fill(path, name=EVIL)

    for page in (made, listed, asked, done):
        assert page.status == 200
        assert is_inert(page.text)


async def test_list_of_keys_is_one_statement(
    console: Browser, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """Beside who is behind the cookie, whoever made how many."""
    for number in range(3):
        await denizen.keys.create_key(f"key {number}", ["users:read"])
    async with statements.listening() as heard:
        await console.open(KEYS)

    assert len(heard) == 2, heard


async def test_keys_are_in_russian_too(console: Browser, denizen: Denizen[UserModel]) -> None:
    """The three pages, in the language of the account."""
    await console.fill("/account/language", locale="ru")
    _, key = await denizen.keys.create_key("billing", ["users:read"])
    texts = [(await console.open(p)).heading for p in (KEYS, NEW, f"{KEYS}/{key.id}/revoke")]

    assert texts == ["Ключи API", "Создать ключ", "Отозвать ключ"]
