"""What only the service of its own has beside its pages: `/docs`, and the two health probes."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel

from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager, translating
from denizen.http.problems import RETRY, answer, documented, from_error
from denizen.http.route import Routes
from denizen.migrations import schema_is_current

READINESS_PATIENCE: Final = 3.0  # seconds; probes ask again
# Swagger UI sets style attributes from its script; nothing else of ours needs this
_DOCS_CSP: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}


class Status(BaseModel):
    """How it is."""

    status: Literal["ok"]


class ServiceRoutes:
    """The routes of the service itself; the probes alone are in the API's document.

    Attributes:
        has_docs: whether there are human docs.
    """

    def __init__(self, db: DBSessionManager, router: APIRouter, *, has_docs: bool) -> None:
        self._db = db
        self.has_docs = has_docs and _swagger_folder() is not None
        routes = Routes(router)
        add = routes.under("", "health")
        probe: dict[str, Any] = {"response_model": Status, "responses": documented()}
        add("/healthz", self.health, methods=["GET"], **probe)
        add("/readyz", self.readiness, methods=["GET"], **probe)
        # watchers ask with HEAD; the server leaves the body out
        pages: dict[str, Callable[..., Awaitable[Response]]] = {
            "/healthz": self.health,
            "/readyz": self.readiness,
        }
        if self.has_docs:
            pages |= {"/docs": self.docs, "/docs/init.js": self.docs_script}
            pages |= {"/docs/{name}": self.docs_asset}
        for path, page in pages.items():
            add(path, page, methods=["GET", "HEAD"], include_in_schema=False)
        routes.share_methods()

    async def health(self) -> Response:
        """Say that the process answers; the database is not asked."""
        return JSONResponse({"status": "ok"})

    async def readiness(self) -> Response:
        """Say whether requests can be served: the database answers and its schema is current."""
        try:
            with translating():
                async with asyncio.timeout(READINESS_PATIENCE):
                    is_current = await schema_is_current(self._db.engine)
        except (UnavailableError, TimeoutError):
            return from_error(UnavailableError()) or Response(status_code=503)
        if not is_current:
            detail = "The schema is behind this program: run `denizen migrate`."
            return answer(503, "schema_behind", "Service unavailable", detail, headers=RETRY)
        return JSONResponse({"status": "ok"})

    async def docs(self) -> Response:
        """Show the API, to be read and tried."""
        return _page("docs.html", _DOCS_CSP)

    async def docs_script(self) -> Response:
        """Start the page above."""
        return Response(_text("docs.js"), media_type="text/javascript")

    async def docs_asset(self, name: str) -> Response:
        """Serve Swagger UI's own files, from the package that carries them."""
        folder = _swagger_folder()
        if name not in _ASSETS or folder is None:
            return Response(status_code=404)
        return FileResponse(
            folder / name, media_type=_ASSETS[name], headers={"Cache-Control": "max-age=86400"}
        )


def _page(name: str, policy: str) -> Response:
    return HTMLResponse(_text(name), headers={"Content-Security-Policy": policy})


def _text(name: str) -> str:
    return (files("denizen.http") / "pages" / name).read_text(encoding="utf-8")


def _swagger_folder() -> Path | None:
    """Find the files without importing the package, which would import FastAPI's own pages."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "static"
