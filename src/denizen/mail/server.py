"""Where mails are handed over: `DENIZEN_MAIL_URL`, read and shown without its password.

    smtp://user:password@mail.example.org            STARTTLS, or nothing is sent; port 587
    smtps://user:password@mail.example.org           TLS from the first byte; port 465
    smtp://localhost                                 this machine, in the clear; port 25
    smtp://localhost?starttls=require                this machine, with STARTTLS
    smtp://relay.internal:25?starttls=off            in the clear, and therefore without a password

Certificates are always verified, against this machine's authorities or those that OpenSSL is told
by `SSL_CERT_FILE`. There is no way to ask for TLS "if possible": whoever sits between would say no.
"""

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Final, Literal

Security = Literal["starttls", "tls", "none"]
_PORTS: Final[dict[Security, int]] = {"starttls": 587, "tls": 465, "none": 25}
_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")  # a name or an address
_STARTTLS: Final[dict[str, Security]] = {"require": "starttls", "off": "none"}


class MailUrlError(ValueError):
    """Raised when a mail URL can't be used; the text never holds the URL or its password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A parsed mail URL."""

    host: str
    port: int
    security: Security
    username: str | None = None
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Give what may be shown."""
        login = "" if self.username is None else f"{self.username}:********@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "smtps" if self.security == "tls" else "smtp"
        return f"{scheme}://{login}{host}:{self.port} ({_SHOWN[self.security]})"


_SHOWN: Final[dict[Security, str]] = {"starttls": "STARTTLS", "tls": "TLS", "none": "in the clear"}


def parse_mail_url(url: str) -> MailServer:
    """Read a mail URL.

    Raises:
        MailUrlError: with what is wrong, without the URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise MailUrlError(_UNREADABLE) from None
    if parts.scheme not in {"smtp", "smtps"}:
        raise MailUrlError("must begin with smtp:// or smtps://")
    host = _host(parts.hostname or "")
    if parts.path.strip("/") or parts.fragment or port == 0:
        raise MailUrlError(_UNREADABLE)
    security = _security(parts.scheme, host, parts.query)
    username, password = (
        urllib.parse.unquote(text or "") for text in (parts.username, parts.password)
    )
    if username and security == "none" and not _is_loopback(host):
        raise MailUrlError("would send a password in the clear: leave starttls=off out")
    return MailServer(
        host=host,
        port=port or _PORTS[security],
        security=security,
        username=username or None,
        password=password,
    )


_UNREADABLE: Final = (
    "is not smtp://user:password@host:port; in user and password write / ? # @ : and % "
    "as %2F %3F %23 %40 %3A and %25"
)


def describe_mail_url(url: str) -> str:
    """Give the server for logs and settings listings, never a password."""
    try:
        return str(parse_mail_url(url))
    except MailUrlError as error:
        return f"a URL that {error}"


def _host(name: str) -> str:
    try:
        host = name.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise MailUrlError("names no host: smtp://user:password@HOST:587")
    return host


def _security(scheme: str, host: str, query: str) -> Security:
    asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    wanted = asked.pop("starttls", None)
    if asked:
        raise MailUrlError("has a parameter that is not known; there is starttls=require and =off")
    if wanted is not None and (wanted not in _STARTTLS or scheme == "smtps"):
        raise MailUrlError("takes starttls=require or starttls=off, and with smtps:// neither")
    if scheme == "smtps":
        return "tls"
    if wanted is not None:
        return _STARTTLS[wanted]
    return "none" if _is_loopback(host) else "starttls"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
