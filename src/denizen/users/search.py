"""Searching for a user by whatever somebody knows of them; takes no `db`, gives a condition."""

import contextlib
import unicodedata
import uuid
from typing import Final

from sqlalchemy import ColumnElement, false, func, or_

from denizen.errors import InvalidError
from denizen.users.model import UserMixin
from denizen.users.values import email_key, username_key

PART_MIN: Final = 3  # letters that say enough to be looked for inside of others


def is_meant(model: type[UserMixin], name: str) -> ColumnElement[bool]:
    """Ask whom somebody may mean: by the id, all or part of the address or the username.

    Fewer than three letters are a whole address or name. Russian е is ё. What can be no name of any
    kind means nobody.
    """
    found: list[ColumnElement[bool]] = [false()]
    with contextlib.suppress(ValueError):
        found.append(model.id == uuid.UUID(name))
    for key, column in ((email_key, model.email_key), (username_key, model.username_key)):
        with contextlib.suppress(InvalidError):
            found.append(column == key(name))
    part = unicodedata.normalize("NFC", name.casefold())
    if len(part) >= PART_MIN:
        is_either = not {"е", "ё"}.isdisjoint(part)
        for column in (model.email_key, model.username_key):
            spelt = func.replace(column, "ё", "е") if is_either else column
            found.append(spelt.contains(part.replace("ё", "е"), autoescape=True))
    return or_(*found)
