"""From staged rows to users, a batch at a time and in sets: nothing here looks at a single row.

The rows of a batch stand in a temporary table that is gone with its transaction. Those that can be
inserted are: all at once, where the batch before met nobody. Of those left each is marked with whom
it meets: by the address (then it is the same user), by the name, by the id; and is refused,
skipped, or made an update. A rehearsal does the same, with a temporary table of keys in place of
the users.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    MetaData,
    Table,
    Uuid,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from denizen.db.bulk import copy_in
from denizen.db.errors import ConflictError, TakenError, translate
from denizen.db.unit import Db, as_session
from denizen.imports.model import Counts, OnConflict
from denizen.imports.queries import add_refusals
from denizen.imports.reader import Batch
from denizen.imports.rows import STAGED

_KEYS: Final = ("id", "email_key", "username_key")
_TEMPORARY: Final[Mapping[str, Any]] = {
    "prefixes": ["TEMPORARY"],
    "postgresql_on_commit": "DROP",
}


class Staging:
    """Takes the batches of one import into a users table.

    The same user is who has the same address. An update changes what the file says and the user's
    own acts don't outweigh: a password that was set here stays, a confirmed address stays
    confirmed, an id stays. Administrators and support staff are never changed.
    """

    def __init__(
        self,
        users: Table,
        sessions: Table,
        refusals: Table,
        import_id: uuid.UUID,
        on_conflict: OnConflict,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._refusals = refusals
        self._import_id = import_id
        self._on_conflict = on_conflict
        self._rows = _staged_table(users)
        self._seen = _seen_table(users)
        self._met_nobody = True  # in the last batch

    async def write(self, db: Db, batch: Batch) -> Counts:
        """Make users of a batch and tell what became of its records.

        Raises:
            ConflictError: whom a row met is gone again: run the unit anew.
        """
        await self._stage(db, batch)
        created = batch.staged
        if not (self._met_nobody and await self._insert_all(db)):
            created = await self._insert(db, self._users)
        left = batch.staged - created
        self._met_nobody = not left
        refused = updated = 0
        if left:
            await self._mark(db, self._users)
            await self._require_marks(db)
            refused = await self._refuse(db)
        if self._on_conflict == "update" and left > refused:
            updated = await self._update(db)
        return Counts(
            done=batch.records,
            created=created,
            updated=updated,
            skipped=left - refused - updated,
            refused=refused + len(batch.refusals),
        )

    async def begin_rehearsal(self, db: Db) -> None:
        """Prepare for `rehearse`, in the transaction that all its batches share."""
        await db.execute(CreateTable(self._seen))

    async def rehearse(self, db: Db, batch: Batch) -> Counts:
        """Tell what would become of the records of a batch; refusals are noted as they would be."""
        await self._stage(db, batch)
        await self._mark(db, self._users)
        refused = await self._refuse(db)
        met = await self._drop_met(db)
        created = await self._insert(db, self._seen)
        left = batch.staged - refused - met - created
        if left:
            await self._mark(db, self._seen)
            again = await self._refuse(db)
            refused, met = refused + again, met + left - again
        await db.execute(text("DROP TABLE import_rows"))
        is_update = self._on_conflict == "update"
        return Counts(
            done=batch.records,
            created=created,
            updated=met if is_update else 0,
            skipped=0 if is_update else met,
            refused=refused + len(batch.refusals),
        )

    async def _stage(self, db: Db, batch: Batch) -> None:
        await db.execute(CreateTable(self._rows))
        await copy_in(db, self._rows, STAGED, batch.rows)
        await add_refusals(db, self._refusals, self._import_id, batch.refusals)

    async def _insert_all(self, db: Db) -> bool:
        """Insert all the rows, or none if one meets a user: a third less work than `_insert`.

        In the order of their addresses, which spares the largest index a page for each row.
        """
        values = self._new_user()
        source = select(*values.values()).order_by(self._rows.c.email_key)
        try:
            async with as_session(db).begin_nested():
                await db.execute(
                    insert(self._users).from_select(list(values), source, include_defaults=False)
                )
        except IntegrityError as error:
            if not isinstance(translate(error), TakenError):
                raise
            return False
        return True

    async def _insert(self, db: Db, target: Table) -> int:
        """Insert what can be, in the order of the file, and drop it from the rows."""
        values = self._new_user() if target is self._users else {k: self._rows.c[k] for k in _KEYS}
        source = select(*values.values()).order_by(self._rows.c.record)
        inserted = (
            pg_insert(target)
            .from_select(list(values), source, include_defaults=False)
            .on_conflict_do_nothing()
            .returning(target.c.id)
            .cte("inserted")
        )
        done = delete(self._rows).where(self._rows.c.id.in_(select(inserted.c.id)))
        return await _count(db, done)

    def _new_user(self) -> dict[str, ColumnElement[Any]]:
        rows = self._rows.c
        plain = (*_KEYS, "email", "username", "hashed_password", "email_verified_at")
        values: dict[str, ColumnElement[Any]] = {name: rows[name] for name in plain}
        return values | {
            "role": func.coalesce(rows.role, "user"),
            "locale": func.coalesce(rows.locale, "en"),
            "is_active": func.coalesce(rows.is_active, True),
            "created_at": func.coalesce(rows.created_at, func.now()),
            "updated_at": func.coalesce(rows.updated_at, func.now()),
            "version": func.coalesce(rows.version, 1),
        }

    async def _mark(self, db: Db, target: Table) -> None:
        """Note whom each row meets: three look-ups by index, whatever the planner thinks."""
        rows = self._rows.c
        pairs = {"by_email": "email_key", "by_username": "username_key", "by_id": "id"}
        marks = {
            mark: select(target.c.id).where(target.c[key] == rows[key]).scalar_subquery()
            for mark, key in pairs.items()
        }
        await db.execute(update(self._rows).values(marks))

    async def _require_marks(self, db: Db) -> None:
        rows = self._rows.c
        unmet = and_(*(rows[m].is_(None) for m in ("by_email", "by_username", "by_id")))
        if await db.scalar(select(exists().where(unmet))):
            raise ConflictError

    async def _refuse(self, db: Db) -> int:
        """Note the rows that can't be taken, and drop them."""
        rows = self._rows.c
        told = select(rows.record, rows.line, self._reason().label("code")).subquery()
        refused = (
            insert(self._refusals)
            .from_select(
                ["import_id", "record", "line", "field", "code"],
                select(
                    literal(self._import_id, Uuid),
                    told.c.record,
                    told.c.line,
                    func.split_part(told.c.code, "_", 1),
                    told.c.code,
                ).where(told.c.code.is_not(None)),
            )
            .returning(self._refusals.c.record)
            .cte("refused")
        )
        done = delete(self._rows).where(rows.record.in_(select(refused.c.record)))
        return await _count(db, done)

    def _reason(self) -> ColumnElement[Any]:
        rows = self._rows.c
        is_new = rows.by_email.is_(None)
        reasons = [
            (and_(is_new, rows.by_username.is_not(None)), "username_taken"),
            (and_(is_new, rows.by_id.is_not(None)), "id_taken"),
        ]
        if self._on_conflict == "fail":
            reasons.append((~is_new, "email_taken"))
        if self._on_conflict == "update":
            users = self._users.c
            role = select(users.role).where(users.id == rows.by_email).scalar_subquery()
            # of several users that are to get one name, the first of the file gets it
            first = func.first_value(rows.by_email).over(
                partition_by=rows.username_key, order_by=rows.record
            )
            somebody_elses = or_(rows.by_username != rows.by_email, first != rows.by_email)
            reasons += [
                (and_(~is_new, role != "user"), "role_kept"),
                (and_(~is_new, rows.is_named, somebody_elses), "username_taken"),
            ]
        return case(*reasons)

    async def _drop_met(self, db: Db) -> int:
        return await _count(db, delete(self._rows).where(self._rows.c.by_email.is_not(None)))

    async def _update(self, db: Db) -> int:
        """Change the users whom rows met; of two rows for one user the later counts."""
        rows, users = self._rows.c, self._users.c
        met = rows.by_email
        by_user = select(self._rows).ext(distinct_on(met))
        latest = by_user.order_by(met, rows.record.desc()).subquery()
        new = latest.c
        values: dict[str, ColumnElement[Any]] = {
            "username": case((new.is_named, new.username), else_=users.username),
            "username_key": case((new.is_named, new.username_key), else_=users.username_key),
            "role": func.coalesce(new.role, users.role),
            "locale": func.coalesce(new.locale, users.locale),
            "is_active": func.coalesce(new.is_active, users.is_active),
            "hashed_password": func.coalesce(users.hashed_password, new.hashed_password),
            "email_verified_at": func.coalesce(users.email_verified_at, new.email_verified_at),
        }
        differs = or_(*(users[name].is_distinct_from(value) for name, value in values.items()))
        changed = {"version": users.version + 1, "updated_at": func.now()}
        # a scan of all users for each batch would be the planner's choice now and then
        await db.execute(text("SET LOCAL enable_hashjoin = off"))
        await db.execute(text("SET LOCAL enable_mergejoin = off"))
        statement = update(self._users).where(users.id == new.by_email, differs)
        count = await _count(db, statement.values(values | changed))
        disabled = select(met).where(rows.is_active.is_(False))
        await db.execute(delete(self._sessions).where(self._sessions.c.user_id.in_(disabled)))
        return count


async def _count(db: Db, statement: Any) -> int:
    result: Any = await db.execute(statement)
    return int(result.rowcount)


def _staged_table(users: Table) -> Table:
    own = [name for name in STAGED if name not in {"record", "line", "is_named"}]
    return Table(
        "import_rows",
        MetaData(),
        Column("record", BigInteger),
        Column("line", BigInteger),
        Column("is_named", Boolean),
        *(Column(name, users.c[name].type) for name in own),
        *(Column(mark, Uuid) for mark in ("by_email", "by_username", "by_id")),
        **_TEMPORARY,
    )


def _seen_table(users: Table) -> Table:
    columns = [Column(name, users.c[name].type, unique=True) for name in _KEYS]
    return Table("import_seen", MetaData(), *columns, **_TEMPORARY)
