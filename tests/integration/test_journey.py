"""The whole life of an account: `denizen serve`, HTTP, and a mail server with STARTTLS."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.db.testing import Databases
from mailserver import Mailbox
from post import Letter
from processes import Answer, Service, serving, wait_until_gone

FIRST, SECOND = "canary fine passphrase 77", "canary long passphrase 78"


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
        self.secrets |= {letter.token} - {""}
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


def test_journey_of_an_account_from_registration_to_deletion_and_back(
    tmp_path: Path, databases: Databases, mailbox: Mailbox
) -> None:
    """Each step by its mail, in English and in Russian, on two services over one database."""
    with _two_services(tmp_path / "data", databases, mailbox) as services:
        people = {locale: Person(services, mailbox) for locale in ("en", "ru")}
        for locale, person in people.items():
            _live(person, f"old@{locale}.example", f"new@{locale}.example", locale)
    logs = [service.log.read_text() for service in services]

    for locale, person in people.items():
        _see_mails(mailbox, locale)
        shown = [answer.body.decode() for answer in person.answers if answer.status != 201]
        told = "\n".join([*logs, *shown])
        assert [secret for secret in person.secrets if secret in told] == []
    wait_until_gone(tmp_path / "data")


def _live(ann: Person, old: str, new: str, locale: str) -> None:
    token, user_id = _register(ann, old, locale)
    _see_devices(ann, token, old)
    _change_address_and_undo(ann, token, old, new)
    _reset(ann, token, old)
    _delete_and_undo(ann, old, user_id)


def _register(ann: Person, old: str, locale: str) -> tuple[str, str]:
    asked = ann.ask("POST", "/v1/registrations", {"email": old, "locale": locale})
    assert (asked.status, asked.body) == (202, b"")
    letter = ann.mail_to(old)
    chosen = {"username": f"ann-{locale}", "password": FIRST}
    assert ann.confirm("/v1/registrations/confirm", letter.token, **chosen) == 201
    token = ann.signed_in(old, FIRST)
    me = ann.ask("GET", "/v1/me", token=token).json()
    assert (me["email"], me["email_verified"], me["locale"]) == (old, True, locale)
    return token, me["id"]


def _see_devices(ann: Person, token: str, old: str) -> None:
    phone = ann.signed_in(old, FIRST)
    devices = ann.ask("GET", "/v1/me/sessions", token=token).json()["items"]
    (other,) = [one["id"] for one in devices if not one["is_current"]]
    assert ann.ask("DELETE", f"/v1/me/sessions/{other}", token=token).status == 204
    assert ann.ask("GET", "/v1/me", token=phone).status == 401


def _change_address_and_undo(ann: Person, token: str, old: str, new: str) -> None:
    body = {"email": new, "password": FIRST}
    assert ann.ask("POST", "/v1/me/email", body, token).status == 202
    change, undo = ann.mail_to(new), ann.mail_to(old)
    for path, letter, address in (("confirm", change, new), ("undo", undo, old)):
        assert ann.confirm(f"/v1/email-changes/{path}", letter.token) == 204
        assert ann.ask("GET", "/v1/me", token=token).json()["email"] == address
    assert ann.mail_to(old).purpose == "password-reset"


def _reset(ann: Person, token: str, old: str) -> None:
    assert ann.ask("POST", "/v1/password-resets", {"email": old}).status == 202
    letter = ann.mail_to(old)
    assert ann.confirm("/v1/password-resets/confirm", letter.token, password=SECOND) == 204
    assert ann.ask("GET", "/v1/me", token=token).status == 401
    assert ann.mail_to(old).purpose == "forgot"  # told that it was changed, and the way out


def _delete_and_undo(ann: Person, old: str, user_id: str) -> None:
    token, body = ann.signed_in(old, SECOND), {"password": SECOND}
    assert ann.ask("POST", "/v1/me/deletion", body, token).status == 202
    assert ann.ask("GET", "/v1/me", token=token).status == 401
    assert ann.ask("POST", "/v1/sessions", body | {"email": old}).status == 401
    assert ann.confirm("/v1/deletions/undo", ann.mail_to(old).token) == 204
    token = ann.signed_in(old, SECOND)
    assert ann.ask("GET", "/v1/me", token=token).json()["id"] == user_id


def _see_mails(mailbox: Mailbox, locale: str) -> None:
    """See that all were encrypted, to one address, with ids of their own, in the language."""
    mails = [one for one in mailbox.received if one.recipients[0].endswith(f"@{locale}.example")]
    assert all(one.is_encrypted and one.is_logged_in and len(one.recipients) == 1 for one in mails)
    assert len({one.message["Message-ID"] for one in mails}) == len(mails) == 7
    for one in mails:
        body = one.message.get_body(("plain",))
        assert body is not None
        is_russian = any("а" <= letter <= "я" for letter in body.get_content())
        assert is_russian is (locale == "ru"), one.message["Subject"]
