"""What was found in looking at the system, in words; English is the command line's."""

from collections.abc import Callable

from denizen.doctor.findings import Finding
from denizen.pages.words import Words


def finding_text(words: Words, finding: Finding) -> str:
    """Give what was looked at, and how it is."""
    said = finding_sentences(words)[finding.code] % finding.facts
    return f"{finding_subjects(words)[finding.about]}: {said}"


def finding_subjects(words: Words) -> dict[str, str]:
    """Give what is looked at."""
    gettext = words.gettext
    return {
        "database": gettext("Database"),
        "schema": gettext("Schema"),
        "encryption": gettext("Encryption"),
        "disk": gettext("Disk"),
        "durability": gettext("Durability"),
        "roles": gettext("Database roles"),
        "connections": gettext("Connections"),
        "clock": gettext("Clock"),
        "search": gettext("Search by parts"),
        "mail": gettext("Mail"),
        "passwords": gettext("Passwords"),
        "throttle": gettext("Limits"),
        "clients": gettext("Clients"),
    }


def finding_sentences(words: Words) -> dict[str, str]:
    """Give the sentence for each code."""
    gettext = words.gettext
    return {
        **_about_the_database(gettext),
        "clock": gettext("agrees with the database's (%(time)s UTC)"),
        "clock_off": gettext("%(seconds)s s away from the database's: set up NTP"),
        "mail": gettext("handed over to %(server)s"),
        "no_mail_server": gettext(
            "no mail server is set, mails stay in %(folder)s: set DENIZEN_MAIL_URL"
        ),
        "search": gettext("served by trigrams"),
        "search_slow": gettext(
            "reads all users: create the extension pg_trgm and the two indexes of decision"
            " record 0008"
        ),
        "passwords": gettext("at least %(minimum)s characters"),
        "passwords_short": gettext(
            "at least %(minimum)s characters; NIST asks for %(nist)s without 2FA"
        ),
        "throttle": gettext("tries are limited per account and network"),
        "throttle_off": gettext(
            "off: passwords may be guessed without end; set DENIZEN_THROTTLE to on"
        ),
        "clients": gettext("their addresses are those of the connections"),
        "clients_trusted": gettext("X-Forwarded-For is believed of %(believed)s"),
        "clients_wide": gettext(
            "X-Forwarded-For is believed of whoever is in %(wide)s: name the proxies alone in "
            "DENIZEN_TRUSTED_PROXIES"
        ),
        "clients_one": gettext(
            "the last %(sign_ins)s sign-ins all came from %(address)s: if that is your "
            "proxy, set DENIZEN_TRUSTED_PROXIES to %(address)s"
        ),
    }


def _about_the_database(gettext: Callable[[str], str]) -> dict[str, str]:
    return {
        "database": gettext("PostgreSQL %(version)s"),
        "database_old": gettext("PostgreSQL %(version)s; 15 is the oldest"),
        "schema": gettext("up to date"),
        "schema_behind": gettext(
            "the database schema is behind this program: run `denizen migrate`"
        ),
        "schema_ahead": gettext("newer than this program: update it"),
        "encryption_local": gettext("the database is on this machine"),
        "encryption": gettext("encrypted, and the server's name is verified"),
        "encryption_off": gettext(
            "the way to the database is not encrypted: use sslmode=verify-full in %(setting)s"
        ),
        "encryption_unverified": gettext(
            "anybody may stand in for the database's server: use sslmode=verify-full in %(setting)s"
        ),
        "encryption_nameless": gettext(
            "whoever a trusted authority gave any certificate may stand in for the database's"
            " server: use sslmode=verify-full in %(setting)s"
        ),
        "disk": gettext("%(free)s GiB free in %(folder)s"),
        "disk_low": gettext("only %(free)s GiB free in %(folder)s: make room"),
        "durable": gettext("an acknowledged change survives a crash"),
        "setting_off": gettext("%(name)s is off: a crash loses or breaks data"),
        "commit_off": gettext("synchronous_commit is off: a crash loses answers given"),
        "commit_local": gettext(
            "synchronous_commit is local: a fail-over loses answers given; set it to on"
        ),
        "commit_unflushed": gettext(
            "synchronous_commit is remote_write: a fail-over loses answers given if the standby's"
            " machine went down, too; set it to on"
        ),
        "roles": gettext("the serving role can't change the schema"),
        "superuser": gettext("the serving role is a superuser: use an ordinary one"),
        "one_role": gettext("one role owns and serves: set DENIZEN_MIGRATE_URL"),
        "may_create": gettext("the serving role may create tables: revoke CREATE"),
        "connections": gettext("up to %(wanted)s of the server's %(allowed)s"),
        "connections_many": gettext(
            "up to %(wanted)s of the server's %(allowed)s: lower DENIZEN_DATABASE_POOL_SIZE"
        ),
        "pooler": gettext("a pooler shares the server's among transactions"),
        "pooler_unnamed": gettext(
            "a pooler stands in between: set DENIZEN_DATABASE_POOLER to transaction, unless it"
            " keeps sessions"
        ),
        "pooler_missing": gettext(
            "no pooler stands in between: set DENIZEN_DATABASE_POOLER to none, which is faster"
        ),
    }
