"""What goes in and out of the imports slice."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer

from denizen.clock import rfc3339
from denizen.imports import recipes
from denizen.imports.files import Encoding
from denizen.imports.model import LABEL_MAX, REASONS, Import, OnConflict, State
from denizen.imports.reader import Refusal
from denizen.imports.recipes import RecipeName


class ImportOptions(BaseModel):
    """What an import may be told beside its file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    on_conflict: OnConflict = Field(
        default="skip",
        description="when the address belongs to a user: leave the user, update them, or, if there "
        "is any such row, import nothing",
    )
    dry_run: bool = Field(default=False, description="check everything, write nothing")
    verified: bool = Field(
        default=False,
        description="the addresses are known to be their owners', where the file is silent",
    )
    recipe: RecipeName | None = Field(
        default=None, description="the schema that the file comes from; by default its columns tell"
    )
    encoding: Encoding | None = Field(default=None, description="by default the file tells")
    columns: dict[str, recipes.Field | None] = Field(
        default_factory=dict, description="what columns fill; null for those to ignore"
    )
    hash_config: SecretStr | None = Field(
        default=None,
        description="a Firebase project's password hash parameters, as its console shows them",
        max_length=4096,
    )

    def stored(self) -> dict[str, Any]:
        """Give what the import's row holds: all but the secret."""
        return self.model_dump(mode="json", exclude={"hash_config"})


def said_columns(mapped: Iterable[str], ignored: Iterable[str]) -> dict[str, str | None]:
    """Read `COLUMN=FIELD` and names of columns to leave, as `ImportOptions.columns` takes them."""
    columns: dict[str, str | None] = dict.fromkeys(ignored)
    for text in mapped:
        column, _, name = text.rpartition("=")
        columns[column or text] = name if column else ""  # which is no field
    return columns


class RefusalView(BaseModel):
    """A row that was not taken, and why."""

    line: int
    field: str
    code: str
    message: str

    @classmethod
    def of(cls, refusal: Refusal) -> Self:
        """Show a refusal."""
        return cls(
            line=refusal.line,
            field=refusal.field,
            code=refusal.code,
            message=REASONS[refusal.code],
        )


class ProblemOfFile(BaseModel):
    """Why a file can't be imported at all; `line` is 0 for the file as such."""

    code: str
    message: str
    line: int


class ImportView(BaseModel):
    """An import as it stands; the counts of a dry run are what a run would do."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    label: str
    state: State
    on_conflict: OnConflict
    dry_run: bool
    size: int = Field(description="of the file, in bytes")
    records: int | None = Field(description="of the file; null until it was read through")
    done: int
    created: int
    updated: int
    skipped: int
    refused: int
    rate: float | None = Field(description="records a second, lately")
    remaining_seconds: float | None
    problem: ProblemOfFile | None
    refusals: list[RefusalView] = Field(description="the first of them; the report has them all")
    report: str | None = Field(description="where the report is, once the import has ended")
    created_at: datetime
    finished_at: datetime | None

    @field_serializer("created_at", "finished_at", when_used="json")
    def _as_utc(self, value: datetime | None) -> str | None:
        return None if value is None else rfc3339(value)

    @classmethod
    def of(cls, found: Import, refusals: Sequence[Refusal] = (), report: str | None = None) -> Self:
        """Show an import."""
        remaining = None
        if found.rate and found.records is not None:
            remaining = (found.records - found.done) / found.rate
        return cls(
            **{name: getattr(found, name) for name in _AS_IT_IS},
            on_conflict=found.options["on_conflict"],
            dry_run=found.options["dry_run"],
            remaining_seconds=remaining,
            refusals=[RefusalView.of(one) for one in refusals],
            report=report,
        )


_AS_IT_IS = (
    "id", "label", "state", "size", "records", "done", "created", "updated", "skipped", "refused",
    "rate", "problem", "created_at", "finished_at",
)  # fmt: skip


def label_of(name: str) -> str:
    """Give the last part of a file's name as text that can be shown; it is never a path of ours."""
    last = PurePath(name.replace("\\", "/")).name
    shown = "".join(character for character in last if character.isprintable())
    return shown[:LABEL_MAX] or "users"
