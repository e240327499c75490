"""From a mail to the message that is sent: words from templates, headers from here.

`templates/` has a file for each kind and language with the blocks `subject`, `before` (the link),
`button` and `after`, and the two layouts `text.jinja` and `html.jinja`. An operator's folder may
hold files of the same names, which win; one that can't be used is named in the log and ours is
sent in its place, so that nobody waits for a mail in vain.

Templates are content and not programs: they run in Jinja's sandbox, see strings and instants, and
what is typed by people is never a template, a header, markup or a second line.
"""

import itertools
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path
from typing import Any, Final

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context
from markupsafe import Markup, escape

from denizen.device import device_of
from denizen.mail.address import Sender
from denizen.mail.message import FACTS, INSTANTS, KINDS, LINKS, Kind, Mail
from denizen.mail.words import Moment, one_line, paragraphs, typeset
from denizen.users.values import LOCALES, Locale

SUBJECT_MAX: Final = 120
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Words:
    subject: str
    text: str
    html: str


class Renderer:
    """Makes messages; without state but the compiled templates.

    Args:
        sender: stands in `From`.
        service: what the service is called in the mails.
        folder: an operator's templates.
    """

    def __init__(self, sender: Sender, service: str, folder: Path | None = None) -> None:
        self._sender = sender
        self._service = service
        ours = PackageLoader("denizen.mail")
        self._ours = _Templates(ours)
        self._chosen = self._ours
        if folder is not None:
            self._chosen = _Templates(ChoiceLoader([FileSystemLoader(folder), ours]))

    def render(self, mail: Mail) -> EmailMessage:
        """Give the message, text first and then HTML; the same mail gives the same bytes."""
        facts = _facts(mail, self._service)
        try:
            words = self._chosen.words(mail, facts)
        except Exception as error:  # whatever an operator's template does
            if self._chosen is self._ours:
                raise
            # the kind of error alone: its text may repeat a fact, and a link is a secret
            _log.warning(
                "the templates for %s.%s can't be used (%s); sent in our own words",
                *(mail.kind, mail.locale, type(error).__name__),
            )
            words = self._ours.words(mail, facts)
        return self._message(mail, words)

    def check(self) -> list[str]:
        """Give a line for each mail that an operator's templates can't make, on made-up facts."""
        problems = []
        for kind, locale in itertools.product(KINDS, LOCALES):
            mail = _sample(kind, locale)
            try:
                self._chosen.words(mail, _facts(mail, self._service))
            except Exception as error:  # noqa: BLE001  # whatever an operator's template does
                problems.append(f"{kind}.{locale}: {one_line(str(error)) or type(error).__name__}")
        return problems

    def _message(self, mail: Mail, words: _Words) -> EmailMessage:
        local, _, domain = mail.address.rpartition("@")
        message = EmailMessage(policy=SMTP if local.isascii() else SMTPUTF8)
        message["From"] = self._sender.header
        message["To"] = Address(username=local, domain=domain)
        message["Subject"] = words.subject
        message["Date"] = mail.queued_at
        message["Message-ID"] = f"<{mail.message_id}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        # quoted-printable passes every server and stays readable; `=_` can't occur in it
        message.set_content(words.text, cte="quoted-printable")
        message.add_alternative(words.html, subtype="html", cte="quoted-printable")
        message.set_boundary(f"=_{mail.message_id.hex}")
        message["Content-Language"] = mail.locale  # set earlier it would move into the first part
        return message


class _Templates:
    """The templates that a loader finds, each once for text and once, escaping, for HTML."""

    def __init__(self, loader: BaseLoader) -> None:
        self._text = _environment(loader, autoescape=False)
        self._html = _environment(loader, autoescape=True)

    def words(self, mail: Mail, facts: Mapping[str, Any]) -> _Words:
        name = f"{mail.kind}.{mail.locale}.jinja"
        links = [str(mail.facts[name]) for name in sorted(LINKS & mail.facts.keys())]
        template = self._text.get_template(name)
        subject = "".join(template.blocks["subject"](template.new_context(dict(facts))))
        words = _Words(
            subject=one_line(" ".join(paragraphs(subject)), SUBJECT_MAX),
            text=template.render(facts, layout="text.jinja", links=links),
            html=self._html.get_template(name).render(
                facts, layout="html.jinja", links=[escape(link) for link in links]
            ),
        )
        for link in links:
            if link not in words.text.splitlines() or str(escape(link)) not in words.html:
                raise ValueError("a link is missing")
        return words


def _environment(loader: BaseLoader, *, autoescape: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=loader,
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["paragraphs"] = _paragraphs
    return environment


@pass_context
def _paragraphs(context: Context, block: str) -> list[str]:
    """Give a block's paragraphs, as safe as the block was: only spaces and line breaks change."""
    locale = context["locale"]
    kind = Markup if isinstance(block, Markup) else str
    return [kind(typeset(part, locale)) for part in paragraphs(block)]


def _facts(mail: Mail, service: str) -> dict[str, Any]:
    """Give what templates see: the facts as people read them, and who asked as `origin`."""
    shown: dict[str, Any] = {"service": service, "locale": mail.locale, "origin": _origin(mail)}
    for name, value in mail.facts.items():
        if isinstance(value, datetime):
            shown[name] = Moment(value, mail.locale)
        else:
            shown[name] = value if name in LINKS else one_line(value)
    return shown


def _origin(mail: Mail) -> str:
    device = device_of(str(mail.facts.get("user_agent", "")))
    address = one_line(str(mail.facts.get("address", "")))
    return ", ".join(part for part in (device, address) if part)


def _sample(kind: Kind, locale: Locale) -> Mail:
    now = datetime.now(UTC)
    facts = {
        name: now if name in INSTANTS else f"https://example.org/{name}"  # a link, or just a text
        for name in FACTS[kind]
    }
    return Mail(
        kind=kind,
        recipient="ann@example.org",
        locale=locale,
        facts=facts,
        message_id=uuid.UUID(int=0),
        queued_at=now,
    )
