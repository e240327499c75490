"""Searching for a user by whatever somebody knows of them; takes no `db`, gives a condition."""

import contextlib
import re
import unicodedata
import uuid
from typing import Final

from sqlalchemy import ColumnElement, and_, false, literal_column, or_

from denizen.errors import InvalidError
from denizen.users.model import HAS_SIGNS, UserMixin
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
        found.append(has_part(model, part, either="её"))
    return or_(*found)


def has_part(model: type[UserMixin], part: str, *, either: str = "") -> ColumnElement[bool]:
    """Ask for a part of the address or the username, in any letter case.

    An index serves it, but for two kinds that hardly anybody looks for: one letter before signs
    (`a--`), and signs beyond ASCII. These read all users.

    Args:
        model: the users.
        part: three letters or more; the trigrams in it are looked up, and where it is nothing but
            signs, those who have three in a row.
        either: letters that stand for each other.
    """
    part = part.casefold()
    keys = (model.email_key, model.username_key)
    if set(either).isdisjoint(part):
        found = or_(*(key.contains(part, autoescape=True) for key in keys))
    else:
        pattern = "".join(f"[{either}]" if sign in either else re.escape(sign) for sign in part)
        found = or_(*(key.regexp_match(pattern) for key in keys))
    is_signs = part.isascii() and not any(sign.isalnum() for sign in part)
    return and_(found, literal_column(HAS_SIGNS)) if is_signs else found
