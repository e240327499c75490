"""Puts the groups of commands together."""

import typer

from denizen.cli import audit, backup, bulk, doctor, keys, migrate, serve, settings, users

app = typer.Typer(
    name="denizen",
    help="User accounts: a service that one command starts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command("migrate")(migrate.migrate)
users.app.command("import")(bulk.import_)
users.app.command("export")(bulk.export)
app.add_typer(users.app, name="users")
app.add_typer(keys.app, name="keys")
app.command("audit")(audit.audit)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("doctor")(doctor.doctor)
app.command("settings")(settings.settings)
