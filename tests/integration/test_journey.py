"""The whole life of an account over HTTP, with the mails that lead through it."""

import email
from datetime import timedelta
from email.policy import default
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from denizen.app import Denizen
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import Api

FIRST, SECOND = "a fine long passphrase 77", "another long passphrase 78"


class Post:
    """What the folder of mails holds."""

    def __init__(self, denizen: Denizen[UserModel], folder: Path) -> None:
        self._denizen = denizen
        self._folder = folder
        self._seen: set[Path] = set()

    async def to(self, address: str) -> list[tuple[str, str]]:
        """Send what is due and give subject and token of what is new for an address."""
        while await self._denizen.mail.send_due():
            pass
        found = []
        for path in sorted(set(self._folder.glob("*.eml")) - self._seen):
            message = email.message_from_bytes(path.read_bytes(), policy=default)
            if message["To"] == address:
                self._seen.add(path)
                text = message.get_body(("plain",)).get_content()
                links = [line for line in text.splitlines() if line.startswith("http")]
                tokens = [parse_qs(urlsplit(link).query).get("token", [""])[0] for link in links]
                found.append((message["Subject"], tokens[0] if tokens else ""))
        return found


@pytest.fixture
def post(denizen: Denizen[UserModel], settings: Settings) -> Post:
    return Post(denizen, settings.mail_folder)


async def test_journey(anonymous: Api, denizen: Denizen[UserModel], post: Post) -> None:
    r = await anonymous.post("/v1/registrations", json={"email": "Ann@Example.com", "locale": "ru"})
    assert (r.status_code, r.content) == (202, b"")
    [(subject, token)] = await post.to("Ann@example.com")
    print(subject)
    body = {"token": token, "username": "ann", "password": FIRST}
    r = await anonymous.post("/v1/registrations/confirm", json=body)
    assert r.status_code == 201, r.text
    assert r.json()["email_verified"] and r.json()["locale"] == "ru"
    assert (await anonymous.post("/v1/registrations/confirm", json=body)).status_code == 400
    ann = await anonymous.signed_in("ann@example.com", FIRST)
    r = await ann.get("/v1/me/sessions")
    assert len(r.json()["items"]) == 1, r.text
    r = await ann.post("/v1/me/email", json={"email": "ann@new.example", "password": FIRST})
    assert r.status_code == 202, r.text
    [(s1, change)] = await post.to("ann@new.example")
    [(s2, undo)] = await post.to("Ann@example.com")
    print(s1, s2)
    assert (
        await anonymous.post("/v1/email-changes/confirm", json={"token": change})
    ).status_code == 204
    assert (await ann.get("/v1/me")).json()["email"] == "ann@new.example"
    r = await anonymous.post("/v1/email-changes/undo", json={"token": undo})
    assert r.status_code == 204, r.text
    assert (await ann.get("/v1/me")).json()["email"] == "Ann@example.com"
    print(await post.to("Ann@example.com"))
    r = await anonymous.post("/v1/password-resets", json={"email": "ann@example.com"})
    assert r.status_code == 202
    [(s3, reset)] = await post.to("Ann@example.com")
    r = await anonymous.post(
        "/v1/password-resets/confirm", json={"token": reset, "password": SECOND}
    )
    assert r.status_code == 204, r.text
    assert (await ann.get("/v1/me")).status_code == 401
    ann = await anonymous.signed_in("ann@example.com", SECOND)
    r = await ann.get("/v1/me/export")
    assert r.status_code == 200
    print(await post.to("Ann@example.com"))
    r = await ann.post(
        "/v1/me/deletion", json={"password": SECOND}, headers={"Idempotency-Key": "k1"}
    )
    assert r.status_code == 202, r.text
    assert (await ann.get("/v1/me")).status_code == 401
    [(s4, undo)] = await post.to("Ann@example.com")
    print(s4)
    r = await anonymous.post("/v1/deletions/undo", json={"token": undo})
    assert r.status_code == 204, r.text
    ann = await anonymous.signed_in("ann@example.com", SECOND)
    r = await ann.post("/v1/me/deletion", json={"password": SECOND})
    denizen.clock.skew = timedelta(days=31)
    await denizen.housekeeper.clean_up()
    async with denizen.db.get_session(read_only=True) as db:
        assert await UserModel.get_by_email(db, "ann@example.com") is None
