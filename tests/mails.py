"""Mails for tests: every kind with the facts that it takes."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from denizen.mail.message import FACTS, ORIGIN, Kind, Mail
from denizen.users.values import Locale

NOW = datetime(2026, 11, 3, 14, 5, 59, tzinfo=UTC)
LINK = "https://accounts.example.org/account/confirm?token=dz_" + "Ab3-_" * 12
VALUES: dict[str, str | datetime] = {
    "link": LINK,
    "reset_link": "https://accounts.example.org/account/password-reset",
    "at": NOW,
    "expires_at": NOW + timedelta(hours=24),
    "erase_at": NOW + timedelta(days=30),
    "username": "ann",
    "address": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}


def a_mail(
    kind: Kind, *, locale: Locale = "en", recipient: str = "ann@example.com", **facts: Any
) -> Mail:
    """Make a mail with all the facts of its kind, some of them given."""
    names = FACTS[kind] | (ORIGIN if "at" in FACTS[kind] else set())
    return Mail(
        kind=kind,
        recipient=recipient,
        locale=locale,
        facts={name: VALUES[name] for name in names} | facts,
        message_id=uuid.UUID("019a5b1e-7f2a-7000-8000-000000000001"),
        queued_at=NOW,
    )
