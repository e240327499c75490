"""Secrets put through a whole account's life come out nowhere but where they belong.

The service is the real one, with the embedded database and an SMTP server. At its end everything
that it has left behind is searched: its answers, its log, its tables, and every byte of its folder.
"""

import asyncio
import base64
import hashlib
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from denizen.app import Denizen
from denizen.db.embedded import use_embedded
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from mailserver import PASSWORD as MAIL_PASSWORD
from mailserver import Mailbox, link_in
from processes import Answer, Service, command, serving
from support import PASSWORD, Api, a_user

FIRST: Final = "canary-one horse battery 41"
SECOND: Final = "canary-two staple correct 42"
WRONG: Final = "canary-wrong guess of a stranger 43"
GUESSED: Final = "canary-guessed-token-0000000000000000000000000000000000000000000"
EVIL: Final = "\n2026-11-25 forged line\x1b[31m\u2028"
DRIVER: Final = ("asyncpg", "sqlalchemy", "psycopg", "Traceback", "SELECT", "INSERT", "relation")
ACTIONS: Final = {
    "user.created", "user.registered", "user.updated", "user.deletion_requested",
    "user.deletion_undone", "session.started", "session.refused", "session.ended",
    "session.all_ended", "password.changed", "password.link_made", "email.verified",
    "email.change_requested", "email.changed", "email.change_undone", "key.created", "key.revoked",
}  # fmt: skip


class Witness:
    """Speaks to a service, keeps every answer, and knows every secret."""

    def __init__(self, service: Service, mailbox: Mailbox) -> None:
        self._service = service
        self._mailbox = mailbox
        self.answers: list[tuple[str, Answer]] = []
        self.secrets: dict[str, str] = {"first": FIRST, "second": SECOND, "wrong": WRONG}
        self.secrets |= {"guessed": GUESSED, "mail server": MAIL_PASSWORD}
        self._read: dict[str, int] = {}

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Send a request."""
        answer = self._service.ask(method, path, body, **options)
        self.answers.append((f"{method} {path}", answer))
        return answer

    def token_for(self, address: str) -> str:
        """Wait for the next mail to somebody and give the token of its link."""
        self._read[address] = count = self._read.get(address, 0) + 1
        message = self._mailbox.wait_for(address, count=count)
        token = parse_qs(urlsplit(link_in(message)).query).get("token", [""])[0]
        if token:
            self.secrets[f"link {len(self.secrets)}"] = token
        return token

    def sign_in(self, email: str, password: str) -> str:
        """Sign in and give the token."""
        answer = self.ask("POST", "/v1/sessions", {"email": email, "password": password})
        assert answer.status == 201, answer.body
        token: str = answer.json()["token"]
        self.secrets[f"session {len(self.secrets)}"] = token
        return token


@contextmanager
def _witnessed(folder: Path, mailbox: Mailbox) -> Iterator[Witness]:
    settings: dict[str, Any] = {
        "DENIZEN_MAIL_URL": mailbox.url,
        "SSL_CERT_FILE": str(mailbox.authority),
    }
    with serving(folder, "--workers", "1", **settings) as service:
        service.until("/readyz", 200)
        yield Witness(service, mailbox)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(30)


def _journey(witness: Witness, folder: Path) -> str:
    """Take an account through all of its life and give the admin's token."""
    ask, email, new = witness.ask, "ann@example.com", "ann@new.example"
    root = ("root@example.com", "root", "--role", "admin", "--verified", "--password-stdin")
    assert command(folder, "users", "create", *root, stdin=SECOND + "\n").returncode == 0
    admin = witness.sign_in("root@example.com", SECOND)

    ask("POST", "/v1/registrations", {"email": email})
    body = {"token": witness.token_for(email), "username": "ann", "password": FIRST}
    assert ask("POST", "/v1/registrations/confirm", body | {"password": "short"}).status == 422
    assert ask("POST", "/v1/registrations/confirm", body).status == 201
    assert ask("POST", "/v1/registrations/confirm", body).status == 400
    ask("POST", "/v1/sessions", {"email": email, "password": WRONG})
    ann = witness.sign_in(email, FIRST)

    change = {"email": new, "password": FIRST}
    assert ask("POST", "/v1/me/email", change | {"password": WRONG}, token=ann).status == 403
    assert ask("POST", "/v1/me/email", change, token=ann).status == 202
    confirm = {"token": witness.token_for(new)}
    assert ask("POST", "/v1/email-changes/confirm", confirm).status == 204
    undo = {"token": witness.token_for(email)}
    assert ask("POST", "/v1/email-changes/undo", undo).status == 204
    witness.token_for(email)  # the link in the notice of that

    ask("POST", "/v1/password-resets", {"email": email})
    reset = {"token": witness.token_for(email), "password": SECOND}
    assert ask("POST", "/v1/password-resets/confirm", reset).status == 204
    witness.token_for(email)
    ann = witness.sign_in(email, SECOND)
    swap = {"current_password": SECOND, "new_password": FIRST}
    assert ask("PUT", "/v1/me/password", swap, token=ann).status == 204
    witness.token_for(email)
    assert ask("GET", "/v1/me/export", token=ann).status == 200
    assert ask("DELETE", "/v1/me/sessions/current", token=ann).status == 204
    ann = witness.sign_in(email, FIRST)
    assert ask("DELETE", "/v1/me/sessions", token=ann).status == 204
    ann = witness.sign_in(email, FIRST)
    assert ask("POST", "/v1/me/deletion", {"password": FIRST}, token=ann).status == 202
    undo = {"token": witness.token_for(email)}
    assert ask("POST", "/v1/deletions/undo", undo).status == 204
    return admin


