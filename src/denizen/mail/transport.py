"""How a message leaves: over SMTP, or into a folder when no server is set. One message at a time.

Both raise `TemporaryMailError` or `PermanentMailError` and nothing else; what the server said stays
out of the texts, since it repeats the recipient.
"""

import asyncio
import contextlib
import os
import re
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import aiosmtplib
from uuid_utils.compat import uuid7

from denizen.mail.address import Sender
from denizen.mail.errors import PermanentMailError, TemporaryMailError
from denizen.mail.server import MailServer

PATIENCE: Final = timedelta(minutes=2)  # from connecting to the answer that takes the message over
FAREWELL: Final = 5.0  # seconds for QUIT, when the message is already taken
# X.7.X: a policy, mostly one about the sender (no relaying, not your address): RFC 3463
_POLICY: Final = re.compile(r"5\.7\.")
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class Transport(Protocol):
    """Hands a message over; when it returns, the message is somebody else's to keep."""

    async def send(self, message: EmailMessage) -> None:
        """Send to the one address in `To`.

        Raises:
            TemporaryMailError: not sent; try the same message again later.
            PermanentMailError: not sent; the same message would be refused again.
        """


class SmtpTransport:
    """Sends over SMTP, each message on a connection of its own.

    Args:
        server: as parsed from `DENIZEN_MAIL_URL`.
        sender: the envelope's sender; its domain greets the server.
        patience: the longest that `send` takes, but for `FAREWELL`. A server that takes the message
            and answers later than this gets it twice, with one Message-ID.
    """

    def __init__(
        self, server: MailServer, sender: Sender, *, patience: timedelta = PATIENCE
    ) -> None:
        self._server = server
        self._sender = sender
        self._patience = patience

    async def send(self, message: EmailMessage) -> None:
        """Send to the one address in `To`; a permanent refusal is one of address or content.

        Whatever the operator can mend (login, certificate, sender, policy) counts as temporary.
        """
        recipients = [address.addr_spec for address in message["To"].addresses]
        if len(recipients) != 1:
            raise PermanentMailError("the message is not to exactly one address")
        client = aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.security == "tls",
            start_tls=False,  # never "if possible": see `_hand_over`
            local_hostname=self._sender.domain,
            timeout=None,  # the deadline is for the whole
        )
        connection: Any = None
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await client.connect()
                connection = client.transport
                await self._hand_over(client, message, recipients)
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=FAREWELL)
        except (aiosmtplib.SMTPException, OSError) as error:
            _translate(error)
        finally:
            if connection is not None:
                connection.abort()  # closing TLS would wait for the server's word

    async def _hand_over(
        self, client: aiosmtplib.SMTP, message: EmailMessage, recipients: list[str]
    ) -> None:
        if self._server.security == "starttls":
            await client.starttls()
        if self._server.username is not None:
            await client.login(self._server.username, self._server.password)
        await client.send_message(message, sender=self._sender.address, recipients=recipients)


class FolderTransport:
    """Writes each message as an `.eml` file: complete or not at all, for the owner's eyes only.

    Names sort by time and hold nothing of the message. Nothing is ever removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        """Write a file, whoever it is to."""
        try:
            await asyncio.to_thread(self._write, bytes(message))
        except OSError as error:
            raise TemporaryMailError(
                f"the mail folder can't be written: {error.strerror}"
            ) from None

    def _write(self, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{uuid7().hex[-12:]}"
        draft = self._folder / f".{name}"
        try:
            with os.fdopen(os.open(draft, _NEW_FILE, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # a crash after the rename must not leave it empty
            draft.rename(self._folder / f"{name}.eml")
        finally:
            draft.unlink(missing_ok=True)


def _translate(error: aiosmtplib.SMTPException | OSError) -> NoReturn:
    """Raise the typed error for what the library or the network raised, without its text."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            _refused("the recipient", error.recipients[0])
        case aiosmtplib.SMTPDataError():
            _refused("the message", error)
        case aiosmtplib.SMTPNotSupported():
            raise PermanentMailError("the mail server takes no addresses beyond ASCII") from None
        case aiosmtplib.SMTPResponseException():
            said = f"the mail server refused {_step(error)} ({error.code})"
        case TimeoutError():
            said = "the mail server took too long"
        case _ if isinstance(error.__cause__ or error, ssl.SSLCertVerificationError):
            said = "the mail server's certificate can't be verified"
        case _ if isinstance(error.__cause__ or error, ssl.SSLError):
            said = "TLS with the mail server fails; is it smtps:// or smtp://, and the port right?"
        case OSError():
            said = "the mail server is out of reach"
        case _:  # an extension that we insist on
            said = "the mail server offers no STARTTLS, or no login that we know"
    raise TemporaryMailError(said) from None


def _refused(what: str, answer: aiosmtplib.SMTPResponseException) -> NoReturn:
    is_lasting = answer.code >= 500 and not _POLICY.match(answer.message)
    kind = PermanentMailError if is_lasting else TemporaryMailError
    raise kind(f"the mail server refused {what} ({answer.code})") from None


def _step(error: aiosmtplib.SMTPResponseException) -> str:
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return "the login"
        case aiosmtplib.SMTPSenderRefused():
            return "the sender"
        case _:
            return "to talk to us"
