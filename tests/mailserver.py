"""A real SMTP server for tests, with STARTTLS and a login, on a free port of this machine.

It runs in a thread of its own, so that tests with and without an event loop can use it. Its
certificate is from an authority made for the test: `SSL_CERT_FILE` set to `authority` trusts it.
"""

import asyncio
import contextlib
import email
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

USERNAME = "mailer"
PASSWORD = "canary-mail-password"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it came in."""

    sender: str
    recipients: list[str]
    options: list[str]
    content: bytes
    is_encrypted: bool
    is_logged_in: bool

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed."""
        return email.message_from_bytes(self.content, policy=default)


@dataclass(slots=True)
class Mailbox:
    """A running server and all that it has taken.

    Attributes:
        received: every mail, in order of arrival.
        answers: what is said instead of yes to `MAIL`, `RCPT`, `DATA` or `QUIT`.
        delay: seconds that every answer to `MAIL` takes.
        logins: how many were tried.
        authority: the file of the authority that signed the certificate.
    """

    port: int = 0
    is_smtps: bool = False
    received: list[Received] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    logins: int = 0
    authority: Path = Path()

    @property
    def url(self) -> str:
        """What `DENIZEN_MAIL_URL` is set to."""
        login = f"{USERNAME}:{PASSWORD}@{HOST}:{self.port}"
        return f"smtps://{login}" if self.is_smtps else f"smtp://{login}?starttls=require"

    def to(self, recipient: str) -> list[EmailMessage]:
        """Give the mails to somebody, in order of arrival."""
        return [one.message for one in self.received if recipient in one.recipients]

    def wait_for(self, recipient: str, *, count: int = 1, patience: float = 15) -> EmailMessage:
        """Wait until somebody has that many mails; give the last of these."""
        deadline = time.monotonic() + patience
        while len(found := self.to(recipient)) < count:
            assert time.monotonic() < deadline, f"{len(found)} mails of {count} came"
            time.sleep(0.01)
        return found[count - 1]

    async def arrival(
        self, recipient: str, *, count: int = 1, patience: float = 15
    ) -> EmailMessage:
        """Do the same without holding the event loop."""
        return await asyncio.to_thread(self.wait_for, recipient, count=count, patience=patience)

    def authenticate(
        self, _server: SMTP, _session: Any, _envelope: Any, _mechanism: str, login: Any
    ) -> AuthResult:
        """Take the one login that there is."""
        self.logins += 1
        is_right = (login.login, login.password) == (USERNAME.encode(), PASSWORD.encode())
        return AuthResult(success=is_right, handled=False)

    async def handle_MAIL(  # noqa: N802  # aiosmtpd's names
        self, _server: SMTP, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Answer to MAIL; a refusal repeats the address, as servers do."""
        await asyncio.sleep(self.delay)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return f"{self.answers['MAIL']} <{address}>" if "MAIL" in self.answers else "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        """Answer to RCPT, likewise."""
        if "RCPT" in self.answers:
            return f"{self.answers['RCPT']} <{address}>"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        """Take the mail, unless `answers` says otherwise."""
        if "DATA" not in self.answers:
            one = Received(
                sender=envelope.mail_from,
                recipients=envelope.rcpt_tos,
                options=envelope.mail_options,
                content=envelope.original_content,
                is_encrypted=session.ssl is not None or self.is_smtps,
                is_logged_in=bool(session.authenticated),
            )
            self.received.append(one)
        return self.answers.get("DATA", "250 taken")

    async def handle_QUIT(self, _server: SMTP, _session: Any, _envelope: Any) -> str:  # noqa: N802
        """Say good-bye."""
        return self.answers.get("QUIT", "221 bye")


def link_in(message: EmailMessage, *, nth: int = 0) -> str:
    """Give a link in the text part, where each stands on a line of its own."""
    body = message.get_body(("plain",))
    assert body is not None
    lines: list[str] = body.get_content().splitlines()
    return [line for line in lines if line.startswith(("http://", "https://"))][nth]


@contextlib.contextmanager
def mail_server(
    folder: Path,
    *,
    has_tls: bool = True,
    is_smtps: bool = False,
    has_utf8: bool = True,
    name: str = HOST,
) -> Iterator[Mailbox]:
    """Run a server until the block ends; the authority's file is put into the folder.

    Args:
        folder: for the certificate.
        has_tls: whether STARTTLS is offered, and asked for.
        is_smtps: TLS from the first byte instead.
        has_utf8: whether addresses beyond ASCII are taken.
        name: the host that the certificate is for.
    """
    authority = trustme.CA()
    mailbox = Mailbox(is_smtps=is_smtps, authority=folder / "authority.pem")
    authority.cert_pem.write_to_path(mailbox.authority)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    options: dict[str, Any] = {"hostname": "localhost", "enable_SMTPUTF8": has_utf8}
    options |= {"authenticator": mailbox.authenticate, "auth_require_tls": has_tls and not is_smtps}
    if has_tls and not is_smtps:
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    running = _Running(mailbox, options, context if is_smtps else None)
    running.start()
    try:
        yield mailbox
    finally:
        running.stop()


class _Running(threading.Thread):
    def __init__(
        self, mailbox: Mailbox, options: dict[str, Any], context: ssl.SSLContext | None
    ) -> None:
        super().__init__(daemon=True)
        self._mailbox = mailbox
        self._options = options
        self._context = context
        self._connections: list[SMTP] = []
        self._is_ready = threading.Event()
        self._is_over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        super().start()
        assert self._is_ready.wait(10)

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._is_over.set)
        self.join(10)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(self._connect, HOST, 0, ssl=self._context)
        self._mailbox.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._is_over.wait()
        server.close()
        for connection in self._connections:
            if isinstance(connection.transport, asyncio.Transport):
                connection.transport.abort()
        await asyncio.sleep(0)

    def _connect(self) -> SMTP:
        connection = SMTP(self._mailbox, loop=self._loop, **self._options)
        self._connections.append(connection)
        return connection
