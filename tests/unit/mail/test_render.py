"""The words of every mail, read as golden files; and what strangers typed stays a word."""

import itertools
import logging
import os
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, PackageLoader, meta

from denizen.mail.address import Sender
from denizen.mail.message import FACTS, KINDS, LINKS, Kind
from denizen.mail.render import Renderer
from denizen.mail.words import VALUE_MAX, one_line
from denizen.users.values import LOCALES, Locale
from mails import LINK, NOW, VALUES, a_mail

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = Environment(loader=PackageLoader("denizen.mail"), autoescape=True)
RENDERER = Renderer(Sender("no-reply@example.org", "Example"), "Example")
EVERY = list(itertools.product(KINDS, LOCALES))
# never to be sent to an address that nobody has confirmed, for strangers choose them
TYPED = {"username", "address", "user_agent"}
UNCONFIRMED: list[Kind] = ["registration", "email_verification", "email_change"]

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}{% raw %}{{ link }}",
    "javascript:alert(1)",
    "ann\r\nBcc: eve@example.com\r\n\r\nbody",
    "ann\n\nhttps://evil.example/\n\n-- \n",
    "ann\u2028\u202ehttps://evil.example/\x00\x1b[31m\ud800",
    "eve@example.com, ann@example.com; mallory@example.com",
    pytest.param("x" * 10_000, id="long"),
]


class _Html(HTMLParser):
    """What a reader's program makes of the HTML part."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


def _sent(message: EmailMessage) -> EmailMessage:
    """Give the message as it is after its way over the wire."""
    return message_from_bytes(bytes(message), policy=default)


@pytest.mark.parametrize(("kind", "locale"), EVERY)
def test_words_are_those_of_the_golden_files(kind: Kind, locale: Locale) -> None:
    """Subject, text and HTML; `WRITE_GOLDEN=1` writes them anew, to be read again by somebody."""
    message = _sent(RENDERER.render(a_mail(kind, locale=locale)))
    made = {
        ".txt": f"{message['Subject']}\n\n{_part(message, 'plain')}",
        ".html": _part(message, "html"),
    }

    for suffix, content in made.items():
        path = GOLDEN / f"{kind}.{locale}{suffix}"
        if os.environ.get("WRITE_GOLDEN"):
            path.write_text(content, encoding="utf-8")
        assert content == path.read_text(encoding="utf-8")


def test_there_is_a_golden_file_for_each_mail_and_no_other() -> None:
    """None is left over from a kind that is gone."""
    names = {f"{kind}.{locale}{suffix}" for kind, locale in EVERY for suffix in (".txt", ".html")}

    assert {path.name for path in GOLDEN.iterdir()} == names


@pytest.mark.parametrize("kind", KINDS)
def test_both_languages_have_the_same_facts(kind: Kind) -> None:
    """All that a kind takes is said, in each language; `origin` stands for who asked."""
    said = []
    for locale in LOCALES:
        source, *_ = PackageLoader("denizen.mail").get_source(TEMPLATES, f"{kind}.{locale}.jinja")
        said.append(meta.find_undeclared_variables(TEMPLATES.parse(source)))

    facts = FACTS[kind] - {"link"} | ({"origin"} if "at" in FACTS[kind] else set())
    assert said == [facts | {"layout", "service"}] * len(LOCALES)


@pytest.mark.parametrize("kind", UNCONFIRMED)
def test_unconfirmed_address_is_told_nothing_that_a_stranger_typed(kind: Kind) -> None:
    """Else our mails would carry a stranger's words to anybody."""
    assert not FACTS[kind] & (TYPED | {"at"})


@pytest.mark.parametrize(("kind", "locale"), EVERY)
def test_message_is_complete(kind: Kind, locale: Locale) -> None:
    """Text first, each link on a line of its own; HTML after it, self-contained; below 20 KB."""
    mail = a_mail(kind, locale=locale)
    message = _sent(RENDERER.render(mail))
    links = {VALUES[name] for name in LINKS & mail.facts.keys()}
    html = _Html(_part(message, "html"))

    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert links <= set(_part(message, "plain").splitlines())
    assert set(html.links) == links
    assert not {"img", "script", "link", "form", "iframe"} & set(html.tags)
    assert len(bytes(message)) < 20_000
    assert f'<html lang="{locale}">' in _part(message, "html")


