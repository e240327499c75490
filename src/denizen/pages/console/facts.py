"""What is told of users, in words: their status, roles, the fields of a change."""

from typing import Any

from denizen.pages.words import NAMES, Words
from denizen.users.status import Status
from denizen.users.values import ROLES, Role


def status_name(words: Words, status: Status) -> str:
    """Give a status in a word or two; in Russian they agree with the account."""
    names: dict[Status, str] = {
        "active": words.gettext("Active"),
        "unconfirmed": words.gettext("Not confirmed"),
        "invited": words.gettext("Invited"),
        "disabled": words.gettext("Disabled"),
        "leaving": words.gettext("To be erased"),
    }
    return names[status]


def role_name(words: Words, role: Role) -> str:
    """Give the name of a role."""
    names: dict[Role, str] = {
        "user": words.gettext("User"),
        "support": words.gettext("Support"),
        "admin": words.gettext("Administrator"),
    }
    return names[role]


def field_name(words: Words, field: str) -> str:
    """Give what a field of a change is called; one that has no name is shown as it is."""
    names = {
        "email": words.gettext("E-mail address"),
        "username": words.gettext("Username"),
        "role": words.gettext("Role"),
        "locale": words.gettext("Language"),
        "email_verified": words.gettext("Address confirmed"),
        "is_active": words.gettext("May sign in"),
        "sessions": words.gettext("Sessions"),
        "reason": words.gettext("Reason"),
    }
    return names.get(field, field)


def field_value(words: Words, field: str, value: Any) -> str:
    """Give a value of a field as people read it."""
    if value is True or value == "yes":
        return words.gettext("yes")
    if value is False or value == "no":
        return words.gettext("no")
    if field == "role" and value in ROLES:
        return role_name(words, value)
    if field == "locale":
        return next((name for locale, name in NAMES.items() if locale == value), str(value))
    return str(value)
