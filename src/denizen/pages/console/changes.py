"""What an event of the audit says beside its action: fields in words, before and after."""

from dataclasses import dataclass
from typing import Any

from denizen.pages.console.facts import role_name
from denizen.pages.words import NAMES, Words
from denizen.users.values import ROLES


@dataclass(frozen=True, slots=True)
class Change:
    """One field of an event.

    Attributes:
        field: as the audit has it.
        name: what people call it.
        before: how it was; None where the event does not say.
        after: how it is; likewise.
    """

    field: str
    name: str
    before: str | None
    after: str | None


def changes_of(words: Words, event: Any) -> list[Change]:
    """Give the fields of an event, in the order in which they were recorded."""
    before: dict[str, Any] = event.before
    after: dict[str, Any] = event.after
    names = field_names(words)
    return [
        Change(
            field,
            names.get(field, field),
            shown(words, before[field], field) if field in before else None,
            shown(words, after[field], field) if field in after else None,
        )
        for field in {**after, **before}
    ]


def field_names(words: Words) -> dict[str, str]:
    """Give what people call the fields that events have."""
    gettext = words.gettext
    return {
        "email": gettext("E-mail address"),
        "username": gettext("Username"),
        "role": gettext("Role"),
        "is_active": gettext("Active"),
        "email_verified": gettext("Address confirmed"),
        "locale": gettext("Language"),
        "reason": gettext("Reason"),
        "sessions": gettext("Sessions"),
        "name": gettext("Name"),
        "scopes": gettext("Scopes"),
        "key_id": gettext("Key"),
        "import_id": gettext("Import"),
        "label": gettext("File"),
        "format": gettext("Format"),
        "with_hashes": gettext("With password hashes"),
        "on_conflict": gettext("Known addresses"),
        "dry_run": gettext("Only a check"),
        "verified": gettext("Addresses are confirmed"),
        "recipe": gettext("Where the file is from"),
        "encoding": gettext("Encoding"),
        "columns": gettext("Columns"),
        "done": gettext("Rows"),
        "created": gettext("New"),
        "updated": gettext("Changed"),
        "skipped": gettext("Left as they are"),
        "refused": gettext("Refused"),
        "mails": gettext("Mails"),
        "kind": gettext("Kind"),
    }


def shown(words: Words, value: Any, field: str = "") -> str:
    """Give a value of a field as people read it."""
    if value is None or value in ("", [], {}):
        return "—"
    if isinstance(value, bool):
        return words.gettext("yes") if value else words.gettext("no")
    if isinstance(value, list):
        return ", ".join(shown(words, one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} = {shown(words, one)}" for key, one in value.items())
    names: dict[str, dict[Any, str]] = {
        "locale": {**NAMES},
        "role": {role: role_name(words, role) for role in ROLES},
    }
    return names.get(field, {}).get(value, str(value))
