"""A finding, and the sentence for each. How they are come by stands in the other modules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Status = Literal["ok", "warn", "fail"]
# a sentence for each finding; the pages have them in two languages
SENTENCES: Final[Mapping[str, str]] = {
    "database": "PostgreSQL %(version)s",
    "database_old": "PostgreSQL %(version)s; 15 is the oldest",
    "schema": "up to date",
    "schema_behind": "the database schema is behind this program: run `denizen migrate`",
    "schema_ahead": "newer than this program: update it",
    "encryption_local": "the database is on this machine",
    "encryption": "encrypted, and the server's name is verified",
    "encryption_off": (
        "the way to the database is not encrypted: use sslmode=verify-full in %(setting)s"
    ),
    "encryption_unverified": (
        "anybody may stand in for the database's server: use sslmode=verify-full in %(setting)s"
    ),
    "encryption_nameless": (
        "whoever a trusted authority gave any certificate may stand in for the database's server: "
        "use sslmode=verify-full in %(setting)s"
    ),
    "disk": "%(free)s GiB free in %(folder)s",
    "disk_low": "only %(free)s GiB free in %(folder)s: make room",
    "durable": "an acknowledged change survives a crash",
    "setting_off": "%(name)s is off: a crash loses or breaks data",
    "commit_off": "synchronous_commit is off: a crash loses answers given",
    "commit_local": "synchronous_commit is local: a fail-over loses answers given; set it to on",
    "commit_unflushed": (
        "synchronous_commit is remote_write: a fail-over loses answers given if the standby's "
        "machine went down, too; set it to on"
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
