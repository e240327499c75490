"""Looks at everything the service stands on; what concerns the database is in `database.py`."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row

from denizen.audit.model import audit_table
from denizen.audit.queries import origin_of_sign_ins
from denizen.clock import first_id
from denizen.db.manager import DBSessionManager
from denizen.db.model import table_of
from denizen.doctor import database
from denizen.doctor.findings import Finding
from denizen.migrations import is_current, schema_revision
from denizen.network import is_wide
from denizen.settings import Settings
from denizen.users.model import UserModel

CLOCK_TOLERANCE: Final = 2.0  # seconds
NIST_ALONE: Final = 15
DAY: Final = timedelta(days=1)
# so many sign-ins of so many people from one place are hardly one household's
CROWD_SIGN_INS: Final = 20
CROWD_USERS: Final = 5
DISK_LOW: Final = 0.1  # of the disk is free, and less than this:
DISK_ENOUGH: Final = 10 * 1024**3  # bytes


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
    told = await database.ask(db)
    facts = told.facts
    revision = await schema_revision(db.engine)
    is_up_to_date = is_current(revision)
    origin = await _origin(db) if is_up_to_date else None
    owns = facts["is_owner"] if has_one_role is None else has_one_role
    return [
        *database.version(facts, revision),
        database.encryption(settings),
        _disk(settings.data_dir),
        *database.durability(facts),
        database.roles(facts, has_one_role=owns),
        database.connections(facts, settings, is_pooled=told.is_pooled),
        _clock(told.drift),
        *([database.search(facts)] if is_up_to_date else []),
        _mail(settings),
        _passwords(settings),
        _throttle(settings),
        _clients(settings, origin),
    ]


async def _origin(db: DBSessionManager) -> Row[Any]:
    audit, since = audit_table(table_of(UserModel)), first_id(datetime.now(UTC) - DAY)
    return await db.run(lambda unit: origin_of_sign_ins(unit, audit, since), read_only=True)


def _disk(folder: Path) -> Finding:
    """See how much room is left: the embedded database stops when there is none."""
    folder = folder.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    disk = shutil.disk_usage(there)
    told = {"free": f"{disk.free / 1024**3:.1f}", "folder": str(there)}
    if disk.free < min(DISK_LOW * disk.total, DISK_ENOUGH):
        return Finding("warn", "disk", "disk_low", told)
    return Finding("ok", "disk", "disk", told)


def _clock(drift: float) -> Finding:
    if drift > CLOCK_TOLERANCE:
        return Finding("warn", "clock", "clock_off", {"seconds": f"{drift:.0f}"})
    return Finding("ok", "clock", "clock", {"time": f"{datetime.now(UTC):%H:%M:%S}"})


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
