"""The system: what the doctor finds, the settings, mails that were not sent, this process."""

import importlib.metadata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy.pool import QueuePool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from denizen.doctor.examination import examine
from denizen.errors import NotFoundError
from denizen.pages.console import ADMINS
from denizen.pages.console.findings import finding_sentences, finding_subjects
from denizen.pages.console.meanings import mail_kinds, setting_meanings
from denizen.pages.service import Service
from denizen.pages.site import Site
from denizen.pages.visit import Visit
from denizen.pages.words import Words
from denizen.settings import PREFIX, Listed, Settings, chosen, listed

SYSTEM: Final = "/console/system"
_MOST_RETRIED: Final = 100


class SystemPages:
    """The page of the system, and what is done from it."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        site.add(SYSTEM, self.show, **ADMINS)
        site.add(f"{SYSTEM}/mails/retry", None, self.retry, **ADMINS)
        site.add(f"{SYSTEM}/mails/test", None, self.send_test, **ADMINS)

    async def show(self, visit: Visit) -> Response:
        """Show how the service is, and what it is set to."""
        service, words = self._service, visit.words
        outbox = await service.outbox.look()
        return visit.page(
            "console/system.html",
            findings=await examine(service.parts.db, service.settings),
            subjects=finding_subjects(words),
            sentences=finding_sentences(words),
            listed=list(_settings(words, service.settings)),
            outbox=outbox,
            names=await service.audit.names_of(mail.user_id for mail in outbox.unsent),
            given_up=[mail.id for mail in outbox.unsent if mail.next_try_at is None],
            kinds=mail_kinds(words),
            process=Process.of(service),
        )

    async def retry(self, visit: Visit) -> Response:
        """Have mails that were given up tried once more."""
        try:
            ids = [uuid.UUID(text) for text in visit.form.getlist("id")[:_MOST_RETRIED]]
        except ValueError:
            raise HTTPException(400) from None
        try:
            number = await self._service.outbox.retry(ids, actor=visit.actor, db=visit.db)
        except NotFoundError:
            return visit.leave(SYSTEM, say=visit.gettext("There is no such mail to send again."))
        said = visit.ngettext(
            "%(num)d mail is tried again now.", "%(num)d mails are tried again now.", number
        )
        return visit.leave(SYSTEM, say=said)

    async def send_test(self, visit: Visit) -> Response:
        """Send a mail to whoever asks for it."""
        user = await self._service.users.get_user(visit.me["id"])
        await self._service.outbox.send_test(user, actor=visit.actor, db=visit.db)
        said = visit.gettext(
            "A test mail is on its way to %(email)s. If it can't be sent, it is listed here."
        )
        return visit.leave(SYSTEM, say=said % {"email": user.email})


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as it is shown."""

    listed: Listed
    meaning: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Process:
    """The process that answers: one of several.

    Attributes:
        version: of the program.
        running: passwords being hashed.
        waiting: places taken in the queue for that.
        refused: those turned away so far.
        open: connections to the database.
        busy: those that are in use.
        allowed: how many it may open.
    """

    version: str
    running: int
    waiting: int
    refused: int
    open: int
    busy: int
    allowed: int

    @classmethod
    def of(cls, service: Service) -> "Process":
        """Look at this process."""
        hasher, pool = service.parts.hasher, service.parts.db.engine.pool
        busy = pool.checkedout() if isinstance(pool, QueuePool) else 0
        at_rest = pool.checkedin() if isinstance(pool, QueuePool) else 0
        return cls(
            version=importlib.metadata.version("denizen"),
            running=hasher.queue.running,
            waiting=hasher.queue.waiting,
            refused=hasher.queue.refused,
            open=busy + at_rest,
            busy=busy,
            allowed=service.settings.connections // service.settings.workers,
        )


def _settings(words: Words, settings: Settings) -> Iterator[Setting]:
    meanings, changed = setting_meanings(words), chosen(settings)
    for one in listed(settings):
        name = one.variable.removeprefix(PREFIX).lower()
        yield Setting(one, meanings.get(name, one.meaning), one.variable in changed)
