"""What the service stands on, looked at: database, schema, durability, clock, mail, limits.

`denizen doctor` and the console's page on the system tell the findings, each in its own words.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Row, text

from denizen.audit.model import audit_table
from denizen.audit.queries import origin_of_sign_ins
from denizen.clock import first_id
from denizen.db.engine import Target, parse_url
from denizen.db.manager import DBSessionManager, driver_connection
from denizen.db.model import table_of
from denizen.migrations import is_current as is_served
from denizen.migrations import is_known, schema_revision
from denizen.network import is_wide
from denizen.settings import Settings
from denizen.users.model import UserModel

OLDEST_SERVER: Final = 150_000
CLOCK_TOLERANCE: Final = 2.0  # seconds
NIST_ALONE: Final = 15
DAY: Final = timedelta(days=1)
# so many sign-ins of so many people from one place are hardly one household's
CROWD_SIGN_INS: Final = 20
CROWD_USERS: Final = 5
DISK_LOW: Final = 0.1  # of the disk is free, and less than this:
DISK_ENOUGH: Final = 10 * 1024**3  # bytes
# below `on` these say nothing of a standby, which is asked before an answer is given
_WEAK_COMMITS: Final = frozenset({"local", "remote_write"})
Status = Literal["ok", "warn", "fail"]
_FACTS: Final = text(
    """
    SELECT current_setting('server_version_num')::int AS version,
           current_setting('server_version') AS version_text,
           current_setting('fsync') AS fsync,
           current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('synchronous_standby_names') AS standbys,
           pg_backend_pid() AS backend,
           current_setting('max_connections')::int AS max_connections,
           clock_timestamp() AS clock,
           has_schema_privilege(current_schema(), 'CREATE') AS may_create,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
           (SELECT pg_get_userbyid(relowner) = current_user FROM pg_class
            WHERE oid = to_regclass('users')) AS is_owner,
           to_regclass('ix_users_email_key_parts') IS NOT NULL
           AND to_regclass('ix_users_username_key_parts') IS NOT NULL AS has_trigrams
    """
)
# a sentence for each finding; the pages have them in two languages
SENTENCES: Final[Mapping[str, str]] = {
    "database": "PostgreSQL %(version)s",
    "database_old": "PostgreSQL %(version)s; 15 is the oldest",
    "schema": "up to date",
    "schema_behind": "the database schema is behind this program: run `denizen migrate`",
    "schema_ahead": "newer than this program: update it",
    "encryption_local": "the database is on this machine",
    "encryption": "encrypted, and the server's name is verified",
    "encryption_off": "the way to the database is not encrypted: use sslmode=verify-full",
    "encryption_unverified": (
        "anybody may stand in for the database's server: use sslmode=verify-full"
    ),
    "disk": "%(free)s GiB free in %(folder)s",
    "disk_low": "only %(free)s GiB free in %(folder)s: make room",
    "durable": "an acknowledged change survives a crash",
    "setting_off": "%(name)s is off: a crash loses or breaks data",
    "commit_off": "synchronous_commit is off: a crash loses answers given",
    "commit_weak": (
        "synchronous_commit is %(level)s: a fail-over loses answers given; set it to on"
    ),
    "roles": "the serving role can't change the schema",
    "superuser": "the serving role is a superuser: use an ordinary one",
    "one_role": "one role owns and serves: set DENIZEN_MIGRATE_URL",
    "may_create": "the serving role may create tables: revoke CREATE",
    "connections": "up to %(wanted)s of the server's %(allowed)s",
    "connections_many": (
        "up to %(wanted)s of the server's %(allowed)s: lower DENIZEN_DATABASE_POOL_SIZE"
    ),
    "pooler": "a pooler shares the server's among transactions",
    "pooler_unnamed": (
        "a pooler stands in between: set DENIZEN_DATABASE_POOLER to transaction, unless it keeps "
        "sessions"
    ),
    "pooler_missing": (
        "no pooler stands in between: set DENIZEN_DATABASE_POOLER to none, which is faster"
    ),
    "clock": "agrees with the database's (%(time)s UTC)",
    "clock_off": "%(seconds)s s away from the database's: set up NTP",
    "mail": "handed over to %(server)s",
    "no_mail_server": "no mail server is set, mails stay in %(folder)s: set DENIZEN_MAIL_URL",
    "search": "served by trigrams",
    "search_slow": (
        "reads all users: create the extension pg_trgm and the two indexes of decision record 0008"
    ),
    "passwords": "at least %(minimum)s characters",
    "passwords_short": "at least %(minimum)s characters; NIST asks for %(nist)s without 2FA",
    "throttle": "tries are limited per account and network",
    "throttle_off": "off: passwords may be guessed without end; set DENIZEN_THROTTLE to on",
    "clients": "their addresses are those of the connections",
    "clients_trusted": "X-Forwarded-For is believed of %(believed)s",
    "clients_wide": (
        "X-Forwarded-For is believed of whoever is in %(wide)s: name the proxies alone in "
        "DENIZEN_TRUSTED_PROXIES"
    ),
    "clients_one": (
        "the last %(sign_ins)s sign-ins all came from %(address)s: if that is your "
        "proxy, set DENIZEN_TRUSTED_PROXIES to %(address)s"
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and what to do about it.

    Attributes:
        status: whether it is well, may be better, or must be mended.
        about: what was looked at.
        code: which of `SENTENCES` tells of it.
        facts: what stands in that sentence.
    """

    status: Status
    about: str
    code: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The sentence, in English."""
        return SENTENCES[self.code] % self.facts


async def examine(
    db: DBSessionManager, settings: Settings, *, has_one_role: bool | None = None
) -> list[Finding]:
    """Look at everything.

    Args:
        db: the database as the role that serves; open.
        settings: the service's.
        has_one_role: whether that role is the one that migrates; None: find out whose the tables
            are.

    Raises:
        UnavailableError: the database is out of reach.
    """
    async with db.make_connection() as connection:
        began = time.time()
        facts = (await connection.execute(_FACTS)).mappings().one()
        middle = (began + time.time()) / 2
        is_pooled = _backend(await driver_connection(connection)) not in {None, facts["backend"]}
    revision = await schema_revision(db.engine)
    is_current = is_served(revision)
    origin = await _origin(db) if is_current else None
    drift = abs(facts["clock"].timestamp() - middle)
    return [
        *_database(facts, revision),
        _encryption(settings),
        _disk(settings.data_dir),
        *_durability(facts),
        _roles(facts, has_one_role=facts["is_owner"] if has_one_role is None else has_one_role),
        _connections(facts, settings),
        *_pooler(settings, is_pooled=is_pooled),
        _clock(drift),
        *(_search(facts) if is_current else ()),
        _mail(settings),
        _passwords(settings),
        _throttle(settings),
        _clients(settings, origin),
    ]


async def _origin(db: DBSessionManager) -> Row[Any]:
    audit, since = audit_table(table_of(UserModel)), first_id(datetime.now(UTC) - DAY)
    return await db.run(lambda unit: origin_of_sign_ins(unit, audit, since), read_only=True)


def _backend(driver: Any) -> int | None:
    """Give which process of the server the driver believes to speak with."""
    return driver.get_server_pid() if hasattr(driver, "get_server_pid") else None


def _database(facts: Any, revision: str | None) -> Iterator[Finding]:
    told = {"version": facts["version_text"]}
    if facts["version"] < OLDEST_SERVER:
        yield Finding("fail", "database", "database_old", told)
    else:
        yield Finding("ok", "database", "database", told)
    if revision is not None and not is_known(revision):
        yield Finding("warn", "schema", "schema_ahead")
    elif is_served(revision):
        yield Finding("ok", "schema", "schema")
    else:
        yield Finding("fail", "schema", "schema_behind")


def _encryption(settings: Settings) -> Finding:
    target = settings.database_url and parse_url(settings.database_url.get_secret_value())
    if not isinstance(target, Target) or not target.is_remote:
        return Finding("ok", "encryption", "encryption_local")
    if target.tls is False:
        return Finding("warn", "encryption", "encryption_off")
    if not target.is_verified:
        return Finding("warn", "encryption", "encryption_unverified")
    return Finding("ok", "encryption", "encryption")


def _disk(folder: Path) -> Finding:
    """See how much room is left: the embedded database stops when there is none."""
    folder = folder.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    disk = shutil.disk_usage(there)
    told = {"free": f"{disk.free / 1024**3:.1f}", "folder": str(there)}
    if disk.free < min(DISK_LOW * disk.total, DISK_ENOUGH):
        return Finding("warn", "disk", "disk_low", told)
    return Finding("ok", "disk", "disk", told)


def _durability(facts: Any) -> Iterator[Finding]:
    is_durable = True
    for name in ("fsync", "full_page_writes"):
        if facts[name] != "on":
            is_durable = False
            yield Finding("fail", "durability", "setting_off", {"name": name})
    if facts["synchronous_commit"] == "off":
        is_durable = False
        yield Finding("fail", "durability", "commit_off")
    elif facts["standbys"] and facts["synchronous_commit"] in _WEAK_COMMITS:
        is_durable = False
        told = {"level": facts["synchronous_commit"]}
        yield Finding("warn", "durability", "commit_weak", told)
    if is_durable:
        yield Finding("ok", "durability", "durable")


def _roles(facts: Any, *, has_one_role: bool) -> Finding:
    if facts["is_superuser"]:
        return Finding("warn", "roles", "superuser")
    if has_one_role:
        return Finding("warn", "roles", "one_role")
    if facts["may_create"]:
        return Finding("warn", "roles", "may_create")
    return Finding("ok", "roles", "roles")


def _connections(facts: Any, settings: Settings) -> Finding:
    wanted, allowed = settings.connections, facts["max_connections"]
    told = {"wanted": str(wanted), "allowed": str(allowed)}
    if wanted > allowed - 5:
        return Finding("warn", "connections", "connections_many", told)
    return Finding("ok", "connections", "connections", told)


def _pooler(settings: Settings, *, is_pooled: bool) -> Iterator[Finding]:
    """See whether a pooler stands in between: the process that answers is then another."""
    is_told = settings.database_pooler == "transaction"
    if is_pooled and is_told:
        yield Finding("ok", "connections", "pooler")
    elif is_pooled:
        yield Finding("warn", "connections", "pooler_unnamed")
    elif is_told:
        yield Finding("warn", "connections", "pooler_missing")


def _clock(drift: float) -> Finding:
    if drift > CLOCK_TOLERANCE:
        return Finding("warn", "clock", "clock_off", {"seconds": f"{drift:.0f}"})
    return Finding("ok", "clock", "clock", {"time": f"{datetime.now(UTC):%H:%M:%S}"})


def _search(facts: Any) -> Iterator[Finding]:
    if facts["has_trigrams"]:
        yield Finding("ok", "search", "search")
    else:
        yield Finding("warn", "search", "search_slow")


def _mail(settings: Settings) -> Finding:
    if settings.mail_server is None:
        told = {"folder": str(settings.mail_folder)}
        return Finding("warn", "mail", "no_mail_server", told)
    return Finding("ok", "mail", "mail", {"server": str(settings.mail_server)})


def _passwords(settings: Settings) -> Finding:
    told = {"minimum": str(settings.password_min), "nist": str(NIST_ALONE)}
    if settings.password_min < NIST_ALONE:
        return Finding("warn", "passwords", "passwords_short", told)
    return Finding("ok", "passwords", "passwords", told)


def _throttle(settings: Settings) -> Finding:
    if settings.throttle == "off":
        return Finding("warn", "throttle", "throttle_off")
    return Finding("ok", "throttle", "throttle")


def _clients(settings: Settings, origin: Row[Any] | None) -> Finding:
    """See whether a proxy stands in front and nobody said so: all clients then share one limit.

    Where clients are among those who are believed, they choose their address, and have no limit.
    """
    wide = ", ".join(str(one) for one in settings.trusted_proxies if is_wide(one))
    if wide:
        return Finding("warn", "clients", "clients_wide", {"wide": wide})
    if settings.trusted_proxies:
        believed = ", ".join(map(str, settings.trusted_proxies))
        return Finding("ok", "clients", "clients_trusted", {"believed": believed})
    if (
        origin is not None
        and origin.sign_ins >= CROWD_SIGN_INS
        and origin.users >= CROWD_USERS
        and origin.addresses == 1
    ):
        told = {"sign_ins": str(origin.sign_ins), "address": origin.address}
        return Finding("warn", "clients", "clients_one", told)
    return Finding("ok", "clients", "clients")
