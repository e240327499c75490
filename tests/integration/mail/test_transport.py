"""Sending for real: an SMTP server with STARTTLS and a login, and a folder of files."""

import asyncio
import errno
import os
import re
import socket
import stat
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
import uvloop

from denizen.mail.address import Sender
from denizen.mail.errors import MailError, PermanentMailError, TemporaryMailError
from denizen.mail.render import Renderer
from denizen.mail.server import parse_mail_url
from denizen.mail.transport import FolderTransport, SmtpTransport
from mails import a_mail
from mailserver import HOST, PASSWORD, Mailbox, link_in, mail_server
from processes import free_port

ANN = "ann@example.com"
SENDER = Sender("no-reply@example.org", "Example")


def _message(recipient: str = ANN) -> EmailMessage:
    return Renderer(SENDER, "example.org").render(a_mail("password_reset", recipient=recipient))


async def _send(url: str, message: EmailMessage | None = None, *, patience: float = 10) -> None:
    transport = SmtpTransport(parse_mail_url(url), SENDER, patience=timedelta(seconds=patience))
    await transport.send(message or _message())


async def _failure(url: str, kind: type[MailError], *, patience: float = 10) -> str:
    """Send and give the error's text, after a look at everything that a log would show of it."""
    with pytest.raises(kind) as caught:
        await _send(url, patience=patience)
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(secret in shown for secret in (PASSWORD, ANN, SENDER.address, "token="))
    return str(caught.value)


@pytest.fixture
def trusted(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """Trust the authority that signed the server's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.authority))
    return mailbox


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Give a port that takes connections and never says a word."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.getsockname()[1]


async def test_message_arrives_exactly_as_it_was_made(trusted: Mailbox) -> None:
    """The same bytes, one envelope from MAIL_FROM to one recipient, encrypted and logged in."""
    message = _message()

    await _send(trusted.url, message)

    (received,) = trusted.received
    assert received.content == bytes(message)
    assert (received.sender, received.recipients) == (SENDER.address, [ANN])
    assert received.is_encrypted
    assert received.is_logged_in
    assert link_in(await trusted.arrival(ANN)).startswith("https://accounts.example.org/")


async def test_smtps_encrypts_from_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No STARTTLS is needed, and the certificate is checked likewise."""
    with mail_server(tmp_path, is_smtps=True) as mailbox:
        text = await _failure(mailbox.url, TemporaryMailError)
        monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.authority))
        await _send(mailbox.url)

    assert "certificate" in text
    assert [(one.recipients, one.is_encrypted) for one in mailbox.received] == [([ANN], True)]


async def test_server_on_this_machine_needs_no_tls(tmp_path: Path) -> None:
    """A relay or a mail catcher on loopback is spoken to in the clear."""
    with mail_server(tmp_path, has_tls=False) as mailbox:
        await _send(f"smtp://{HOST}:{mailbox.port}")

    assert [one.is_encrypted for one in mailbox.received] == [False]


async def test_uvloop_sends_as_well(trusted: Mailbox) -> None:
    """The service runs on it: STARTTLS, and a time-out in the middle of a command."""

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_send(trusted.url))
            trusted.delay = 5
            with pytest.raises(TemporaryMailError):
                runner.run(_send(trusted.url, patience=0.3))

    await asyncio.to_thread(run)
    assert len(trusted.received) == 1


@pytest.mark.parametrize(
    ("stored", "on_the_wire", "options"),
    [
        ("почта@example.com", "почта@example.com", True),
        ("ann@почта.example", "ann@xn--80a1acny.example", False),
        ("a+b'c@example.com", "a+b'c@example.com", False),
    ],
)
async def test_t_mail_1_only_a_local_part_beyond_ascii_needs_smtputf8(
    trusted: Mailbox, stored: str, on_the_wire: str, options: bool
) -> None:
    """Domains go out in IDNA, which every server takes."""
    await _send(trusted.url, _message(stored))

    (received,) = trusted.received
    assert received.recipients == [on_the_wire]
    assert ("SMTPUTF8" in received.options) == options
    assert f"\r\nTo: {on_the_wire}\r\n".encode() in received.content


async def test_server_without_smtputf8_is_a_permanent_failure(tmp_path: Path) -> None:
    """It takes the domain in IDNA and will never take such a local part."""
    with mail_server(tmp_path, has_tls=False, has_utf8=False) as mailbox:
        url = f"smtp://{HOST}:{mailbox.port}"
        await _send(url, _message("ann@почта.example"))
        with pytest.raises(PermanentMailError, match="beyond ASCII"):
            await _send(url, _message("почта@example.com"))

    assert len(mailbox.received) == 1


async def test_t_mail_1_message_to_two_addresses_is_not_sent(trusted: Mailbox) -> None:
    """Exactly one RCPT, whoever made the message."""
    message = _message()
    message.replace_header("To", "ann@example.com, eve@example.com")

    with pytest.raises(PermanentMailError, match="exactly one"):
        await _send(trusted.url, message)

    assert trusted.received == []