def _others(witness: Witness, folder: Path, admin: str) -> None:
    """Do what an admin, an operator and another service do."""
    ask = witness.ask
    made = {"email": "bob@example.com", "username": "bob", "password": FIRST}
    user = ask("POST", "/v1/users", made, token=admin)
    assert user.status == 201
    verify = {"token": witness.token_for("bob@example.com")}
    assert ask("POST", "/v1/email-verifications/confirm", verify).status == 204
    path = f"/v1/users/{user.json()['id']}"
    assert ask("PATCH", path, {"locale": "ru"}, token=admin).status == 200
    assert ask("GET", "/v1/users", token=admin).status == 200

    link = json.loads(command(folder, "users", "reset-password", "bob", "--json").stdout)["link"]
    witness.secrets["operator's link"] = parse_qs(urlsplit(link).query)["token"][0]
    words = ("keys", "create", "billing", "--scope", "sessions:read", "--json")
    key = json.loads(command(folder, *words).stdout)
    witness.secrets["key"] = key["key"]
    for token in (admin, GUESSED):
        answer = ask("POST", "/v1/introspections", {"token": token}, token=key["key"])
        assert answer.status == 200
    assert command(folder, "keys", "revoke", key["id"]).returncode == 0


def _mistakes(witness: Witness, admin: str) -> None:
    """Put secrets where they don't belong, and lines into whatever is written down."""
    for place in (f"/v1/me?token={admin}", f"/v1/users/{admin}", f"/v1/{GUESSED}"):
        witness.ask("GET", place, token=admin)
    witness.ask("GET", "/v1/me", token=GUESSED)
    witness.ask("GET", f"/v1/users/{quote(EVIL)}?q={quote(EVIL)}", token=admin)
    for body in (
        {"email": WRONG, "password": WRONG},
        {"email": [WRONG], "password": {"secret": WRONG}},
        {"token": GUESSED, "password": 7, "more": WRONG},
        {"email": f"ann{EVIL}@example.com", "username": EVIL, "password": FIRST},
    ):
        for path in ("sessions", "registrations/confirm", "password-resets/confirm", "users"):
            assert witness.ask("POST", f"/v1/{path}", body, token=admin).status in {400, 422}


def test_t_log_1_canaries_come_out_nowhere(tmp_path: Path, mailbox: Mailbox) -> None:
    """No answer, no log line, no table and no file holds a secret; T-AZ-4: nor a digest.

    T-LOG-2: every act has left its event.
    """
    folder = tmp_path / "data"
    with _witnessed(folder, mailbox) as witness:
        admin = _journey(witness, folder)
        _others(witness, folder, admin)
        _mistakes(witness, admin)
        events = witness.ask("GET", "/v1/audit-events?limit=200", token=admin).json()["items"]
        log = witness._service.log

    assert {event["action"] for event in events} >= ACTIONS
    assert len(witness.secrets) >= 19
    said = log.read_text()
    assert "forged" not in said
    assert "\x1b[31m" not in said
    tables = _dump(folder)
    for name, secret in witness.secrets.items():
        for form in _forms(secret):
            assert form not in said, name
            assert form not in tables, name
            for request, answer in witness.answers:
                if name.startswith("session") and request == "POST /v1/sessions":
                    continue
                assert form not in _told(answer), (name, request)
    digests = [digest for s in witness.secrets.values() if (digest := _digest(s))]
    assert sum(digest in tables for digest in digests) >= 3  # so the dump would show a secret
    for request, answer in witness.answers:
        told = _told(answer)
        assert "$argon2" not in told, request
        assert not [digest for digest in digests if digest in told], request
    _search_files(folder, witness.secrets)


