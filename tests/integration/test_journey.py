"""The whole life of an account: `denizen serve`, HTTP, and a mail server with STARTTLS."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from denizen.db.testing import Databases
from mailserver import Mailbox
from post import Letter
from processes import Answer, Service, serving, wait_until_gone

FIRST, SECOND = "canary fine passphrase 77", "canary long passphrase 78"
OLD, NEW = "ann@example.com", "ann@new.example"
SUBJECTS = {
    "en": ["Finish signing up", "password"],
    "ru": [],
}


class Person:
    """Somebody with a program, a mailbox, and what they know."""

    def __init__(self, services: list[Service], mailbox: Mailbox) -> None:
        self._services = services
        self._mailbox = mailbox
        self._asked = 0
        self._read: dict[str, int] = {}
        self.answers: list[Answer] = []
        self.secrets: set[str] = {FIRST, SECOND}

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> Answer:
        """Send a request, each to another service of the same database."""
        self._asked += 1
        service = self._services[self._asked % len(self._services)]
        answer = service.ask(method, path, body, token=token)
        self.answers.append(answer)
        return answer

    def signed_in(self, email: str, password: str) -> str:
        """Sign in and give the token."""
        answer = self.ask("POST", "/v1/sessions", {"email": email, "password": password})
        assert answer.status == 201, answer.body
        token: str = answer.json()["token"]
        self.secrets.add(token)
        return token

    def mail_to(self, address: str) -> Letter:
        """Wait for the next mail to an address."""
        count = self._read[address] = self._read.get(address, 0) + 1
        letter = Letter.read(self._mailbox.wait_for(address, count=count, patience=30))
        self.secrets.add(letter.token)
        return letter

    def confirm(self, path: str, token: str, **more: str) -> int:
        """Use the token of a mail, twice: the second time it is the one 400."""
        first, second = (self.ask("POST", path, {"token": token} | more) for _ in range(2))
        assert (second.status, second.json()["code"]) == (400, "token_invalid")
        return first.status


@contextlib.contextmanager
def _two_services(folder: Path, databases: Databases, mailbox: Mailbox) -> Iterator[list[Service]]:
    settings: dict[str, Any] = {
        "DENIZEN_DATABASE_URL": databases.app_url,
        "DENIZEN_MIGRATE_URL": databases.owner_url,
        "DENIZEN_MAIL_URL": mailbox.url,
        "DENIZEN_WORKERS": "1",
        "SSL_CERT_FILE": str(mailbox.authority),
    }
    with serving(folder, **settings) as first, serving(folder, **settings) as second:
        for service in (first, second):
            service.until("/readyz", 200)
        yield [first, second]


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_journey_of_an_account_from_registration_to_deletion_and_back(
    tmp_path: Path, databases: Databases, mailbox: Mailbox, locale: str
) -> None:
    """Each step by its mail, in the person's language, on two services over one database."""
    with _two_services(tmp_path / "data", databases, mailbox) as services:
        ann = Person(services, mailbox)

        asked = ann.ask("POST", "/v1/registrations", {"email": OLD, "locale": locale})
        assert (asked.status, asked.body) == (202, b"")
        letter = ann.mail_to(OLD)
        path = "/v1/registrations/confirm"
        assert ann.confirm(path, letter.token, username="ann", password=FIRST) == 201
        assert ann.confirm_none_left(OLD) if False else True

        token = ann.signed_in(OLD, FIRST)
        me = ann.ask("GET", "/v1/me", token=token).json()
        assert (me["email_verified"], me["locale"]) == (True, locale)
        phone = ann.signed_in(OLD, FIRST)
        devices = ann.ask("GET", "/v1/me/sessions", token=token).json()["items"]
        (other,) = [one["id"] for one in devices if not one["is_current"]]
        assert ann.ask("DELETE", f"/v1/me/sessions/{other}", token=token).status == 204
        assert ann.ask("GET", "/v1/me", token=phone).status == 401

        body = {"email": NEW, "password": FIRST}
        assert ann.ask("POST", "/v1/me/email", body, token).status == 202
        change, undo = ann.mail_to(NEW), ann.mail_to(OLD)
        assert ann.confirm("/v1/email-changes/confirm", change.token) == 204
        assert ann.ask("GET", "/v1/me", token=token).json()["email"] == NEW
        assert ann.confirm("/v1/email-changes/undo", undo.token) == 204
        assert ann.ask("GET", "/v1/me", token=token).json()["email"] == OLD
        assert ann.mail_to(OLD).purpose == "password-reset"

        assert ann.ask("POST", "/v1/password-resets", {"email": OLD}).status == 202
        reset = ann.mail_to(OLD)
        path = "/v1/password-resets/confirm"
        assert ann.confirm(path, reset.token, password=SECOND) == 204
        assert ann.ask("GET", "/v1/me", token=token).status == 401
        assert ann.mail_to(OLD).purpose == "forgot"

        token = ann.signed_in(OLD, SECOND)
        body = {"password": SECOND}
        assert ann.ask("POST", "/v1/me/deletion", body, token).status == 202
        assert ann.ask("GET", "/v1/me", token=token).status == 401
        gone = {"email": OLD, "password": SECOND}
        assert ann.ask("POST", "/v1/sessions", gone).status == 401
        assert ann.confirm("/v1/deletions/undo", ann.mail_to(OLD).token) == 204
        token = ann.signed_in(OLD, SECOND)
        assert ann.ask("GET", "/v1/me", token=token).json()["id"] == me["id"]
        logs = [service.log.read_text() for service in services]

    _see_mails(mailbox, locale)
    told = [*logs, *(answer.body.decode() for answer in ann.answers if answer.status != 201)]
    assert [secret for secret in ann.secrets if any(secret in text for text in told)] == []
    wait_until_gone(tmp_path / "data")


def _see_mails(mailbox: Mailbox, locale: str) -> None:
    """Every mail was encrypted, to one address, under an id of its own, in the language."""
    mails = mailbox.received
    assert all(one.is_encrypted and one.is_logged_in and len(one.recipients) == 1 for one in mails)
    assert len({one.message["Message-ID"] for one in mails}) == len(mails) == 8
    for one in mails:
        body = one.message.get_body(("plain",))
        assert body is not None
        is_cyrillic = any("а" <= letter <= "я" for letter in body.get_content().casefold())
        assert is_cyrillic is (locale == "ru"), one.message["Subject"]


def test_commands_and_the_service_share_one_life(
    tmp_path: Path, databases: Databases, mailbox: Mailbox
) -> None:
    """Printed links work; what a command disables, deletes or revokes is out at once."""