@pytest.mark.parametrize(
    ("command", "answer", "kind", "said"),
    [
        ("RCPT", "450 4.2.1 mailbox busy", TemporaryMailError, "recipient (450)"),
        ("RCPT", "550 5.1.1 nobody of that name", PermanentMailError, "recipient (550)"),
        ("RCPT", "554 5.7.1 relay access denied", TemporaryMailError, "recipient (554)"),
        ("MAIL", "451 4.3.0 later", TemporaryMailError, "sender (451)"),
        ("MAIL", "550 5.1.8 not with that sender", TemporaryMailError, "sender (550)"),
        ("DATA", "451 4.7.1 greylisted", TemporaryMailError, "message (451)"),
        ("DATA", "552 5.3.4 too big", PermanentMailError, "message (552)"),
        ("DATA", "421 4.3.2 shutting down", TemporaryMailError, "message (421)"),
    ],
)
async def test_refusal_is_permanent_when_it_is_about_address_or_content(
    trusted: Mailbox, command: str, answer: str, kind: type[MailError], said: str
) -> None:
    """4xx comes again; so does a 5xx that the operator can mend: sender, policy."""
    trusted.answers[command] = answer

    assert said in await _failure(trusted.url, kind)
    assert trusted.received == []


async def test_farewell_that_fails_changes_nothing(trusted: Mailbox) -> None:
    """Once the message is taken it is sent, however the server says good-bye."""
    trusted.answers["QUIT"] = "421 go away"

    await _send(trusted.url)

    assert len(trusted.received) == 1


async def test_wrong_login_is_temporary(trusted: Mailbox) -> None:
    """The operator mends it; neither password is told."""
    text = await _failure(trusted.url.replace(":canary", ":not-the-canary"), TemporaryMailError)

    assert text == "the mail server refused the login (535)"


async def test_server_that_is_down_is_temporary() -> None:
    """Nobody listens."""
    text = await _failure(f"smtp://{HOST}:{free_port()}", TemporaryMailError)

    assert text == "the mail server is out of reach"


async def test_silent_server_is_left_in_time(silent_port: int) -> None:
    """It takes the connection and never greets."""
    began = time.monotonic()
    text = await _failure(f"smtp://{HOST}:{silent_port}", TemporaryMailError, patience=0.3)

    assert text == "the mail server took too long"
    assert time.monotonic() - began < 2


async def test_slow_server_is_left_in_time(trusted: Mailbox) -> None:
    """Patience is for the whole, not for each answer."""
    trusted.delay = 5
    began = time.monotonic()
    text = await _failure(trusted.url, TemporaryMailError, patience=0.5)

    assert text == "the mail server took too long"
    assert time.monotonic() - began < 2
    assert trusted.received == []


async def test_missing_starttls_stops_before_anything_is_told(tmp_path: Path) -> None:
    """Neither login nor mail goes out in the clear when TLS was asked for."""
    with mail_server(tmp_path, has_tls=False) as mailbox:
        text = await _failure(mailbox.url, TemporaryMailError)

    assert "STARTTLS" in text
    assert mailbox.received == []
    assert mailbox.logins == 0


async def test_unknown_authority_is_refused(mailbox: Mailbox) -> None:
    """A certificate that this machine does not trust ends it before the login."""
    text = await _failure(mailbox.url, TemporaryMailError)

    assert text == "the mail server's certificate can't be verified"
    assert mailbox.logins == 0


async def test_certificate_of_another_host_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted authority is not enough: the name must be the server's."""
    with mail_server(tmp_path, name="elsewhere.example") as mailbox:
        monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.authority))
        text = await _failure(mailbox.url, TemporaryMailError)

    assert text == "the mail server's certificate can't be verified"
    assert mailbox.logins == 0


async def test_smtps_to_a_port_without_tls_names_the_mix_up(tmp_path: Path) -> None:
    """A frequent mistake: 587 with smtps://."""
    with mail_server(tmp_path, has_tls=False) as mailbox:
        text = await _failure(f"smtps://{HOST}:{mailbox.port}", TemporaryMailError)

    assert "smtps:// or smtp://" in text


async def test_folder_holds_whole_messages_for_the_owner_alone(tmp_path: Path) -> None:
    """Folder 0700, file 0600, whatever the umask; the message's own bytes, and no draft left."""
    folder = tmp_path / "data" / "mail"
    folder.mkdir(parents=True, mode=0o755)
    message = _message()
    before = os.umask(0)
    try:
        await FolderTransport(folder).send(message)
    finally:
        os.umask(before)

    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == bytes(message)
    assert message_from_bytes(file.read_bytes(), policy=default)["To"] == ANN


async def test_folder_names_sort_by_time_and_hold_nothing_of_the_message(tmp_path: Path) -> None:
    """One after the other or all at once: no file is lost, none named by a stranger."""
    transport = FolderTransport(tmp_path / "mail")
    for number in range(5):
        await transport.send(_message(f"eve{number}@example.com"))
    await asyncio.gather(*(transport.send(_message()) for _ in range(20)))

    names = sorted(path.name for path in (tmp_path / "mail").iterdir())
    assert len(names) == 25
    assert all(re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{12}\.eml", name) for name in names)
    first = [(tmp_path / "mail" / name).read_bytes() for name in names[:5]]
    assert all(f"eve{number}@".encode() in content for number, content in enumerate(first))


async def test_folder_that_can_not_be_made_is_temporary(tmp_path: Path) -> None:
    """The error names the reason and no path."""
    (tmp_path / "file").write_text("")

    with pytest.raises(TemporaryMailError) as caught:
        await FolderTransport(tmp_path / "file" / "mail").send(_message())

    assert str(caught.value) == "the mail folder can't be written: Not a directory"


async def test_full_disk_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete or absent."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TemporaryMailError, match="No space left"):
        await FolderTransport(tmp_path / "mail").send(_message())

    assert list((tmp_path / "mail").iterdir()) == []
