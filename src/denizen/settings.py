"""Every setting of the service, its default and one line of meaning. There is no default secret.

Values come from arguments, then the environment (`DENIZEN_*`), then `DENIZEN_*_FILE` (a file that
holds the value, for secrets), then a `.env` file. Limits that nobody should turn stand beside the
code that they bound.
"""

import os
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    DirectoryPath,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from denizen.cores import cores
from denizen.db.engine import DatabaseSettings, DatabaseUrlError, describe_url, parse_url
from denizen.mail.address import Sender
from denizen.mail.server import MailServer, describe_mail_url, parse_mail_url
from denizen.network import Network, parse_network

PREFIX: Final = "DENIZEN_"


class SettingsError(ValueError):
    """Raised when a setting is wrong; one line that names the variable and what is right."""


def _check_url(value: SecretStr) -> SecretStr:
    try:
        parse_url(value.get_secret_value())
    except DatabaseUrlError as error:
        raise ValueError(str(error)) from None
    return value


def _check_mail_url(value: SecretStr) -> SecretStr:
    parse_mail_url(value.get_secret_value())
    return value


def _check_sender(value: str) -> str:
    Sender.parse(value)
    return value


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise ValueError("must be like https://example.org or https://example.org/accounts")
    return value.rstrip("/")


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _split_urls(value: Any) -> Any:
    """Split at spaces, and at a comma before the next URL: a URL has commas between its hosts."""
    if not isinstance(value, str):
        return value
    return [part for part in re.split(r"[\s,]+(?=[a-z0-9+]*://)|\s+", value.strip()) if part]


def _check_origin(value: str) -> str:
    if not re.fullmatch(r"\*|https?://[^\s/?#@]+", value):
        raise ValueError("must be origins such as https://app.example.com, or *")
    return value


def _expand_home(folder: Path) -> Path:
    """Read `~`, which no shell reads in a `.env` file; one that nobody has stays as it is."""
    return Path(os.path.expanduser(folder))  # noqa: PTH111  # the method of Path raises then


# scheme, host (international names as xn--), port, path; no login, no query, no fragment
_ORIGIN: Final = re.compile(
    r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[\w.~/-]*)?", re.ASCII | re.IGNORECASE
)

DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_url)]
Origin = Annotated[str, AfterValidator(_origin)]
Networks = list[Annotated[Network, BeforeValidator(parse_network)]]
WebOrigin = Annotated[str, AfterValidator(_check_origin)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Folder = Annotated[Path, AfterValidator(_expand_home)]


class Settings(BaseSettings):
    """The settings; `Settings.load()` reads them, a wrong one raises `SettingsError`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    data_dir: Folder = Field(
        Path("data"), description="folder of the embedded database, the mail folder and files"
    )
    database_url: DatabaseUrl | None = Field(
        None,
        description="PostgreSQL, 15 or newer: postgresql://user@host1,host2/db; unset: embedded",
    )
    migrate_url: DatabaseUrl | None = Field(
        None, description="the same database as the role that owns the schema; unset: the same role"
    )
    database_pooler: Literal["none", "transaction"] = Field(
        "none",
        description="transaction: the URLs lead to a pooler such as PgBouncer in transaction mode",
    )
    replica_urls: Annotated[list[DatabaseUrl], NoDecode, BeforeValidator(_split_urls)] = Field(
        default_factory=list,
        description="servers that follow, for lists, search, exports; URLs separated by spaces",
    )
    postgres_bin: Folder | None = Field(
        None, description="folder with the PostgreSQL binaries of the embedded database"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    workers: int = Field(
        default_factory=cores,
        ge=1,
        le=256,
        description="server processes; by the cores",
    )
    base_url: Origin | None = Field(
        None, description="where this service is seen: https://host[/path]; from host and port"
    )
    link_url: Origin | None = Field(
        None, description="where links in mail point, if the pages are elsewhere; like BASE_URL"
    )
    mail_url: Annotated[SecretStr, AfterValidator(_check_mail_url)] | None = Field(
        None,
        description="smtp://user:password@host or smtps://; unset: .eml files in DATA_DIR/mail",
    )
    mail_from: Annotated[str, AfterValidator(_check_sender)] | None = Field(
        None,
        description="sender of mails: Example <no-reply@example.org>; no-reply@ host of BASE_URL",
    )
    mail_templates: DirectoryPath | None = Field(
        None, description="folder of templates that take the place of ours with the same name"
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="port of 127.0.0.1 on which /metrics asks for no key; unset: none",
    )
    docs: Literal["on", "off"] = Field(
        "on", description="whether /docs and /openapi.json are served"
    )
    cors_origins: Annotated[list[WebOrigin], NoDecode, BeforeValidator(_split)] = Field(
        default_factory=list,
        description="origins of pages elsewhere that may call the API, separated by commas",
    )
    registration: Literal["open", "invite", "off"] = Field(
        "open",
        description="who gets an account: open: anyone; invite, off: whom an admin makes one for",
    )
    reset_minutes: int = Field(
        60, ge=5, le=1440, description="minutes that a link to set a new password works"
    )
    audit_days: int = Field(400, ge=30, le=36500, description="days that audit events are kept")
    trusted_proxies: Annotated[Networks, NoDecode, BeforeValidator(_split)] = Field(
        default_factory=list,
        description="addresses or networks of proxies in front, separated by commas; of these alone"
        " X-Forwarded-For is believed",
    )
    throttle: Literal["on", "off"] = Field(
        "on", description="whether tries are limited per account and network; off for load tests"
    )
    password_min: int = Field(
        15, ge=8, le=64, description="shortest password in code points (NIST: 15 when it is alone)"
    )
    import_max: int = Field(
        1024, ge=1, le=1024 * 1024, description="largest upload of users to import, in MiB"
    )
    database_pool_size: int = Field(
        15, ge=1, le=500, description="connections that each worker may open, and keeps"
    )
    database_pool_timeout: Seconds = Field(
        2, description="seconds to wait for a free connection before 503"
    )
    database_pool_recycle: Seconds = Field(
        1800, description="seconds after which a connection is replaced"
    )
    database_connect_timeout: Seconds = Field(2, description="seconds to connect, for each host")
    database_statement_timeout: Seconds = Field(4, description="seconds that a statement may take")
    database_lock_timeout: Seconds = Field(2, description="seconds to wait for a lock")
    database_idle_timeout: Seconds = Field(
        10, description="seconds that a transaction may stand idle before the server ends it"
    )
    database_commit_timeout: Seconds = Field(
        10, description="seconds to wait for the answer to COMMIT before the outcome is unknown"
    )

    @classmethod
    def load(cls, **given: Any) -> "Settings":
        """Read the settings; what is given by name wins, None counts as not given.

        Raises:
            SettingsError: a value is wrong.
        """
        values = {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(_sentence(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put `DENIZEN_X_FILE` behind `DENIZEN_X`."""
        del file_secret_settings  # folders of secrets are a second way to do the same
        return init_settings, env_settings, _FileSource(settings_cls), dotenv_settings

    @property
    def connections(self) -> int:
        """How many connections all workers together may open."""
        return self.workers * self.database_pool_size

    @property
    def service_url(self) -> str:
        """Where this service is seen, without a slash at the end; never taken from a request."""
        if self.base_url is not None:
            return self.base_url
        host = "localhost" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def pages_url(self) -> str:
        """Where links in mail point: `<pages_url>/account/<purpose>?token=…`."""
        return self.link_url or self.service_url

    @property
    def mail_server(self) -> MailServer | None:
        """Where mails are handed over; None: they are files in `mail_folder`."""
        return parse_mail_url(self.mail_url.get_secret_value()) if self.mail_url else None

    @property
    def mail_folder(self) -> Path:
        """Where mails are put while no server is set."""
        return self.data_dir / "mail"

    @property
    def sender(self) -> Sender:
        """Who mails are from."""
        if self.mail_from is not None:
            return Sender.parse(self.mail_from)
        host = urllib.parse.urlsplit(self.service_url).hostname or "localhost"
        is_name = (
            host.replace(".", "").replace("-", "").isalnum()
            and not host.replace(".", "").isdecimal()
        )
        return Sender(f"no-reply@{host if is_name else 'localhost'}")

    @property
    def service_name(self) -> str:
        """What mails call this service: the sender's name, or else the host of the pages."""
        return self.sender.name or urllib.parse.urlsplit(self.pages_url).netloc

    @property
    def context_words(self) -> tuple[str, ...]:
        """Words of this service that guessers know and no password may be made of."""
        host = urllib.parse.urlsplit(self.pages_url).hostname or ""
        return (host, self.service_name)

    @property
    def reset_life(self) -> timedelta:
        """How long a link to set a new password works."""
        return timedelta(minutes=self.reset_minutes)

    @property
    def audit_life(self) -> timedelta:
        """How long audit events are kept."""
        return timedelta(days=self.audit_days)

    def database(self, url: str | None = None) -> DatabaseSettings:
        """Give the data layer's settings, for this URL or for `database_url` and its replicas."""
        chosen = url or (self.database_url.get_secret_value() if self.database_url else "")
        replicas = () if url else tuple(one.get_secret_value() for one in self.replica_urls)
        return DatabaseSettings(
            url=chosen,
            replica_urls=replicas,
            pool_size=self.database_pool_size,
            pooler=self.database_pooler,
            **{name: timedelta(seconds=getattr(self, f"database_{name}")) for name in _DURATIONS},
        )

    def database_to_migrate(self, url: str) -> DatabaseSettings:
        """Give the same for whoever changes the schema, which takes as long as it takes."""
        return replace(self.database(url), statement_timeout=_LONG)


_LONG: Final = timedelta(hours=12)
_DURATIONS: Final = (
    "pool_timeout",
    "pool_recycle",
    "connect_timeout",
    "statement_timeout",
    "lock_timeout",
    "idle_timeout",
    "commit_timeout",
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A setting as `denizen settings` shows it; secrets are masked."""

    variable: str
    value: str
    default: str
    meaning: str


def listed(settings: Settings) -> list[Listed]:
    """Give every setting with its value, its default and its meaning."""
    return [
        Listed(
            variable=variable(name),
            value=_shown(getattr(settings, name), _DESCRIBED.get(name, describe_url)),
            default=_default(field),
            meaning=field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def chosen(settings: Settings) -> frozenset[str]:
    """Give the variables of the settings that have another value than by default."""
    return frozenset(
        variable(name)
        for name, field in Settings.model_fields.items()
        if getattr(settings, name) != field.get_default(call_default_factory=True)
    )


_DESCRIBED: Final = {"mail_url": describe_mail_url}


def variable(name: str) -> str:
    """Give a setting's environment variable."""
    return f"{PREFIX}{name.upper()}"


class _FileSource(PydanticBaseSettingsSource):
    """Reads `DENIZEN_X_FILE`: the named file holds the value of X."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        path = os.environ.get(f"{variable(field_name)}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError):
            raise SettingsError(
                f"{variable(field_name)}_FILE must name a readable text file"
            ) from None

    def __call__(self) -> Mapping[str, Any]:  # type: ignore[override]  # read-only is enough
        values = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                values[name] = value
        return values


def _shown(value: Any, describe: Callable[[str], str] = describe_url) -> str:
    if isinstance(value, SecretStr):
        return describe(value.get_secret_value())
    if isinstance(value, list):
        return ",".join(_shown(one, describe) for one in value) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "unset" if value is None else str(value)


def _default(field: FieldInfo) -> str:
    if field.default_factory is None:
        return _shown(field.default)
    return "none" if field.default_factory is list else "by the cores"


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    said = str(first["msg"]).removeprefix("Value error, ")
    said = said.replace("Input should be", "must be")
    return f"{variable(name)} {said[0].lower()}{said[1:]}"
