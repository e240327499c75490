"""The host's own tables: its base, its companies, its members, their posts."""

import uuid

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from denizen import UserMixin


class Base(DeclarativeBase):
    """The host's declarative base; its metadata holds denizen's tables as well."""


class Company(Base):
    """A customer of the host."""

    __tablename__ = "companies"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(80), unique=True)


class Member(UserMixin, Base, kw_only=True, eq=False):
    """A denizen user with two columns more."""

    __tablename__ = "members"
    nickname: Mapped[str | None] = mapped_column(String(40), default=None)
    company_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("companies.id"), default=None)


class Post(Base):
    """Something that a member wrote."""

    __tablename__ = "posts"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    text: Mapped[str] = mapped_column(String(500))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"))
    author: Mapped[Member] = relationship(lazy="raise")
