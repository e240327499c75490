"""`denizen users …`: a USER is an id, an e-mail or a username."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from denizen.cli.running import (
    AsJson,
    DataDir,
    Service,
    out,
    print_json,
    print_table,
    reporting,
    with_service,
)
from denizen.clock import rfc3339
from denizen.mail.sender import link_of
from denizen.tokens.model import Purpose
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from denizen.users.schemas import CreateUser, UpdateUser, UserView
from denizen.users.values import Locale, Role

User = Annotated[str, typer.Argument(metavar="USER", help="An id, an e-mail or a username.")]

app = typer.Typer(help="Create, find, change and remove users.", no_args_is_help=True)


@app.command("create")
def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    username: Annotated[str, typer.Argument(metavar="USERNAME")],
    *,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = "user",
    locale: Annotated[Locale, typer.Option(help="The language of mails.")] = "en",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first input line.")
    ] = False,
    verified: Annotated[
        bool, typer.Option("--verified", help="The address is known to be theirs.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Create a user; without a password, print and mail a one-time link to set one."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    with reporting():
        payload = CreateUser(
            email=email,
            username=username,
            role=role,
            locale=locale,
            email_verified=verified,
            password=None if password is None else SecretStr(password),
        )
        user, link = with_service(data_dir, lambda service: _create(service, payload))
    _show(user, as_json=as_json, link=link)


@app.command("list")
def list_(
    *,
    q: Annotated[str | None, typer.Option("--q", help="Part of the address or the name.")] = None,
    role: Annotated[Role | None, typer.Option(help="Only this role.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List users, newest first, a page at a time."""
    wanted = UserFilter(q=q, role=role)
    with reporting():
        page = with_service(
            data_dir,
            lambda service: service.users.list_users(wanted, limit=limit, cursor=cursor),
        )
    if as_json:
        items = [UserView.of(user).model_dump(mode="json") for user in page]
        print_json({"items": items, "next_cursor": page.next_cursor})
        return
    rows = [["id", "email", "username", "role", "active", "verified"]]
    for user in page:
        flags = ["yes" if flag else "no" for flag in (user.is_active, user.email_verified)]
        rows.append([str(user.id), _plain(user.email), _plain(user.username), user.role, *flags])
    print_table(rows)
    if page.next_cursor:
        out.print(f"more: --cursor {page.next_cursor}", markup=False)


@app.command("show")
def show(user: User, *, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one user."""
    with reporting():
        found = with_service(data_dir, lambda service: service.users.find_user(user))
    _show(found, as_json=as_json)


@app.command("disable")
def disable(user: User, *, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Disable a user: every session ends, nobody signs in."""
    _switch(user, data_dir, UpdateUser(is_active=False), as_json=as_json)


@app.command("enable")
def enable(user: User, *, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Enable a user again."""
    _switch(user, data_dir, UpdateUser(is_active=True), as_json=as_json)


@app.command("delete")
def delete(
    user: User,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    erase_now: Annotated[
        bool, typer.Option("--erase-now", help="At once; nothing undoes it.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Sign a user out and erase them in 30 days; until then a mailed link undoes it."""
    with reporting():
        found = with_service(data_dir, lambda service: service.users.find_user(user))
    if not yes:
        when = "now, for good" if erase_now else "in 30 days"
        typer.confirm(f"Erase {_plain(found.email)} {when}?", abort=True, err=True)
    with reporting():
        with_service(
            data_dir, lambda service: service.users.delete_user(found.id, at_once=erase_now)
        )
    if as_json:
        print_json({"deleted": str(found.id), "erased": erase_now})
    else:
        out.print(f"{'erased' if erase_now else 'to be erased:'} {found.id}", markup=False)


@app.command("reset-password")
def reset_password(user: User, *, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print and mail a one-time link to set a new password; the old one works until then."""

    async def work(service: Service) -> str:
        found = await service.users.find_user(user)
        token = await service.passwords.make_link(found.id, "password_reset")
        return _link(service, token)

    with reporting():
        link = with_service(data_dir, work)
    if as_json:
        print_json({"link": link})
    else:
        out.print(link, markup=False)


async def _create(service: Service, payload: CreateUser) -> tuple[UserModel, str | None]:
    """Create a user and, where there is no password, a link to set one, in one transaction."""
    if payload.password is not None:
        return await service.users.create_user(payload), None
    async with service.db.get_session() as db:
        user = await service.users.create_user(payload, db=db)
        token = await service.passwords.make_link(user.id, "invitation", db=db)
    return user, _link(service, token)


def _link(service: Service, token: str) -> str:
    return link_of(service.settings.pages_url, Purpose.PASSWORD_RESET, token)


def _switch(user: str, data_dir: Path | None, change: UpdateUser, *, as_json: bool) -> None:
    async def work(service: Service) -> UserModel:
        found = await service.users.find_user(user)
        return await service.users.update_user(found.id, change)

    with reporting():
        changed = with_service(data_dir, work)
    _show(changed, as_json=as_json)


def _show(user: UserModel, *, as_json: bool, link: str | None = None) -> None:
    view = UserView.of(user).model_dump(mode="json")
    if user.erase_after is not None:
        view["erase_after"] = rfc3339(user.erase_after)
    if link is not None:
        view["link"] = link
    if as_json:
        print_json(view)
        return
    for name, value in view.items():
        out.print(f"{name:<15} {_plain(str(value))}", markup=False)


def _plain(text: str) -> str:
    """Make control characters visible: a name must not drive the operator's terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
