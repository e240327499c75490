"""`/v1/imports`: take an upload, call one scenario, answer."""

import asyncio
import uuid
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from pydantic import BeforeValidator, ValidationError
from starlette.exceptions import HTTPException

from denizen.errors import InvalidError, Issue, NotFoundError
from denizen.http.gate import Credentials, Gate, unit_of
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.http.upload import FILE_FIELD, receive_upload
from denizen.http.values import canonical_uuid
from denizen.imports.files import FileError
from denizen.imports.model import UNDER_WAY, Import
from denizen.imports.report import MEDIA_TYPES
from denizen.imports.scenarios import ImportScenarios
from denizen.imports.schemas import ImportOptions, ImportView, said_columns

ImportId = Annotated[
    uuid.UUID, BeforeValidator(canonical_uuid), Path(alias="id", description="the import's id")
]
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FILE_FIELD],
                "additionalProperties": False,
                "properties": {
                    FILE_FIELD: {
                        "type": "string",
                        "format": "binary",
                        "description": "CSV, JSON Lines, Firebase's JSON, or a dump",
                    },
                    **{
                        name: schema
                        for name, schema in ImportOptions.model_json_schema()["properties"].items()
                        if name != "columns"
                    },
                    "map": {
                        "type": "array",
                        "items": {"type": "string", "pattern": "^.+=[a-z_]+$"},
                        "description": "COLUMN=FIELD: what a column fills",
                    },
                    "ignore": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "columns to leave",
                    },
                },
            }
        }
    },
}


class ImportRoutes:
    """The routes over one `ImportScenarios`.

    Args:
        imports: the scenarios.
        gate: who may pass.
        limit: octets that an upload may have.
    """

    def __init__(
        self, imports: ImportScenarios[Any], gate: Gate, routes: Routes, *, limit: int
    ) -> None:
        self._imports = imports
        self._gate = gate
        self._limit = limit
        # a file may take hours and a claim is a lease: the key is claimed when the file is there
        admins = [Depends(gate.allow("admin", replays=False))]
        self._let_in_again = gate.allow("admin")
        add = routes.under("/v1/imports", "imports")
        add(
            "",
            self.begin,
            methods=["POST"],
            status_code=202,
            response_model=ImportView,
            dependencies=admins,
            responses=documented(400, 401, 403, 408, 413, 415, 422, 507),
            openapi_extra={"requestBody": _BODY},
        )
        add(
            "/{id}",
            self.show,
            methods=["GET"],
            response_model=ImportView,
            dependencies=admins,
            responses=documented(401, 403, 404, 422),
        )
        add(
            "/{id}/report",
            self.report,
            methods=["GET"],
            response_class=FileResponse,
            dependencies=admins,
            responses=documented(401, 403, 404, 422),
        )

    async def begin(
        self, request: Request, response: Response, credentials: Credentials
    ) -> ImportView:
        """Take a file of users; it is imported in the background."""
        folder = self._imports.folder
        part = await asyncio.to_thread(folder.part)
        try:
            upload = await receive_upload(request, part, limit=self._limit)
            if not upload.has_file:
                raise InvalidError(Issue(FILE_FIELD, "missing", "A file is needed."))
            options = _options(upload.fields)
            await self._let_in_again(request, credentials)
            found = await self._imports.begin_upload(
                part,
                upload.name,
                options,
                actor=self._gate.actor_of(request),
                db=unit_of(request),
            )
        except FileError as error:
            if error.code == "not_text":
                raise HTTPException(415) from None
            raise InvalidError(Issue(FILE_FIELD, error.code, f"{error}.")) from None
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        response.headers["Location"] = f"{request.url.path}/{found.id}"
        return ImportView.of(found)

    async def show(self, request: Request, import_id: ImportId) -> ImportView:
        """Tell how far an import is, and what was not taken so far."""
        found = await self._imports.get_import(import_id)
        refusals = await self._imports.list_refusals(import_id)
        has_report = await self._report_of(found) is not None
        report = f"{request.url.path}/report" if has_report else None
        return ImportView.of(found, refusals, report)

    async def report(self, import_id: ImportId) -> FileResponse:
        """Give the rows that were not taken, with the reasons, as a file like the one imported."""
        path = await self._report_of(await self._imports.get_import(import_id))
        if path is None:
            raise NotFoundError
        return FileResponse(
            path, media_type=MEDIA_TYPES[path.suffix], filename=f"refused-{import_id}{path.suffix}"
        )

    async def _report_of(self, found: Import) -> Any:
        if found.state in UNDER_WAY:
            return None
        return await asyncio.to_thread(self._imports.folder.report, found.id)


def _options(fields: dict[str, list[str]]) -> ImportOptions:
    """Read the form: a name that is given twice is refused, one that is empty is not given."""
    given: dict[str, Any] = {
        name: values[0] if len(values) == 1 else values
        for name, values in fields.items()
        if name not in {"map", "ignore"} and values != [""]
    }
    columns = said_columns(fields.get("map", ()), fields.get("ignore", ()))
    try:
        return ImportOptions.model_validate({"columns": columns} | given)
    except ValidationError as error:
        issues = error.errors(include_input=False, include_url=False)
        raise RequestValidationError(
            [issue | {"loc": ("body", *issue["loc"])} for issue in issues]
        ) from None
