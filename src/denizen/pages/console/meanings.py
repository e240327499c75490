"""What the settings mean, and the kinds of mails, in words."""

from denizen.pages.words import Words


def setting_meanings(words: Words) -> dict[str, str]:
    """Give what each setting means, by its name; in English as `denizen settings` says it."""
    gettext = words.gettext
    return {
        "data_dir": gettext("folder of the embedded database, the mail folder and files"),
        "database_url": gettext(
            "PostgreSQL, 15 or newer: postgresql://user@host1,host2/db; unset: embedded"
        ),
        "migrate_url": gettext(
            "the same database as the role that owns the schema; unset: the same role"
        ),
        "database_pooler": gettext(
            "transaction: the URLs lead to a pooler such as PgBouncer in transaction mode"
        ),
        "replica_urls": gettext(
            "servers that follow, for lists, search, exports; URLs separated by spaces"
        ),
        "postgres_bin": gettext("folder with the PostgreSQL binaries of the embedded database"),
        "host": gettext("address to listen on"),
        "port": gettext("port to listen on"),
        "workers": gettext("server processes; by the cores"),
        "base_url": gettext("where this service is seen: https://host[/path]; from host and port"),
        "link_url": gettext("where links in mail point, if the pages are elsewhere; like BASE_URL"),
        "mail_url": gettext(
            "smtp://user:password@host or smtps://; unset: .eml files in DATA_DIR/mail"
        ),
        "mail_from": gettext(
            "sender of mails: Example <no-reply@example.org>; no-reply@ host of BASE_URL"
        ),
        "mail_templates": gettext(
            "folder of templates that take the place of ours with the same name"
        ),
        "docs": gettext("whether /docs and /openapi.json are served"),
        "cors_origins": gettext(
            "origins of pages elsewhere that may call the API, separated by commas"
        ),
        "registration": gettext(
            "who gets an account: open: anyone; invite, off: whom an admin makes one for"
        ),
        "reset_minutes": gettext("minutes that a link to set a new password works"),
        "audit_days": gettext("days that audit events are kept"),
        "trusted_proxies": gettext(
            "addresses or networks of proxies in front, separated by commas; of these alone"
            " X-Forwarded-For is believed"
        ),
        "throttle": gettext(
            "whether tries are limited per account and network; off for load tests"
        ),
        "password_min": gettext("shortest password in code points (NIST: 15 when it is alone)"),
        "metrics_port": gettext("port of 127.0.0.1 on which /metrics asks for no key; unset: none"),
        "import_max": gettext("largest upload of users to import, in MiB"),
        **_of_the_pool(words),
    }


def _of_the_pool(words: Words) -> dict[str, str]:
    gettext = words.gettext
    return {
        "database_pool_size": gettext("connections that each worker may open, and keeps"),
        "database_pool_timeout": gettext("seconds to wait for a free connection before 503"),
        "database_pool_recycle": gettext("seconds after which a connection is replaced"),
        "database_connect_timeout": gettext("seconds to connect, for each host"),
        "database_statement_timeout": gettext("seconds that a statement may take"),
        "database_lock_timeout": gettext("seconds to wait for a lock"),
        "database_idle_timeout": gettext(
            "seconds that a transaction may stand idle before the server ends it"
        ),
        "database_commit_timeout": gettext(
            "seconds to wait for the answer to COMMIT before the outcome is unknown"
        ),
    }


def mail_kinds(words: Words) -> dict[str, str]:
    """Give what the kinds of mails are called."""
    gettext = words.gettext
    return {
        "registration": gettext("Confirmation of a registration"),
        "registration_known": gettext("Registration with a known address"),
        "email_verification": gettext("Confirmation of an address"),
        "invitation": gettext("Invitation"),
        "password_reset": gettext("Link to reset the password"),
        "password_changed": gettext("Notice of a new password"),
        "email_change": gettext("Confirmation of a new address"),
        "email_changing": gettext("Notice of a new address"),
        "email_change_undone": gettext("Return to the old address"),
        "email_moved": gettext("Notice of an address that was changed"),
        "deletion": gettext("Notice of a deletion"),
        "test": gettext("Test mail"),
    }
