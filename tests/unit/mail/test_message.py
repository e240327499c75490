"""A mail that can't be right is refused when it is made."""

from datetime import datetime
from typing import Any

import pytest

from denizen.mail.errors import PermanentMailError
from denizen.mail.message import Kind
from mails import LINK, NOW, a_mail


@pytest.mark.parametrize(
    "recipient",
    [
        "ann@example.com, eve@example.com",
        "ann@example.com;eve@example.com",
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com\n",
        "Ann <ann@example.com>",
        '"ann eve"@example.com',
        "ann@[192.0.2.1]",
        "a" * 250 + "@example.com",
        "ann@example.com\u2028",
        "ann",
        "",
    ],
)
def test_t_mail_1_recipient_is_one_address(recipient: str) -> None:
    """Neither lists, headers, names, quoted or literal parts, nor more than 254 octets."""
    with pytest.raises(PermanentMailError) as caught:
        a_mail("registration", recipient=recipient)

    assert str(caught.value) == "the recipient is not one e-mail address"


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("registration", {"username": "ann"}),
        ("registration", {"at": NOW}),
        ("email_change", {"address": "203.0.113.7"}),
        ("invitation", {"user_agent": "Firefox/1"}),
        ("registration", {"link": "javascript:alert(1)"}),
        ("registration", {"link": f'{LINK}"><script>'}),
        ("registration", {"link": f"{LINK}\nhttps://evil.example/"}),
        ("registration", {"link": f"{LINK} https://evil.example/"}),
        ("registration", {"link": "https://" + "x" * 2001}),
        ("registration", {"link": NOW}),
        ("registration", {"expires_at": "3 Nov 2026"}),
        ("registration", {"expires_at": datetime(2026, 11, 3)}),  # noqa: DTZ001  # the point
        ("registration_known", {"reset_link": "//evil.example/"}),
        ("invitation", {"username": None}),
    ],
)
def test_foreign_or_malformed_facts_are_refused(kind: Kind, facts: dict[str, Any]) -> None:
    """Each kind takes its own facts; links are http(s), instants have a time zone."""
    with pytest.raises(PermanentMailError) as caught:
        a_mail(kind, **facts)

    assert str(caught.value).startswith(kind)
    assert "evil" not in str(caught.value)


def test_missing_facts_are_named() -> None:
    """The text lists what the kind takes."""
    good = a_mail("invitation")

    with pytest.raises(PermanentMailError, match="expires_at, link, username"):
        type(good)(
            kind="invitation",
            recipient=good.recipient,
            locale="en",
            facts={},
            message_id=good.message_id,
            queued_at=NOW,
        )


def test_printed_mail_shows_neither_link_nor_address() -> None:
    """It may land in a log."""
    shown = f"{a_mail('password_reset')!r}"

    assert "password_reset" in shown
    assert not any(secret in shown for secret in ("token=", "ann@", "203.0.113.7"))


@pytest.mark.parametrize(
    ("stored", "on_the_wire"),
    [
        ("Ann@Example.COM", "Ann@example.com"),
        ("ann@почта.example", "ann@xn--80a1acny.example"),
        ("почта@почта.example", "почта@xn--80a1acny.example"),
    ],
)
def test_mail_goes_to_the_address_as_stored(stored: str, on_the_wire: str) -> None:
    """The local part is the mailbox's own affair; the domain is put as DNS knows it."""
    assert a_mail("registration", recipient=stored).address == on_the_wire
