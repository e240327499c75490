"""`denizen serve`: owns the embedded database and the server's worker processes."""

import asyncio
import contextlib
import ipaddress
import logging
import logging.config
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr

from denizen.cli.running import (
    BEHIND,
    OUT_OF_REACH,
    USAGE,
    CommandError,
    DataDir,
    Service,
    Urls,
    bring_up_to_date,
    no_mail_server,
    out,
    reporting,
)
from denizen.db.embedded import EmbeddedServer
from denizen.db.engine import describe_url
from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.logs import log_config
from denizen.mail.sender import link_of
from denizen.migrations import schema_is_current
from denizen.settings import Settings
from denizen.tokens.model import Purpose

PORT_PATIENCE: Final = 3.0  # seconds: workers of a killed service may still be going
FIRST_ADMIN_FILE: Final = "first-admin-link.txt"
_log = logging.getLogger(__name__)


def serve(
    *,
    dev: Annotated[
        bool, typer.Option("--dev", help="On this machine only; migrates whatever database is set.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (8000).")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes (by the cores).")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    leaving = _Leaving()
    signal.signal(signal.SIGTERM, leaving)  # until the server has handlers of its own
    logging.config.dictConfig(log_config(is_terminal=sys.stderr.isatty()))
    with reporting():
        settings = Settings.load(host=host, port=port, workers=workers, data_dir=data_dir)
        if dev and not _is_loopback(settings.host):
            raise CommandError("--dev listens on this machine only: leave --host out", USAGE)
        with contextlib.ExitStack() as stack:
            for address in _addresses(settings):
                stack.enter_context(_alone_on_port(*address))
            urls = stack.enter_context(_database(settings))
            _prepare(settings, urls, may_migrate=dev or urls.is_embedded)
            _announce(settings, urls, _first_admin(settings, urls), is_dev=dev)
            if settings.mail_server is None and not dev:
                _log.warning(no_mail_server(settings))
            from denizen.cli.workers import run  # noqa: PLC0415  # the web framework and the server

            if not leaving.is_told:
                run(settings, urls, is_dev=dev)


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Urls]:
    if settings.database_url is not None:
        serving = settings.database_url.get_secret_value()
        owning = settings.migrate_url.get_secret_value() if settings.migrate_url else serving
        yield Urls(serving, owning, is_embedded=False)
        return
    server = EmbeddedServer.for_service(
        settings.data_dir,
        bin_dir=settings.postgres_bin,
        max_connections=max(100, settings.connections + 20),
    )
    server.start()
    try:
        yield Urls(server.app_url, server.owner_url, is_embedded=True)
    finally:
        server.stop()


def _prepare(settings: Settings, urls: Urls, *, may_migrate: bool) -> None:
    """Bring the schema up to date where that is ours to do; a database that is away comes later.

    Raises:
        CommandError: the schema is behind, and migrating is the operator's to do.
    """
    try:
        asyncio.run(_prepare_once(settings, urls, may_migrate=may_migrate))
    except UnavailableError:
        _log.warning("the database is out of reach; starting anyway, /readyz tells when it is back")
        if may_migrate:
            keep_trying = threading.Thread(
                target=_prepare_later, args=(settings, urls), daemon=True
            )
            keep_trying.start()


async def _prepare_once(settings: Settings, urls: Urls, *, may_migrate: bool) -> None:
    if may_migrate:
        await bring_up_to_date(settings, urls)
        return
    db = DBSessionManager(settings.database(urls.serving))
    db.init()
    try:
        if not await schema_is_current(db.engine):
            raise CommandError(BEHIND, OUT_OF_REACH)
    finally:
        await db.close_connections()


def _prepare_later(settings: Settings, urls: Urls) -> None:
    while True:
        time.sleep(1)
        with contextlib.suppress(UnavailableError):
            asyncio.run(_prepare_once(settings, urls, may_migrate=True))
            return


def _first_admin(settings: Settings, urls: Urls) -> str | None:
    """Give where the first admin is made, while there is none: a link, for a terminal alone.

    Elsewhere output is kept by somebody, and it stands in a file for this user's eyes.
    """
    token = None
    with contextlib.suppress(UnavailableError):
        token = asyncio.run(_first_admin_token(settings, urls))
    link = None if token is None else link_of(settings.service_url, Purpose.FIRST_ADMIN, token)
    if link is not None and sys.stdout.isatty():
        return link
    try:
        return _in_file(settings.data_dir / FIRST_ADMIN_FILE, link)
    except OSError as error:
        if link is not None:
            _log.warning(
                "the first admin's link can't be kept in %s (%s): "
                "run `denizen users create EMAIL NAME --role admin`",
                settings.data_dir,
                error.strerror,
            )
        return None


def _in_file(file: Path, link: str | None) -> str | None:
    """Keep the link there, in place of the one before; None: there is none to be kept."""
    if link is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if link is None:
        return None
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(f"{link}\n")
    return f"the link in {file}"


async def _first_admin_token(settings: Settings, urls: Urls) -> str | None:
    bound = settings.model_copy(update={"database_url": SecretStr(urls.serving)})
    service = Service(settings=bound)
    await service.start()
    try:
        return await service.registrations.first_admin_token()
    finally:
        await service.stop()


def _announce(settings: Settings, urls: Urls, first_admin: str | None, *, is_dev: bool) -> None:
    base = settings.service_url
    where = f"embedded, in {settings.data_dir}" if urls.is_embedded else describe_url(urls.serving)
    rows = {"service": f"{base}/", "console": f"{base}/console", "my account": f"{base}/account"}
    rows["database"] = where
    if settings.docs == "on":
        rows["API docs"] = f"{base}/docs"
    rows["mail"] = str(settings.mail_server or f"as files in {settings.mail_folder}")
    if is_dev:
        rows["mail page"] = f"{base}/dev/mail"
    if first_admin is not None:
        rows["first admin"] = first_admin
    out.print("denizen is starting", markup=False)
    for name, value in rows.items():
        out.print(f"  {name:<12} {value}", markup=False)
    sys.stdout.flush()


def _addresses(settings: Settings) -> Iterator[tuple[str, int]]:
    """Give where the service listens."""
    yield settings.host, settings.port
    if settings.metrics_port is not None:
        yield "127.0.0.1", settings.metrics_port


@contextlib.contextmanager
def _alone_on_port(host: str, port: int) -> Iterator[None]:
    """Make sure that no other service is on the port: the server's workers would silently share it.

    Raises:
        CommandError: the port is taken, or the address is not this machine's.
    """
    deadline = time.monotonic() + PORT_PATIENCE
    while (problem := _port_problem(host, port)) is not None:
        if time.monotonic() > deadline:
            raise CommandError(f"can't listen on {host} port {port}: {problem}", OUT_OF_REACH)
        time.sleep(0.1)
    # Two that start at the same moment both find the port free: Linux's abstract sockets are a
    # lock that dies with its owner and leaves no file.
    with socket.socket(socket.AF_UNIX) as lock:
        if sys.platform == "linux":
            try:
                lock.bind(f"\0denizen-{host}-{port}")
            except OSError:
                message = f"another denizen is starting on {host} port {port}"
                raise CommandError(message, OUT_OF_REACH) from None
        yield


def _port_problem(host: str, port: int) -> str | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error.strerror or "unknown address"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Leaving:
    """Ends the start when told to, and remembers it: what is raised inside a finalizer is lost."""

    is_told = False

    def __call__(self, _number: int, _frame: Any) -> None:
        self.is_told = True
        raise SystemExit(0)
