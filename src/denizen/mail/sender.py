"""The worker that empties the outbox: finds out whose a mail is, makes its link, sends it.

Any number of workers may run. The token of a link is made here, in the transaction that claims the
mail, and stands nowhere but in the mail; a mail that has to be sent again carries a token of its
own, and the one before stays good. No connection is held while a mail server is spoken to.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode

from sqlalchemy import Interval, Row, literal

from denizen.db.errors import DataError
from denizen.db.unit import Db
from denizen.mail import queries
from denizen.mail.errors import MailError, PermanentMailError
from denizen.mail.message import FACTS, ORIGIN, Kind, Mail
from denizen.mail.render import Renderer
from denizen.mail.transport import Transport
from denizen.parts import Parts
from denizen.tally import MailOutcome
from denizen.tokens.model import DAY, LIFE, Purpose, registration_id
from denizen.tokens.queries import Issued, issue
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)

BATCH: Final = 8
LEASE: Final = timedelta(minutes=5)  # longer than any attempt takes
POLL: Final = 0.5  # seconds between looks into an empty outbox
PATIENCE: Final = timedelta(days=1)  # then a mail is given up
LONGEST_PAUSE: Final = timedelta(hours=1)

_KNOWN: Final = "registration_known"
_PURPOSES: Final[Mapping[Kind, Purpose]] = {
    "registration": Purpose.REGISTRATION,
    "email_verification": Purpose.EMAIL_VERIFICATION,
    "invitation": Purpose.PASSWORD_RESET,
    "password_reset": Purpose.PASSWORD_RESET,
    "email_change": Purpose.EMAIL_CHANGE,
    "email_changing": Purpose.EMAIL_UNDO,
    "email_change_undone": Purpose.PASSWORD_RESET,
    "deletion": Purpose.DELETION_UNDO,
}
# to the mailbox that was named; all others go to the address of the account, as it is stored
_TO_THE_NAMED: Final = frozenset({"registration", "email_change", "email_changing", "email_moved"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    """A claimed mail, made from its row; None where there is nothing to be sent."""

    row: Row[Any]
    mail: Mail | None
    failure: Exception | None = None


class MailSender(Generic[U]):
    """Sends what is queued.

    Args:
        parts: the database and the tables.
        renderer: makes messages of mails.
        transport: takes messages away.
        pages_url: where links point, without a slash at its end.
    """

    def __init__(
        self, parts: Parts[U], renderer: Renderer, transport: Transport, pages_url: str
    ) -> None:
        self._parts = parts
        self._db = parts.db
        self._outbox = parts.tables.outbox
        self._renderer = renderer
        self._transport = transport
        self._pages_url = pages_url
        self._forgot = f"{pages_url}/account/forgot"

    async def run(self) -> None:
        """Send whatever comes, until cancelled; a database that is away is waited for."""
        while True:
            try:
                while await self.send_due():
                    pass
            except DataError as error:
                _log.warning("the outbox can't be read: %s", error.code)
            except Exception as error:  # noqa: BLE001  # a defect must not end all mail
                _log.error("the mail worker failed: %s", type(error).__name__)
            await asyncio.sleep(POLL)

    async def send_due(self) -> int:
        """Send a batch of what is due and give how many were looked at."""
        now = self._parts.clock.db_now
        is_due = await self._db.run(
            lambda db: queries.has_due(db, self._outbox, now), read_only=True
        )
        if not is_due:
            return 0
        due = await self._db.run(self._claim)
        sent = await asyncio.gather(*(self._send(one) for one in due), return_exceptions=True)
        for failure in filter(None, sent):
            raise failure
        return len(due)

    async def _claim(self, db: Db) -> list[_Due]:
        rows = await queries.claim_due(
            db, self._outbox, limit=BATCH, lease=LEASE, now=self._parts.clock.db_now
        )
        return [await self._look(db, row) for row in rows]

    async def _look(self, db: Db, row: Row[Any]) -> _Due:
        try:
            return _Due(row, await self._db.run(lambda db: self._compose(db, row), join=db))
        except DataError:
            raise  # the whole batch is claimed again
        except Exception as failure:  # noqa: BLE001  # a row that can't be made must stop no other
            return _Due(row, None, failure)

    async def _send(self, due: _Due) -> None:
        failure = due.failure
        if due.mail is not None:
            try:
                await self._transport.send(self._renderer.render(due.mail))
            except Exception as error:  # noqa: BLE001  # a defect: tried again, as all else
                failure = error
        outcome = await self._db.run(lambda db: self._note(db, due, failure))
        self._parts.tally.mails[outcome] += 1

    async def _note(self, db: Db, due: _Due, failure: Exception | None) -> MailOutcome:
        row, clock = due.row, self._parts.clock
        if failure is None:
            await queries.mark_done(db, self._outbox, row.id, is_sent=due.mail is not None)
            return "dropped" if due.mail is None else "sent"
        said = str(failure) if isinstance(failure, MailError) else type(failure).__name__
        _log.warning("mail %s of kind %s was not sent: %s", row.id, row.kind, said)
        pause = min(LONGEST_PAUSE, timedelta(seconds=5) * 2 ** min(row.attempts, 12))
        is_over = clock.now() + pause > row.created_at + PATIENCE
        is_final = is_over or isinstance(failure, PermanentMailError)
        until = None if is_final else clock.db_now + literal(pause, Interval)
        await queries.put_off(db, self._outbox, row.id, error=said, until=until)
        return "given_up" if is_final else "put_off"

    async def _compose(self, db: Db, row: Row[Any]) -> Mail | None:
        """Give the mail with its link; None when, by now, there is nothing to be sent."""
        kind: Kind = row.kind
        user = await self._user_of(db, row)
        if kind == "email_change" and await self._is_anothers(db, row):
            user, kind = await self._parts.user_model.get_by_email(db, row.email), _KNOWN
        elif kind == "registration" and user is not None:
            kind = _KNOWN
        if not _is_due(kind, user):
            return None
        known: dict[str, str | datetime | None] = {**row.facts, "at": row.created_at}
        known |= {"link": f"{self._pages_url}/account", "reset_link": self._forgot}
        if kind == "password_changed":
            known["link"] = self._forgot
        if kind in _PURPOSES:
            issued = await self._issue(db, row, user)
            if issued is None:
                return None
            link = link_of(self._pages_url, _PURPOSES[kind], issued.token.text)
            known |= {"link": link, "expires_at": issued.expires_at}
        if user is not None:
            known |= {"username": user.username, "erase_at": user.erase_after}
        return Mail(
            kind=kind,
            recipient=row.email if user is None or kind in _TO_THE_NAMED else user.email,
            locale=row.locale if user is None else user.locale,
            facts=_facts(kind, known),
            message_id=row.id,
            queued_at=row.created_at,
        )

    async def _issue(self, db: Db, row: Row[Any], user: U | None) -> Issued | None:
        purpose = _PURPOSES[row.kind]
        life = DAY if row.kind == "invitation" else LIFE.get(purpose, self._parts.reset_life)
        return await issue(
            db,
            self._parts.tables.tokens,
            purpose,
            registration_id(row.email) if user is None else user.id,
            request_id=row.id,
            now=self._parts.clock.db_now,
            life=life,
            email=row.email,
            locale=row.locale,
        )

    async def _user_of(self, db: Db, row: Row[Any]) -> U | None:
        model = self._parts.user_model
        if row.user_id is not None:
            return await model.get_by_id(db, row.user_id)
        return await model.get_by_email(db, row.email)

    async def _is_anothers(self, db: Db, row: Row[Any]) -> bool:
        owner = await self._parts.user_model.get_by_email(db, row.email)
        return owner is not None and owner.id != row.user_id


def _facts(kind: Kind, known: Mapping[str, str | datetime | None]) -> dict[str, str | datetime]:
    """Give of what is known what a mail of this kind says."""
    wanted = FACTS[kind] | ORIGIN if "at" in FACTS[kind] else FACTS[kind]
    return {name: value for name in wanted if (value := known.get(name))}


def link_of(pages_url: str, purpose: Purpose, token: str) -> str:
    """Give the link of a mail."""
    return f"{pages_url}/account/{purpose}?{urlencode({'token': token})}"


def _is_due(kind: Kind, user: UserMixin | None) -> bool:
    """Whether a mail still makes sense, for whoever it is about by now."""
    if user is None:
        return kind == "registration"
    is_open = user.is_active and user.erase_after is None
    match kind:
        case "email_verification":
            return is_open and not user.email_verified
        case "invitation" | "password_reset" | "email_change" | "email_change_undone":
            return is_open
        case "deletion":
            return user.erase_after is not None
        case _:
            return True