def _told(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace") + repr(answer.headers)


def _forms(secret: str) -> list[str]:
    """Give the forms in which a secret could be written down, as text and as bytes in hex."""
    found = [secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode().rstrip("=")]
    if (raw := _raw(secret)) is not None:
        found += [raw.hex(), base64.b64encode(raw).decode().rstrip("="), repr(raw)[2:-1]]
    return found


def _raw(secret: str) -> bytes | None:
    """Give the 256 bits in a token or key, which follow the id."""
    if not secret.startswith("dz"):
        return None
    text = secret.split("_", 1)[1]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[16:]


def _digest(secret: str) -> str | None:
    raw = _raw(secret)
    return None if raw is None else hashlib.sha256(raw).hexdigest()


def _dump(folder: Path) -> str:
    """Give all rows of all tables as text; bytes are in hex."""

    async def read(url: str) -> str:
        found = []
        async with superuser(url) as watcher:
            tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            for (name,) in await watcher.fetch(tables):
                rows = await watcher.fetch(f'SELECT row.*::text FROM "{name}" row')
                found += [str(row[0]) for row in rows]
        return "\n".join(found)

    with use_embedded(folder) as urls:
        return asyncio.run(read(urls.owner_url))


def _search_files(folder: Path, secrets: dict[str, str]) -> None:
    """Search every byte of the data folder: heap, write-ahead log, PostgreSQL's own log."""
    sought = {name: [secret.encode()] for name, secret in secrets.items()}
    for name, secret in secrets.items():
        if (raw := _raw(secret)) is not None:
            sought[name].append(raw)
    seen = 0
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            seen += len(content)
            for name, forms in sought.items():
                assert not [form for form in forms if form in content], (name, path)
    assert seen > 10_000_000


async def test_t_err_1_broken_database_tells_nobody_what_it_said(
    anonymous: Api,
    denizen: Denizen[UserModel],
    databases: Databases,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A missing table, a refused privilege, a trigger that raises: no driver's text, no value."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    ann = await anonymous.signed_in("ann@example.com", PASSWORD)
    breaks = [
        "ALTER TABLE audit_events RENAME TO away",
        "ALTER TABLE away RENAME TO audit_events; REVOKE ALL ON throttles FROM denizen",
        """GRANT ALL ON throttles TO denizen;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'relation secret-of-the-driver'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION fail()""",
    ]
    told = []
    with caplog.at_level(logging.DEBUG, logger="denizen"):
        for sql in breaks:
            await databases.run(sql)
            body = {"email": "ann@example.com", "password": PASSWORD}
            told.append(await anonymous.post("/v1/sessions", json=body))
            wrong = body | {"password": WRONG}
            told.append(await anonymous.post("/v1/sessions", json=wrong))
            told.append(await ann.patch("/v1/me", json={"username": "canary-name"}))

    assert {answer.status_code for answer in told} >= {500}
    assert all(answer.status_code in {200, 401, 500, 503} for answer in told), told
    for answer in told:
        if answer.status_code >= 500:
            assert answer.headers["content-type"] == "application/problem+json"
            assert not [word for word in (*DRIVER, "secret-of", PASSWORD) if word in answer.text]
    said = "\n".join(record.getMessage() + str(record.exc_text) for record in caplog.records)
    for word in ("secret-of", PASSWORD, WRONG, "canary-name", "SELECT", "INSERT", "ann@example"):
        assert word not in said, word


async def test_t_err_1_defect_keeps_its_text_to_itself(
    anonymous: Api, denizen: Denizen[UserModel], caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that carries a password ends as an incident with a number, here and there."""

    async def defect(*_: object, **__: object) -> None:
        raise ValueError(f"could not take {WRONG}")

    denizen.sessions.sign_in = defect  # type: ignore[method-assign,assignment]
    body = {"email": "ann@example.com", "password": WRONG}
    answer = await anonymous.post("/v1/sessions", json=body)

    assert answer.status_code == 500
    incident = answer.json()["detail"].rpartition("incident ")[2].rstrip(").")
    (record,) = caplog.records
    assert incident in record.getMessage()
    assert "ValueError" in record.getMessage()
    assert WRONG not in answer.text + record.getMessage() + str(record.exc_info)


async def test_export_shows_nobody_elses_address(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """What an admin did to somebody is told to them; from where the admin did it is not."""
    user = await a_user(denizen, password=PASSWORD)
    me = await anonymous.signed_in(user.email, PASSWORD)
    await admin.patch(f"/v1/users/{user.id}", json={"locale": "ru"})

    events = (await me.get("/v1/me/export")).json()["audit_events"]

    by_action = {event["action"]: event["address"] for event in events}
    assert by_action == {"session.started": "127.0.0.1", "user.updated": None}


async def test_t_db_1_serving_role_changes_no_schema_and_reads_no_secrets_of_others(
    databases: Databases,
) -> None:
    """ASVS 13.2.2: no DDL on any table, no `pg_authid`, no function but the two it is given."""
    url = databases.superuser_url.replace("postgres@", "denizen@")
    async with superuser(url) as serving_role:
        for sql in (
            "CREATE TABLE x (y int)",
            "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE SCHEMA x",
            "DROP TABLE users",
            "ALTER TABLE users ADD COLUMN x int",
            "TRUNCATE users",
            "CREATE INDEX ON users (email)",
            "SELECT * FROM pg_authid",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY users TO PROGRAM 'cat'",
            "UPDATE alembic_version SET version_num = 'x'",
            "SET ROLE denizen_owner",
            "CREATE ROLE x",
            "ALTER SYSTEM SET fsync = off",
        ):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError)):
                await serving_role.execute(sql)
