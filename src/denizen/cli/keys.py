"""`denizen keys …`: API keys for other services."""

import uuid
from datetime import timedelta
from typing import Annotated, Final

import typer

from denizen.cli.running import (
    AsJson,
    DataDir,
    out,
    print_json,
    print_table,
    reporting,
    with_service,
)
from denizen.clock import rfc3339
from denizen.keys.model import SCOPES
from denizen.keys.scenarios import Key

SCOPES_TOLD: Final = ", ".join(SCOPES)


def _known(scopes: list[str]) -> list[str]:
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise typer.BadParameter(f"{unknown[0]!r} is none of {SCOPES_TOLD}")
    return scopes


app = typer.Typer(help="API keys for other services.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    *,
    scope: Annotated[
        list[str],
        typer.Option("--scope", callback=_known, help=f"What it may do; repeat it: {SCOPES_TOLD}."),
    ],
    days: Annotated[int | None, typer.Option(min=1, help="Life in days; without: no end.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    life = None if days is None else timedelta(days=days)
    with reporting():
        text, key = with_service(
            data_dir, lambda service: service.keys.create_key(name, scope, life=life)
        )
    if as_json:
        print_json({"key": text} | _view(key))
    else:
        out.print(text, markup=False)


@app.command("list")
def list_(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all keys, revoked ones included, the newest first."""
    with reporting():
        keys = with_service(data_dir, lambda service: service.keys.list_keys())
    if as_json:
        print_json([_view(key) for key in keys])
        return
    rows = [["id", "key", "name", "scopes", "state", "last used"]]
    for key in keys:
        used = "never" if key.last_used_at is None else rfc3339(key.last_used_at)
        state = "revoked" if key.revoked_at else "active"
        rows.append([str(key.id), key.shown, key.name, " ".join(key.scopes), state, used])
    print_table(rows)


@app.command("revoke")
def revoke(
    key_id: Annotated[uuid.UUID, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    *,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: it is dead at the next request."""
    with reporting("no such active key"):
        with_service(data_dir, lambda service: service.keys.revoke_key(key_id))
    if as_json:
        print_json({"revoked": str(key_id)})
    else:
        out.print(f"revoked {key_id}", markup=False)


def _view(key: Key) -> dict[str, object]:
    instants = ("created_at", "expires_at", "revoked_at", "last_used_at")
    return {
        "id": str(key.id),
        "name": key.name,
        "shown": key.shown,
        "scopes": list(key.scopes),
        **{n: None if getattr(key, n) is None else rfc3339(getattr(key, n)) for n in instants},
    }
