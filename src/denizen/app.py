"""The composition root: settings in, FastAPI app out. With `service.py` the only place that wires.

`Denizen` is a users service as a part: give it an engine and your user model, install it into your
app. `create_app` is the same part as a service of its own.
"""

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from typing_extensions import TypeVar

from denizen.account.routes import AccountRoutes
from denizen.audit.routes import AuditRoutes
from denizen.db.errors import DataError
from denizen.emails.routes import EmailRoutes
from denizen.errors import DenizenError
from denizen.http.gate import Credentials, Gate, bearer_token
from denizen.http.headers import HSTS, WithHeaders
from denizen.http.hot import HotRoute, Service
from denizen.http.once import Once
from denizen.http.problems import ProblemView
from denizen.http.route import HEADERS, convert
from denizen.http.service import ServiceRoutes
from denizen.http.unambiguous import Unambiguous
from denizen.http.watched import Watched
from denizen.imports.routes import ImportRoutes
from denizen.logs import RequestLog
from denizen.metrics.folder import MetricsFolder
from denizen.passwords.routes import PasswordRoutes
from denizen.registrations.routes import RegistrationRoutes
from denizen.service import UsersService
from denizen.sessions.routes import SessionRoutes
from denizen.settings import Settings
from denizen.users.model import UserMixin, UserModel
from denizen.users.routes import UserRoutes

U = TypeVar("U", bound=UserMixin, default=UserModel)


class Denizen(UsersService[U]):
    """A users service as a part of an app: see `UsersService` for what it is made from.

    Example:
        denizen = Denizen(engine=engine, user_model=User)
        denizen.install(app, prefix="/accounts")
    """

    @functools.cached_property
    def gate(self) -> Gate:
        """What lets requests through, for more routes."""
        once, trusted = Once(self.parts), self.settings.trusted_proxies
        return Gate(self.sessions, self.keys, once, trusted)

    def install(self, app: FastAPI, prefix: str = "") -> None:
        """Mount the routes under `prefix`, join the app's lifespan, and answer our errors.

        Our routes answer every error themselves; the handlers added here serve errors of ours that
        routes of yours raise, and touch no others.

        Raises:
            ValueError: the prefix does not begin with a `/`, or ends with one.
        """
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ValueError(f"prefix {prefix!r}: it begins with a / and does not end with one")
        app.include_router(APIRouter(lifespan=self._lifespan))  # which joins the app's
        gate, routes = self.gate, self.gate.routes(app.router, prefix)
        RegistrationRoutes(self.registrations, gate, routes)
        EmailRoutes(self.emails, gate, routes)
        sessions = SessionRoutes(self.sessions, gate, routes)
        AccountRoutes(self.account, gate, routes)
        PasswordRoutes(self.passwords, gate, routes)
        UserRoutes(self.users, gate, routes)
        AuditRoutes(self.audit, gate, routes)
        ImportRoutes(self.imports, gate, routes, limit=self.settings.import_max * 2**20)
        routes.share_methods()
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
    service = ServiceRoutes(denizen.db, app.router, has_docs=settings.docs == "on")
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

    scenarios = MetricsScenarios(denizen.parts, folder)
    routes, port = denizen.gate.routes(app.router), denizen.settings.metrics_port
    metrics = MetricsRoutes(scenarios, denizen.gate, routes, port=port)
    app.include_router(APIRouter(lifespan=metrics.lifespan))


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
