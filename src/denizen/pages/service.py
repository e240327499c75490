"""What the pages are over: the scenarios and settings of one service, as `Denizen` has them."""

from typing import Any, Protocol

from denizen.account.scenarios import AccountScenarios
from denizen.audit.scenarios import AuditScenarios
from denizen.emails.scenarios import EmailScenarios
from denizen.exports.scenarios import ExportScenarios
from denizen.imports.scenarios import ImportScenarios
from denizen.keys.scenarios import KeyScenarios
from denizen.mail.scenarios import OutboxScenarios
from denizen.overview.scenarios import OverviewScenarios
from denizen.parts import Parts
from denizen.passwords.scenarios import PasswordScenarios
from denizen.registrations.scenarios import RegistrationScenarios
from denizen.sessions.scenarios import SessionScenarios
from denizen.settings import Settings
from denizen.tokens.scenarios import TokenScenarios
from denizen.users.scenarios import UserScenarios


class Service(Protocol):
    """The scenarios that pages call, and what they are made of."""

    settings: Settings
    parts: Parts[Any]
    registrations: RegistrationScenarios[Any]
    sessions: SessionScenarios[Any]
    passwords: PasswordScenarios[Any]
    emails: EmailScenarios[Any]
    account: AccountScenarios[Any]
    tokens: TokenScenarios[Any]
    audit: AuditScenarios[Any]
    overview: OverviewScenarios[Any]
    outbox: OutboxScenarios[Any]
    users: UserScenarios[Any]
    keys: KeyScenarios[Any]
    imports: ImportScenarios[Any]
    exports: ExportScenarios[Any]
