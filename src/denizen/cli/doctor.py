"""`denizen doctor`: looks at what the service stands on, and says what to mend."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import typer
from sqlalchemy import Row, text

from denizen.audit.model import audit_table
from denizen.audit.queries import origin_of_sign_ins
from denizen.cli.running import (
    BEHIND,
    OUT_OF_REACH,
    REFUSED,
    AsJson,
    CommandError,
    DataDir,
    Urls,
    bring_up_to_date,
    database_of,
    no_mail_server,
    out,
    print_json,
    reporting,
)
from denizen.db.engine import describe_url
from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.model import table_of
from denizen.migrations import schema_is_current
from denizen.settings import Settings
from denizen.users.model import UserModel

OLDEST_SERVER: Final = 150_000
CLOCK_TOLERANCE: Final = 2.0  # seconds
NIST_ALONE: Final = 15
DAY: Final = 86_400  # seconds
# so many sign-ins of so many people from one place are hardly one household's
CROWD_SIGN_INS: Final = 20
CROWD_USERS: Final = 5
# by the class of the SQLSTATE; none: nobody answered
_MENDING: Final = {
    "": "does not answer: see that the server runs, and the address in DENIZEN_DATABASE_URL",
    "28": "refuses the login: see the role and the password in DENIZEN_DATABASE_URL",
    "3D": "is not there: create the database, or see its name in DENIZEN_DATABASE_URL",
}
_FACTS: Final = text(
    """
    SELECT current_setting('server_version_num')::int AS version,
           current_setting('server_version') AS version_text,
           current_setting('fsync') AS fsync,
           current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('max_connections')::int AS max_connections,
           clock_timestamp() AS clock,
           has_schema_privilege(current_schema(), 'CREATE') AS may_create,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser
    """
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and what to do about it."""

    status: Literal["ok", "warn", "fail"]
    about: str
    said: str


def doctor(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check database, schema, durability and clock; status 1 when something must be mended."""
    with reporting():
        settings = Settings.load(data_dir=data_dir)
        with database_of(settings) as urls:
            if urls.is_embedded:
                asyncio.run(bring_up_to_date(settings, urls))
            findings = _examined(settings, urls)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            out.print(f"{finding.status:<5} {finding.about:<12} {finding.said}", markup=False)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(REFUSED)


def _examined(settings: Settings, urls: Urls) -> list[Finding]:
    """Look at everything; where nothing can be looked at, say what to mend first."""
    try:
        return asyncio.run(_examine(settings, urls))
    except UnavailableError as error:
        said = _MENDING.get((error.sqlstate or "")[:2])
        if said is None:
            raise
        raise CommandError(f"{describe_url(urls.serving)} {said}", OUT_OF_REACH) from None


async def _examine(settings: Settings, urls: Urls) -> list[Finding]:
    db = DBSessionManager(settings.database(urls.serving))
    db.init()
    try:
        async with db.make_connection() as connection:
            began = time.time()
            facts = (await connection.execute(_FACTS)).mappings().one()
            middle = (began + time.time()) / 2
        is_current = await schema_is_current(db.engine)
        origin = await _origin(db) if is_current else None
    finally:
        await db.close_connections()
    drift = abs(facts["clock"].timestamp() - middle)
    return [
        *_database(facts, is_current=is_current),
        *_durability(facts),
        *_roles(facts, urls),
        _connections(facts, settings),
        _clock(drift),
        _mail(settings),
        _passwords(settings),
        _throttle(settings),
        _clients(settings, origin),
    ]


async def _origin(db: DBSessionManager) -> Row[Any]:
    audit = audit_table(table_of(UserModel))
    yesterday = uuid.UUID(int=int((time.time() - DAY) * 1000) << 80)
    return await db.run(lambda unit: origin_of_sign_ins(unit, audit, yesterday), read_only=True)


def _database(facts: Any, *, is_current: bool) -> Iterator[Finding]:
    if facts["version"] < OLDEST_SERVER:
        yield Finding("fail", "database", f"PostgreSQL {facts['version_text']}; 15 is the oldest")
    else:
        yield Finding("ok", "database", f"PostgreSQL {facts['version_text']}")
    yield Finding("ok", "schema", "up to date") if is_current else Finding("fail", "schema", BEHIND)


def _durability(facts: Any) -> Iterator[Finding]:
    for name in ("fsync", "full_page_writes"):
        if facts[name] != "on":
            yield Finding("fail", "durability", f"{name} is off: a crash loses or breaks data")
    if facts["synchronous_commit"] == "off":
        yield Finding(
            "fail", "durability", "synchronous_commit is off: a crash loses answers given"
        )
    if {facts["fsync"], facts["full_page_writes"]} == {"on"} and facts[
        "synchronous_commit"
    ] != "off":
        yield Finding("ok", "durability", "an acknowledged change survives a crash")


def _roles(facts: Any, urls: Urls) -> Iterator[Finding]:
    if facts["is_superuser"]:
        yield Finding("warn", "roles", "the serving role is a superuser: use an ordinary one")
    elif urls.serving == urls.owning:
        yield Finding("warn", "roles", "one role owns and serves: set DENIZEN_MIGRATE_URL")
    elif facts["may_create"]:
        yield Finding("warn", "roles", "the serving role may create tables: revoke CREATE")
    else:
        yield Finding("ok", "roles", "the serving role can't change the schema")


def _connections(facts: Any, settings: Settings) -> Finding:
    wanted, allowed = settings.connections, facts["max_connections"]
    said = f"up to {wanted} of the server's {allowed}"
    if wanted > allowed - 5:
        return Finding("warn", "connections", f"{said}: lower DENIZEN_DATABASE_POOL_SIZE")
    return Finding("ok", "connections", said)


def _clock(drift: float) -> Finding:
    if drift > CLOCK_TOLERANCE:
        return Finding("warn", "clock", f"{drift:.0f} s away from the database's: set up NTP")
    return Finding("ok", "clock", f"agrees with the database's ({datetime.now(UTC):%H:%M:%S} UTC)")


def _mail(settings: Settings) -> Finding:
    if settings.mail_server is None:
        return Finding("warn", "mail", no_mail_server(settings))
    return Finding("ok", "mail", f"handed over to {settings.mail_server}")


def _passwords(settings: Settings) -> Finding:
    if settings.password_min < NIST_ALONE:
        said = (
            f"at least {settings.password_min} characters; NIST asks for {NIST_ALONE} without 2FA"
        )
        return Finding("warn", "passwords", said)
    return Finding("ok", "passwords", f"at least {settings.password_min} characters")


def _throttle(settings: Settings) -> Finding:
    if settings.throttle == "off":
        said = "off: passwords may be guessed without end; set DENIZEN_THROTTLE to on"
        return Finding("warn", "throttle", said)
    return Finding("ok", "throttle", "tries are limited per account and network")


def _clients(settings: Settings, origin: Row[Any] | None) -> Finding:
    """See whether a proxy stands in front and nobody said so: all clients then share one limit."""
    if settings.trusted_proxies:
        believed = ", ".join(map(str, settings.trusted_proxies))
        return Finding("ok", "clients", f"X-Forwarded-For is believed of {believed}")
    if (
        origin is not None
        and origin.sign_ins >= CROWD_SIGN_INS
        and origin.users >= CROWD_USERS
        and origin.addresses == 1
    ):
        said = (
            f"the last {origin.sign_ins} sign-ins all came from {origin.address}: if that is your "
            f"proxy, set DENIZEN_TRUSTED_PROXIES to {origin.address}"
        )
        return Finding("warn", "clients", said)
    return Finding("ok", "clients", "their addresses are those of the connections")