def test_headers_are_those_of_an_automatic_mail() -> None:
    """From, To, Subject, Date, Message-ID of the sender's domain, language, and no answers."""
    message = _sent(RENDERER.render(a_mail("password_reset", locale="ru")))

    assert {name: str(value) for name, value in message.items()} == {
        "From": "Example <no-reply@example.org>",
        "To": "ann@example.com",
        "Subject": "Сброс пароля",
        "Date": "Tue, 03 Nov 2026 14:05:59 +0000",
        "Message-ID": "<019a5b1e-7f2a-7000-8000-000000000001@example.org>",
        "Auto-Submitted": "auto-generated",
        "Content-Language": "ru",
        "MIME-Version": "1.0",
        "Content-Type": 'multipart/alternative; boundary="=_019a5b1e7f2a70008000000000000001"',
    }


@pytest.mark.parametrize(
    ("kind", "en", "ru"),
    [
        ("registration", "Confirm your e-mail address", "Подтвердите адрес почты"),
        ("registration_known", "You already have an account", "У вас уже есть учётная запись"),
        ("password_reset", "Reset your password", "Сброс пароля"),
        ("invitation", "Set your password", "Задайте пароль"),
        ("password_changed", "Your password was changed", "Пароль изменён"),
        ("email_changing", "Your e-mail address is being changed", "Адрес почты меняется"),
        (
            "deletion",
            "Your account will be erased on 3 Dec 2026",
            "Учётная запись будет стёрта 3 дек. 2026",
        ),
    ],
)
def test_subjects_are_the_agreed_ones(kind: Kind, en: str, ru: str) -> None:
    """In ordinary spaces, so that people can search for them."""
    subjects = [RENDERER.render(a_mail(kind, locale=locale))["Subject"] for locale in LOCALES]

    assert subjects == [en, ru]


def test_retry_is_the_same_message() -> None:
    """Byte for byte, so that whoever gets it twice can tell."""
    mail = a_mail("deletion", locale="ru")

    assert bytes(RENDERER.render(mail)) == bytes(RENDERER.render(mail))


def test_t_mail_1_address_beyond_ascii_stands_in_the_header_as_it_is() -> None:
    """An encoded word inside an address would be another address (RFC 2047, 5)."""
    message = RENDERER.render(a_mail("registration", recipient="почта@почта.example"))

    assert "\r\nTo: почта@xn--80a1acny.example\r\n".encode() in bytes(message)


@pytest.mark.parametrize(
    "name", ['Служба "учётных" записей, отдел 7', "Bcc: eve@example.com", "a" * 80]
)
def test_sender_keeps_its_name(name: str) -> None:
    """Quotes, commas and colons in a name are letters of it."""
    message = _sent(Renderer(Sender("a@example.org", name), "Example").render(a_mail("deletion")))

    (sender,) = message["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (name, "a@example.org")
    assert message["Bcc"] is None


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    ("kind", "fact"),
    [("invitation", "username"), ("password_reset", "address"), ("deletion", "user_agent")],
)
def test_t_xss_1_what_strangers_type_is_inert(kind: Kind, fact: str, value: str) -> None:
    """No tag, link, line, header or template comes of it, and it does not grow the mail."""
    typed: dict[str, Any] = {fact: value}
    plain = _sent(RENDERER.render(a_mail(kind)))
    message = _sent(RENDERER.render(a_mail(kind, **typed)))
    html, expected = _Html(_part(message, "html")), _Html(_part(plain, "html"))

    assert message.items() == plain.items()
    assert (html.tags, html.links) == (expected.tags, expected.links)
    assert len(_part(message, "plain").splitlines()) == len(_part(plain, "plain").splitlines())
    assert "\n\n-- \nExample\n" in _part(message, "plain")
    assert len(bytes(message)) < len(bytes(plain)) + 2 * 3 * VALUE_MAX
    assert (one_line(value) in html.text) == (fact != "user_agent")
    assert (one_line(value) in _part(message, "plain")) == (fact != "user_agent")


def test_user_agent_is_never_repeated() -> None:
    """Anybody may send any; the mail names browser and system by our own words."""
    agent = "Call +1 555 0100 about your account! Firefox/1 Linux"
    message = RENDERER.render(a_mail("password_reset", user_agent=agent))

    assert "(Firefox, Linux, 203.0.113.7)" in _part(message, "plain")
    assert "555" not in message.as_string()


def test_unknown_origin_is_left_out() -> None:
    """From the command line there is neither address nor device."""
    message = RENDERER.render(a_mail("password_changed", user_agent="", address=""))

    assert "UTC. All other" in _part(message, "plain")


def test_subject_stays_short_and_one_line(tmp_path: Path) -> None:
    """Even when an operator puts what a stranger typed into it."""
    _override(tmp_path, "invitation.en", subject="Welcome\n {{ username }}")
    renderer = Renderer(Sender("a@example.org"), "Example", tmp_path)
    username = "ann\r\nBcc: eve@example.com" + "ж" * 500

    message = _sent(renderer.render(a_mail("invitation", username=username)))

    assert str(message["Subject"]).startswith("Welcome ann  Bcc: eve@example.comж")
    assert len(str(message["Subject"])) == 120
    assert message["Bcc"] is None


