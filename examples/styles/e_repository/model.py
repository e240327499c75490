"""The tables, and the pure rules about them; no statement stands here."""

import uuid
from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, validates
from uuid_utils.compat import uuid7

from denizen.users.values import EMAIL_KEY_MAX, EMAIL_MAX, USERNAME_MAX, email_key


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False):
    """A base of the example's own, so that its tables stay apart."""


class User(Base, kw_only=True, eq=False):
    """A user; inactive until the address is confirmed."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid7)
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    email_key: Mapped[str] = mapped_column(
        String(EMAIL_KEY_MAX, collation="C"), init=False, unique=True, info={"field": "email"}
    )
    username: Mapped[str] = mapped_column(String(USERNAME_MAX), unique=True)
    hashed_password: Mapped[str] = mapped_column(String(512), repr=False)
    is_active: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), init=False, server_default=func.now()
    )
    version: Mapped[int] = mapped_column(init=False)

    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012  # SQLAlchemy's own name

    @validates("email")
    def _derive_email_key(self, _name: str, value: str) -> str:
        self.email_key = email_key(value)
        return value


class Session(Base, kw_only=True, eq=False):
    """A signed-in device."""

    __tablename__ = "sessions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid7)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)


class AuditEvent(Base, kw_only=True, eq=False):
    """What happened; it outlives the user."""

    __tablename__ = "audit_events"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid7)
    user_id: Mapped[uuid.UUID] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), init=False, server_default=func.now()
    )
