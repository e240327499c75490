"""What is to be said of the database: by what it tells of itself, and by the ways to it."""

import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import RowMapping, text

from denizen.db.engine import Target, parse_url
from denizen.db.manager import DBSessionManager, driver_connection
from denizen.doctor.findings import Finding
from denizen.migrations import is_current, is_known
from denizen.settings import Settings, variable

OLDEST_SERVER: Final = 150_000
# from the best way to a server to the worst
_WAYS: Final = (
    "encryption_local",
    "encryption",
    "encryption_nameless",
    "encryption_unverified",
    "encryption_off",
)
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


@dataclass(frozen=True, slots=True)
class Told:
    """What a database tells of itself.

    Attributes:
        facts: its settings, and what the role may do.
        is_pooled: whether the process that answers is another than the one that greeted: a pooler
            stands in between.
        drift: seconds between its clock and ours.
    """

    facts: RowMapping
    is_pooled: bool
    drift: float


async def ask(db: DBSessionManager) -> Told:
    """Ask a database what it is like.

    Raises:
        UnavailableError: it is out of reach.
    """
    async with db.make_connection() as connection:
        began = time.time()
        facts = (await connection.execute(_FACTS)).mappings().one()
        middle = (began + time.time()) / 2
        greeted = _backend(await driver_connection(connection))
    return Told(
        facts,
        is_pooled=greeted not in {None, facts["backend"]},
        drift=abs(facts["clock"].timestamp() - middle),
    )


def _backend(driver: Any) -> int | None:
    """Give which process of the server the driver believes to speak with."""
    return driver.get_server_pid() if hasattr(driver, "get_server_pid") else None


def version(facts: Any, revision: str | None) -> Iterator[Finding]:
    """See whether the server and the schema are what this program knows."""
    told = {"version": facts["version_text"]}
    if facts["version"] < OLDEST_SERVER:
        yield Finding("fail", "database", "database_old", told)
    else:
        yield Finding("ok", "database", "database", told)
    if revision is not None and not is_known(revision):
        yield Finding("warn", "schema", "schema_ahead")
    elif is_current(revision):
        yield Finding("ok", "schema", "schema")
    else:
        yield Finding("fail", "schema", "schema_behind")


def encryption(settings: Settings) -> Finding:
    """See the worst of all ways: whoever stands on one of them reads hashes and addresses."""
    urls: dict[str, Sequence[SecretStr | None]] = {
        "database_url": [settings.database_url],
        "replica_urls": settings.replica_urls,
        "migrate_url": [settings.migrate_url],
    }
    ways = [
        _way(variable(name), parse_url(url.get_secret_value()))
        for name, found in urls.items()
        for url in found
        if url is not None
    ]
    embedded = Finding("ok", "encryption", "encryption_local")
    return max(ways, key=lambda way: _WAYS.index(way.code), default=embedded)


def _way(setting: str, target: Target) -> Finding:
    told = {"setting": setting}
    if not target.is_remote:
        return Finding("ok", "encryption", "encryption_local")
    if target.is_verified:
        return Finding("ok", "encryption", "encryption")
    if isinstance(target.tls, ssl.SSLContext):
        return Finding("warn", "encryption", "encryption_nameless", told)
    if target.tls is False:
        return Finding("warn", "encryption", "encryption_off", told)
    return Finding("warn", "encryption", "encryption_unverified", told)


def durability(facts: Any) -> Iterator[Finding]:
    """See whether what was told to be done can still be lost."""
    is_durable = True
    for name in ("fsync", "full_page_writes"):
        if facts[name] != "on":
            is_durable = False
            yield Finding("fail", "durability", "setting_off", {"name": name})
    if facts["synchronous_commit"] == "off":
        is_durable = False
        yield Finding("fail", "durability", "commit_off")
    elif facts["standbys"] and facts["synchronous_commit"] == "local":
        is_durable = False
        yield Finding("warn", "durability", "commit_local")
    elif facts["standbys"] and facts["synchronous_commit"] == "remote_write":
        is_durable = False  # what a standby was handed is on its disk only after a while
        yield Finding("warn", "durability", "commit_unflushed")
    if is_durable:
        yield Finding("ok", "durability", "durable")


def roles(facts: Any, *, has_one_role: bool) -> Finding:
    """See whether the serving role can do more than serve."""
    if facts["is_superuser"]:
        return Finding("warn", "roles", "superuser")
    if has_one_role:
        return Finding("warn", "roles", "one_role")
    if facts["may_create"]:
        return Finding("warn", "roles", "may_create")
    return Finding("ok", "roles", "roles")


def connections(facts: Any, settings: Settings, *, is_pooled: bool) -> Finding:
    """Compare what the service opens with what the server has, unless a pooler shares that out."""
    if is_pooled or settings.database_pooler == "transaction":
        return _pooler(settings, is_pooled=is_pooled)
    wanted, allowed = settings.connections, facts["max_connections"]
    told = {"wanted": str(wanted), "allowed": str(allowed)}
    if wanted > allowed - 5:
        return Finding("warn", "connections", "connections_many", told)
    return Finding("ok", "connections", "connections", told)


def _pooler(settings: Settings, *, is_pooled: bool) -> Finding:
    if not is_pooled:
        return Finding("warn", "connections", "pooler_missing")
    if settings.database_pooler != "transaction":
        return Finding("warn", "connections", "pooler_unnamed")
    return Finding("ok", "connections", "pooler")


def search(facts: Any) -> Finding:
    """See whether a search by parts has its indexes."""
    if facts["has_trigrams"]:
        return Finding("ok", "search", "search")
    return Finding("warn", "search", "search_slow")
