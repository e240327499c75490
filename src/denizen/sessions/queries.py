"""Statements about sessions; they take `db`, except "who am I", which is compiled once."""

import uuid
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import (
    Dialect,
    Interval,
    LargeBinary,
    Table,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    literal,
    select,
    update,
)
from uuid_utils.compat import uuid7

from denizen.db.direct import CompiledStatement
from denizen.db.model import table_of
from denizen.db.unit import Db
from denizen.sessions.model import Token
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)


def who_am_i(model: type[UserMixin], sessions: Table, dialect: Dialect) -> CompiledStatement:
    """Compile the read that every authenticated request makes: a live session with its user.

    Binds `user_id`, `token_digest` and `skew`. The columns are the user's, under their attribute
    names, and the session's `expires_at` as `session_expires_at`.
    """
    columns = [attr.columns[0].label(attr.key) for attr in inspect(model).column_attrs]
    skew = bindparam("skew", timedelta(0), Interval)
    statement = (
        select(*columns, sessions.c.expires_at.label("session_expires_at"))
        .select_from(sessions.join(table_of(model), sessions.c.user_id == model.id))
        .where(
            sessions.c.user_id == bindparam("user_id", type_=Uuid),
            sessions.c.token_digest == bindparam("token_digest", type_=LargeBinary),
            sessions.c.expires_at > func.now() + skew,
            model.is_active,
        )
    )
    return CompiledStatement(statement, dialect)


async def start_session(
    db: Db, user: UserMixin, sessions: Table, token: Token, *, life: timedelta, skew: timedelta
) -> datetime | None:
    """Insert a session and give when it ends; None when the user may not sign in any more.

    The user's row is locked and looked at again: between the check of the password and now the
    account may have been disabled or its password changed, and a session that slipped in would
    come to life again with the account.
    """
    model = type(user)
    still_same = select(
        model.id,
        literal(token.digest, LargeBinary),
        literal(uuid7(), Uuid),
        func.now() + literal(life + skew, Interval),
    ).where(
        model.id == user.id,
        model.is_active,
        model.email_verified_at.is_not(None),
        model.hashed_password == user.hashed_password,
    )
    # SHARE waits for a disabling that is under way, and is waited for by the next one
    source = still_same.with_for_update(read=True)
    names = ["user_id", "token_digest", "id", "expires_at"]
    statement = insert(sessions).from_select(names, source).returning(sessions.c.expires_at)
    expires_at: datetime | None = await db.scalar(statement)
    return expires_at


async def renew_hash(db: Db, user: UserMixin, hashed_password: str) -> None:
    """Replace a hash by one with current parameters, unless it was changed meanwhile.

    The person changed nothing, so neither `version` nor `updated_at` moves.
    """
    table = table_of(type(user))
    same = (table.c.id == user.id, table.c.hashed_password == user.hashed_password)
    values = {"hashed_password": hashed_password, "updated_at": table.c.updated_at}
    await db.execute(update(table).where(*same).values(values))


async def end_session(db: Db, sessions: Table, token: Token) -> bool:
    """End the session of that token; whether there was one."""
    mine = (sessions.c.user_id == token.user_id, sessions.c.token_digest == token.digest)
    result: Any = await db.execute(delete(sessions).where(*mine))
    return bool(result.rowcount)


async def end_all_sessions(db: Db, sessions: Table, user_id: uuid.UUID) -> None:
    """End every session of a user."""
    await db.execute(delete(sessions).where(sessions.c.user_id == user_id))


async def purge_expired(db: Db, sessions: Table, user_id: uuid.UUID, skew: timedelta) -> None:
    """Remove the user's own sessions that are over, so that their rows don't pile up."""
    is_over = sessions.c.expires_at <= func.now() + literal(skew, Interval)
    await db.execute(delete(sessions).where(sessions.c.user_id == user_id, is_over))