def _override(folder: Path, name: str, **blocks: str) -> None:
    texts = {"subject": "Ours", "before": "Before", "button": "Go", "after": "After"} | blocks
    body = "".join(f"{{% block {block} %}}{text}{{% endblock %}}" for block, text in texts.items())
    (folder / f"{name}.jinja").write_text("{% extends layout %}" + body, encoding="utf-8")


def test_operator_template_wins(tmp_path: Path) -> None:
    """A file of the same name takes the place of ours, and of ours alone."""
    _override(tmp_path, "deletion.en", before="So long, & thanks.")
    renderer = Renderer(Sender("a@example.org"), "Example", tmp_path)

    message = renderer.render(a_mail("deletion"))

    assert message["Subject"] == "Ours"
    assert "So long, & thanks." in _part(message, "plain")
    assert "So long, & thanks." in _Html(_part(message, "html")).text
    assert renderer.render(a_mail("invitation"))["Subject"] == "Set your password"
    assert renderer.check() == []


@pytest.mark.parametrize(
    "blocks",
    [
        {"before": "{% if %}"},
        {"before": "{{ nobody_knows }}"},
        {"before": "{{ 1 / 0 }}"},
        {"before": "{{ {}[link].x }}"},
        {"before": "{% include 'missing.jinja' %}"},
        {"before": "{{ link.__class__.__mro__ }}"},
        {"before": "{{ lipsum.__globals__['os'].getpid() }}"},
        {"before": "{% for one in range(10 ** 9) %}x{% endfor %}"},
        {"subject": "{{ 1 / 0 }}"},
    ],
)
def test_broken_operator_template_loses_no_mail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, blocks: dict[str, str]
) -> None:
    """Our own words are sent; the log names the template and no secret, `check` says why."""
    _override(tmp_path, "password_reset.ru", **blocks)
    renderer = Renderer(Sender("no-reply@example.org", "Example"), "Example", tmp_path)
    mail = a_mail("password_reset", locale="ru")

    with caplog.at_level(logging.WARNING):
        message = renderer.render(mail)

    assert bytes(message) == bytes(RENDERER.render(mail))
    assert "password_reset.ru" in caplog.text
    assert "token=" not in caplog.text
    (problem,) = renderer.check()
    assert problem.startswith("password_reset.ru: ")


def test_operator_layout_without_the_link_is_not_used(tmp_path: Path) -> None:
    """A mail without its link is no mail."""
    (tmp_path / "text.jinja").write_text("{{ self.before() }}", encoding="utf-8")
    renderer = Renderer(Sender("a@example.org"), "Example", tmp_path)

    assert LINK in _part(renderer.render(a_mail("registration")), "plain").splitlines()
    assert len(renderer.check()) == len(EVERY)


def test_operator_file_that_is_no_text_loses_no_mail(tmp_path: Path) -> None:
    """Nor does one in some other encoding."""
    (tmp_path / "deletion.ru.jinja").write_bytes("Удаление".encode("cp1251"))
    renderer = Renderer(Sender("a@example.org"), "Example", tmp_path)

    message = renderer.render(a_mail("deletion", locale="ru"))

    assert str(message["Subject"]).startswith("Учётная запись будет стёрта 3 дек. 2026")


def test_t_xss_1_escaping_is_on_whatever_the_file_is_called() -> None:
    """It does not hang on a file's ending."""
    html: Any = RENDERER._chosen._html

    assert html.autoescape is True
    assert html.from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"


def test_erasure_is_told_by_its_day_in_utc() -> None:
    """The subject has the day, the text the hour."""
    late = NOW.replace(day=30, hour=23, minute=59) + timedelta(minutes=1)
    message = RENDERER.render(a_mail("deletion", erase_at=late))

    assert message["Subject"] == "Your account will be erased on 1 Dec 2026"
    assert "1 Dec 2026, 00:00 UTC" in _part(message, "plain")


def test_documented_template_is_one(tmp_path: Path) -> None:
    """The example in `docs/mail.md` works as it stands."""
    page = (Path(__file__).parents[3] / "docs" / "mail.md").read_text(encoding="utf-8")
    example = page.partition("```jinja\n")[2].partition("```")[0]
    (tmp_path / "registration.en.jinja").write_text(example, encoding="utf-8")
    renderer = Renderer(Sender("a@example.org"), "Example", tmp_path)

    assert renderer.check() == []
    assert renderer.render(a_mail("registration"))["Subject"] == "Welcome to Example"
