"""What is told of users, in words: their status and their roles."""

from denizen.pages.words import Words
from denizen.users.status import Status
from denizen.users.values import Role


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
