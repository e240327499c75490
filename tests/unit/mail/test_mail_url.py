"""`DENIZEN_MAIL_URL` and `DENIZEN_MAIL_FROM`: what is accepted, and that no password is shown."""

import pytest

from denizen.mail.address import Sender, SenderError
from denizen.mail.server import MailUrlError, describe_mail_url, parse_mail_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("smtp://mail.example.org", "smtp://mail.example.org:587 (STARTTLS)"),
        ("smtps://me:canary@mail.example.org/", "smtps://me:********@mail.example.org:465 (TLS)"),
        (
            "smtp://me:canary@MAIL.example.org:25",
            "smtp://me:********@mail.example.org:25 (STARTTLS)",
        ),
        ("smtp://localhost", "smtp://localhost:25 (in the clear)"),
        ("smtp://me:canary@127.0.0.1:1025", "smtp://me:********@127.0.0.1:1025 (in the clear)"),
        ("smtp://[::1]:1025", "smtp://[::1]:1025 (in the clear)"),
        ("smtp://localhost?starttls=require", "smtp://localhost:587 (STARTTLS)"),
        ("smtp://relay.internal?starttls=off", "smtp://relay.internal:25 (in the clear)"),
        ("smtp://почта.example", "smtp://xn--80a1acny.example:587 (STARTTLS)"),
        ("smtp://relay.internal:25?starttls=require", "smtp://relay.internal:25 (STARTTLS)"),
    ],
)
def test_url_says_where_and_how_safely(url: str, shown: str) -> None:
    """TLS everywhere but on this machine, unless it is said."""
    assert describe_mail_url(url) == shown
    assert "canary" not in f"{parse_mail_url(url)!r}"


def test_login_is_percent_decoded() -> None:
    """Names are often addresses, and passwords hold anything."""
    server = parse_mail_url("smtps://me%40example.org:c%3Aa%2Fn%25@mail.example.org:2465")

    assert (server.username, server.password) == ("me@example.org", "c:a/n%")
    assert (server.host, server.port) == ("mail.example.org", 2465)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "smtp://"),
        ("canary", "smtp://"),
        ("http://mail.example.org", "smtp://"),
        ("smtp://", "names no host"),
        ("smtp://me:canary@", "names no host"),
        ("smtp://me:canary@a b", "names no host"),
        ("smtp://me:canary@mail..example.org", "names no host"),
        ("smtp://me:canary@ma%0ail.example.org", "names no host"),
        ("smtp://me:can/ary@mail.example.org", "%2F"),
        ("smtp://me:can#ary@mail.example.org", "%23"),
        ("smtp://mail.example.org:0", "host:port"),
        ("smtp://mail.example.org:99999", "host:port"),
        ("smtp://[canary", "host:port"),
        ("smtp://mail.example.org/canary", "host:port"),
        ("smtp://mail.example.org?starttls=maybe", "starttls=require"),
        ("smtp://mail.example.org?starttls=", "starttls=require"),
        ("smtps://mail.example.org?starttls=off", "with smtps:// neither"),
        ("smtp://mail.example.org?verify=canary", "not known"),
        ("smtp://me:canary@relay.internal?starttls=off", "in the clear"),
    ],
)
def test_wrong_url_is_refused_without_being_told(url: str, problem: str) -> None:
    """The sentence says what is right and repeats nothing."""
    with pytest.raises(MailUrlError) as caught:
        parse_mail_url(url)

    assert problem in str(caught.value)
    assert "canary" not in f"{caught.value} {describe_mail_url(url)}"


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("no-reply@example.org", Sender("no-reply@example.org")),
        ("Example <no-reply@example.org>", Sender("no-reply@example.org", "Example")),
        ('"Ann, Eve & Co." <a@example.org>', Sender("a@example.org", "Ann, Eve & Co.")),
        ("Служба <a@почта.example>", Sender("a@xn--80a1acny.example", "Служба")),
    ],
)
def test_sender_is_an_address_with_or_without_a_name(text: str, sender: Sender) -> None:
    """International domains go out in IDNA."""
    assert Sender.parse(text) == sender


@pytest.mark.parametrize(
    "text",
    [
        "", "example.org", "a@b@example.org", "a@example.org, b@example.org", "почта@example.org",
        "a@example.org\r\nBcc: eve@example.org", "A\r\nBcc: eve@example.org <a@example.org>",
        "A <a@example.org> B", "a@[192.0.2.1]", '"a b"@example.org', "x" * 81 + " <a@example.org>",
        "\u202e <a@example.org>",
    ],
)  # fmt: skip
def test_what_is_no_sender_is_refused(text: str) -> None:
    """One address in ASCII before its @; a name on one line, of at most 80 letters."""
    with pytest.raises(SenderError, match="must be an address"):
        Sender.parse(text)
