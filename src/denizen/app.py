"""The composition root: settings in, FastAPI app out. The only place that wires.

`Denizen` is a users service as a part: give it an engine and your user model, install it into your
app. `create_app` is the same part as a service of its own.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Generic

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.exceptions import HTTPException
from typing_extensions import TypeVar

from denizen.audit.routes import AuditRoutes
from denizen.audit.scenarios import AuditScenarios
from denizen.clock import Clock
from denizen.db.errors import DataError
from denizen.db.manager import DBSessionManager
from denizen.db.model import table_of
from denizen.errors import DenizenError
from denizen.exports.scenarios import ExportScenarios
from denizen.http.gate import Credentials, Gate, bearer_token
from denizen.http.hot import HotRoute
from denizen.http.problems import ProblemView
from denizen.http.route import Route, convert, share_methods
from denizen.http.service import ServiceRoutes
from denizen.imports.routes import ImportRoutes
from denizen.imports.scenarios import ImportScenarios
from denizen.keys.scenarios import KeyScenarios
from denizen.parts import Parts, Tables
from denizen.passwords.hasher import PasswordHasher
from denizen.sessions.routes import SessionRoutes
from denizen.sessions.scenarios import SessionScenarios
from denizen.settings import Settings, SettingsError, cores
from denizen.users.model import UserMixin, UserModel
from denizen.users.routes import UserRoutes
from denizen.users.scenarios import UserScenarios

U = TypeVar("U", bound=UserMixin, default=UserModel)


class Denizen(Generic[U]):
    """A users service over one database.

    Args:
        engine: your engine, which stays yours; without one, `settings.database_url` is used.
        user_model: your class with `UserMixin`; ours by default. Its metadata receives the tables
            that hold a user's things, so that your migrations see them.
        settings: read from the environment by default.

    Attributes:
        db: the session manager.
        users: the scenarios of users, callable without HTTP.
        sessions: the scenarios of sessions, likewise.
        clock: moved by tests alone.
    """

    def __init__(
        self,
        *,
        engine: AsyncEngine | None = None,
        user_model: type[U] = UserModel,  # type: ignore[assignment]  # what `default=` says
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings = settings or Settings.load()
        if engine is None and settings.database_url is None:
            raise SettingsError("DENIZEN_DATABASE_URL must be set, or `denizen serve` be used")
        self.db = DBSessionManager(engine if engine is not None else settings.database())
        self.clock = Clock()
        self.hasher = PasswordHasher(slots=max(1, cores() // settings.workers))
        parts = Parts(
            db=self.db,
            hasher=self.hasher,
            clock=self.clock,
            user_model=user_model,
            tables=Tables.of(table_of(user_model)),
            password_min=settings.password_min,
        )
        self.users: UserScenarios[U] = UserScenarios(parts)
        self.sessions: SessionScenarios[U] = SessionScenarios(parts)
        self.keys: KeyScenarios[U] = KeyScenarios(parts)
        self.audit: AuditScenarios[U] = AuditScenarios(parts)
        self.exports: ExportScenarios[U] = ExportScenarios(parts)
        self.imports: ImportScenarios[U] = ImportScenarios(parts, settings.data_dir / "imports")
        self._gate = Gate(self.sessions, self.keys)

    def install(self, app: FastAPI, prefix: str = "") -> None:
        """Mount the routes under `prefix`, join the app's lifespan, and answer our errors.

        Our routes answer every error themselves; the handlers added here serve errors of ours that
        routes of yours raise, and touch no others.
        """
        router = APIRouter(route_class=Route, lifespan=self._lifespan)
        sessions = SessionRoutes(self.sessions, self._gate)
        routers = [
            UserRoutes(self.users, self._gate).router,
            sessions.router,
            AuditRoutes(self.audit, self._gate).router,
            ImportRoutes(self.imports, self._gate, limit=self.settings.import_max * 2**20).router,
        ]
        share_methods(*routers)
        for one in routers:
            router.include_router(one)
        app.include_router(router, prefix=prefix)
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
    async def _lifespan(self, _app: Any) -> AsyncIterator[None]:
        await self.start()
        try:
            async with self.imports.serving():
                yield
        finally:
            await self.stop()


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the service: `denizen.app:create_app` is a factory for any ASGI server.

    Raises:
        SettingsError: a setting is wrong, or no database is set.
    """
    settings = settings or Settings.load()
    denizen: Denizen[UserModel] = Denizen(settings=settings)
    app = FastAPI(
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
    app.include_router(ServiceRoutes(denizen.db, has_docs=settings.docs == "on").router)
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answer)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "Idempotency-Key"],
            expose_headers=["ETag", "Location", "Retry-After"],
        )
    return app


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
