"""UserModel: the columns of a user and the pure rules about them; no HTTP, no mail, no steps.

`UserMixin` holds it all, for a class of your own on your own declarative base; `UserModel` is that
mixin on ours. Keys for uniqueness are derived from what was typed whenever that is set.
"""

import uuid
from datetime import datetime
from typing import Any, Final, Self

from sqlalchemy import CheckConstraint, DateTime, Index, String, Table, func, inspect, select, text
from sqlalchemy.orm import Mapped, MappedAsDataclass, declared_attr, mapped_column, validates
from uuid_utils.compat import uuid7

from denizen.db.model import Model, Verbs
from denizen.db.unit import Db
from denizen.errors import InvalidError
from denizen.tables import Tables
from denizen.users.values import (
    EMAIL_KEY_MAX,
    EMAIL_MAX,
    HASH_MAX,
    ROLES,
    USERNAME_KEY_MAX,
    USERNAME_MAX,
    Locale,
    Role,
    email_key,
    read_email,
    read_username,
    username_key,
)

# three signs in a row, which few have: a search for such is not served by trigrams
_SIGNS: Final = "~ '[!-/:-@[-`{-~]{3}'"
HAS_SIGNS: Final = f"(email_key {_SIGNS} OR username_key {_SIGNS})"


class UserMixin(Verbs, MappedAsDataclass, kw_only=True, eq=False):
    """The columns of a user, for a class on a declarative base of your own.

    ```python
    class Member(UserMixin, Base, kw_only=True, eq=False):
        __tablename__ = "members"
        nickname: Mapped[str | None] = mapped_column(default=None)
    ```

    The mixin comes first; `Base` may be a plain declarative base or a dataclass one.

    Attributes:
        email: as typed; unique by `email_key` (NFC, casefold, IDNA).
        username: as typed; unique by `username_key` (RFC 8265 UsernameCaseMapped, casefold).
        hashed_password: a PHC string; None: no password yet, nobody can sign in with one.
        email_verified_at: None: unconfirmed, can't sign in.
        erase_after: set: nobody can sign in, and then the user is erased; a link undoes it.
        version: counts the changes; the ORM refuses to write over a version it has not read.
    """

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid7, sort_order=-1)
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    email_key: Mapped[str] = mapped_column(
        String(EMAIL_KEY_MAX, collation="C"),
        init=False,
        repr=False,
        unique=True,
        index=True,
        info={"field": "email"},
    )
    username: Mapped[str] = mapped_column(String(USERNAME_MAX))
    username_key: Mapped[str] = mapped_column(
        String(USERNAME_KEY_MAX, collation="C"),
        init=False,
        repr=False,
        unique=True,
        index=True,
        info={"field": "username"},
    )
    hashed_password: Mapped[str | None] = mapped_column(String(HASH_MAX), default=None, repr=False)
    role: Mapped[Role] = mapped_column(String(16), default="user")
    locale: Mapped[Locale] = mapped_column(String(8), default="en")
    is_active: Mapped[bool] = mapped_column(default=True)
    email_verified_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), default=None
    )
    erase_after: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), init=False, default=None
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), init=False, server_default=func.now()
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), init=False, server_default=func.now(), onupdate=func.now()
    )
    version: Mapped[int] = mapped_column(init=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if isinstance(cls.__dict__.get("__table__"), Table):
            _complete(cls, cls.__dict__["__table__"])

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805  # SQLAlchemy passes the class
        return {"version_id_col": cls.version, "eager_defaults": True}

    @validates("email")
    def _derive_email_key(self, _name: str, value: str) -> str:
        email, key = read_email(value)
        if self.__dict__.get("email_key", key) != key:
            self.email_verified_at = None  # another mailbox, which nobody has confirmed yet
        self.email_key = key
        return email

    @validates("username")
    def _derive_username_key(self, _name: str, value: str) -> str:
        username, self.username_key = read_username(value)
        return username

    @classmethod
    async def get_by_email(cls, db: Db, email: str) -> Self | None:
        """Give the user with that address, in whatever spelling; None for what is no address."""
        try:
            key = email_key(email)
        except InvalidError:
            return None
        found: Self | None = await db.scalar(select(cls).where(cls.email_key == key))
        return found

    @classmethod
    async def get_by_username(cls, db: Db, username: str) -> Self | None:
        """Give the user with that name, in whatever spelling; None for what is no name."""
        try:
            key = username_key(username)
        except InvalidError:
            return None
        found: Self | None = await db.scalar(select(cls).where(cls.username_key == key))
        return found

    @property
    def email_verified(self) -> bool:
        """Whether the owner of the mailbox has confirmed the address."""
        return self.email_verified_at is not None

    @property
    def can_sign_in(self) -> bool:
        """Whether a right password opens a session."""
        return self.is_active and self.email_verified and self.erase_after is None


def _complete(model: type[Any], table: Table) -> None:
    """Add what a host's own `__table_args__` would otherwise drop, and the tables around.

    Here, and not where `Denizen` is made: a host's migrations import its models, not its app.
    """
    if model.__hash__ is None or "email" not in inspect(model).column_attrs:
        raise TypeError(
            f"write it as `class {model.__name__}(UserMixin, Base, kw_only=True, eq=False)`: "
            "the mixin first, keyword-only, and equal only to itself"
        )
    Index(f"ix_{table.name}_created_at_id", table.c.created_at, table.c.id)
    is_leaving = table.c.erase_after.is_not(None)
    Index(f"ix_{table.name}_erase_after", table.c.erase_after, postgresql_where=is_leaving)
    # what lists are filtered by or searched for, where it is rare: else all users would be read
    for name, columns, rare in (
        ("staff", (table.c.role, table.c.created_at, table.c.id), "role <> 'user'"),
        ("disabled", (table.c.created_at, table.c.id), "is_active IS false"),
        ("unconfirmed", (table.c.created_at, table.c.id), "email_verified_at IS NULL"),
        ("signs", (table.c.created_at, table.c.id), HAS_SIGNS),
    ):
        Index(f"ix_{table.name}_{name}", *columns, postgresql_where=text(rare))
    is_admin = text("role = 'admin'")
    Index(f"ix_{table.name}_admins", table.c.id, postgresql_where=is_admin)
    roles = ", ".join(f"'{role}'" for role in ROLES)
    table.append_constraint(CheckConstraint(f"role IN ({roles})", name="role"))
    Tables.of(table)


class UserModel(UserMixin, Model, kw_only=True, eq=False):
    """A user, in the table `users` of the service's own database."""

    __tablename__ = "users"
