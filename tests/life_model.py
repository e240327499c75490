"""The account's life in plain Python: what the service must do, without a database or a clock.

Every act gives the status of its answer, and changes the model when that is a success. Mails that
wait, links that work and sessions that live are lists; what ends is taken out. Events are listed in
the order of the acts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from life_things import (
    DAY,
    GRACE,
    IDLE,
    LIFE,
    LINKS_IN,
    MAILS_IN,
    NAMED,
    PURPOSE,
    Account,
    Due,
    Link,
    Mail,
    Session,
)


@dataclass(eq=False, slots=True)
class Model:
    """All that there is."""

    now: timedelta = timedelta(0)
    accounts: list[Account] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    outbox: list[Mail] = field(default_factory=list)
    # whom an event is about, what was done, and who did it
    events: list[tuple[Account | None, str, Account | str]] = field(default_factory=list)
    serial: int = 0

    # what is

    def by_email(self, email: str) -> Account | None:
        """Give who has that address."""
        key = email.casefold()
        return next((one for one in self.accounts if one.key == key), None)

    def by_username(self, username: str) -> Account | None:
        """Give who has that name."""
        name = username.casefold()
        return next((one for one in self.accounts if one.username.casefold() == name), None)

    def is_live(self, session: Session) -> bool:
        """Whether a session opens anything."""
        is_young = self.now - session.began < GRACE and self.now - session.seen < IDLE
        return session in self.sessions and is_young

    def works(self, link: Link, purpose: str) -> bool:
        """Whether a link works for that."""
        return link in self.links and link.purpose == purpose and self.now < link.until

    def live_links(self) -> Iterator[Link]:
        """Give the links that would work."""
        return (link for link in self.links if self.works(link, link.purpose))

    def admins(self) -> list[Account]:
        """Give the active admins."""
        return [one for one in self.accounts if one.role == "admin" and one.is_open]

    # small steps

    def _event(self, about: Account | None, action: str, actor: Account | str) -> None:
        self.events.append((about, action, actor))

    def _queue(self, kind: str, email: str, account: Account | None = None) -> None:
        self.serial += 1
        self.outbox.append(Mail(self.serial, kind, email, account))

    def _void(self, owner: Account | str, *purposes: str) -> None:
        self.links = [
            one for one in self.links if one.owner != owner or (one.purpose not in purposes)
        ]

    def _void_ways_in(self, account: Account, key: str) -> None:
        self.outbox = [
            one
            for one in self.outbox
            if one.kind not in MAILS_IN
            or (one.account is not account and one.email.casefold() != key)
        ]
        self._void(account, *LINKS_IN)

    def _end_sessions(self, account: Account, but: Session | None = None) -> None:
        self.sessions = [one for one in self.sessions if one.account is not account or one is but]

    def _seen(self, session: Session) -> bool:
        if not self.is_live(session):
            return False
        session.seen = self.now
        return True

    def new_account(self, email: str, username: str, password: str | None) -> Account:
        """Add an account."""
        self.serial += 1
        account = Account(self.serial, email, username, password)
        self.accounts.append(account)
        return account

    # strangers' forms

    def form(self, kind: str, email: str) -> int:
        """A public form asks for a mail."""
        self._queue(kind, email)
        return 202

    def confirm_registration(self, link: Link, username: str, *, is_good: bool) -> int:
        """The owner of a mailbox makes an account; `new_account` follows a success."""
        if not self.works(link, "registration"):
            return 400
        if not is_good:
            return 422
        if self.by_email(link.email):
            return 400
        return 409 if self.by_username(username) else 201

    def registered(self, link: Link, username: str, password: str) -> Account:
        """Note that it was made."""
        account = self.new_account(link.email, username, password)
        self._void(link.owner, "registration")
        self._event(account, "user.registered", account)
        return account

    def confirm_verification(self, link: Link) -> int:
        """The owner of a mailbox confirms it."""
        account = link.owner
        if not self.works(link, "email-verification") or not isinstance(account, Account):
            return 400
        if not account.is_active or link.email.casefold() != account.key:
            return 400
        self.links.remove(link)
        account.verified = True
        account.version += 1
        self._event(account, "email.verified", account)
        return 204

    def confirm_reset(self, link: Link, password: str, *, is_good: bool) -> int:
        """The owner of a mailbox sets a password."""
        account = link.owner
        if not self.works(link, "password-reset") or not isinstance(account, Account):
            return 400
        if not account.is_open:
            return 400
        if not is_good:
            return 422
        account.verified = True
        self._set_password(account, password, account)
        return 204

    def confirm_change(self, link: Link) -> int:
        """The owner of a new mailbox confirms that an account moves to it."""
        account = link.owner
        if not self.works(link, "email-change") or not isinstance(account, Account):
            return 400
        if not account.is_active:
            return 400
        if self.by_email(link.email) not in {None, account}:
            return 409
        first = self._first_undo(account, link.email)
        self._void_ways_in(account, account.key)
        account.email, account.verified = link.email, True
        account.version += 1
        if first is not None:
            self._void_undos(account, first)
        self._event(account, "email.changed", account)
        return 204

    def undo_change(self, link: Link) -> int:
        """The owner of a former mailbox takes the account back."""
        account = link.owner
        if not self.works(link, "email-undo") or not isinstance(account, Account):
            return 400
        if not account.is_active:
            return 400
        if self.by_email(link.email) not in {None, account}:
            return 409
        self._void_ways_in(account, account.key)
        self._void_undos(account, link.request)
        account.email, account.verified = link.email, True
        account.version += 1
        self._queue("email_change_undone", account.email, account)
        if account.erase_at is not None:
            self._keep(account)
        self._event(account, "email.change_undone", account)
        return 204

    def _first_undo(self, account: Account, email: str) -> int | None:
        key = email.casefold()
        return min(
            (
                link.request
                for link in self.live_links()
                if link.owner is account
                and link.purpose == "email-undo"
                and link.email.casefold() == key
            ),
            default=None,
        )

    def _void_undos(self, account: Account, since: int) -> None:
        self.links = [
            one
            for one in self.links
            if one.owner is not account or one.purpose != "email-undo" or one.request < since
        ]
        self._void_notices(account, since)

    def _void_notices(self, account: Account, since: int = 0) -> None:
        self.outbox = [
            one
            for one in self.outbox
            if one.account is not account or one.kind != "email_changing" or one.number < since
        ]

    def undo_deletion(self, link: Link) -> int:
        """The owner of the mailbox keeps the account."""
        account = link.owner
        if not self.works(link, "deletion-undo") or not isinstance(account, Account):
            return 400
        if account.erase_at is None:
            return 400
        self.links.remove(link)
        self._keep(account)
        return 204

    def _keep(self, account: Account) -> None:
        account.erase_at = None
        account.version += 1
        self._event(account, "user.deletion_undone", account)

    # sessions

    def sign_in(self, email: str, password: str) -> int:
        """Sign in; a `Session` follows a success."""
        account = self.by_email(email)
        is_right = account is not None and account.password == password
        if account is not None and is_right and account.can_sign_in:
            self._event(account, "session.started", account)
            return 201
        self._event(account, "session.refused", "anonymous")
        if account is not None and is_right and not account.verified:
            self._queue("email_verification", account.email)
        return 401

    def signed_in(self, email: str, text: str) -> Session:
        """Note the session."""
        account = self.by_email(email)
        assert account is not None
        session = Session(account, self.now, self.now, text)
        self.sessions.append(session)
        return session

    def who(self, session: Session) -> int:
        """Ask who one is."""
        return 200 if self._seen(session) else 401

    def end_session(self, mine: Session, other: Session) -> int:
        """End a session of one's own."""
        if not self._seen(mine):
            return 401
        if other not in self.sessions or other.account is not mine.account:
            return 404
        self.sessions.remove(other)
        self._event(mine.account, "session.ended", mine.account)
        return 204

    def end_all(self, mine: Session) -> int:
        """Sign out everywhere."""
        if not self._seen(mine):
            return 401
        self._end_sessions(mine.account)
        self._event(mine.account, "session.all_ended", mine.account)
        return 204

    # one's own account

    def rename(self, mine: Session, username: str, locale: str) -> int:
        """Change one's name and language."""
        if not self._seen(mine):
            return 401
        account = mine.account
        if self.by_username(username) not in {None, account}:
            return 409
        before = account.facts()
        account.username, account.locale = username, locale
        if account.facts() != before:
            account.version += 1
            self._event(account, "user.updated", account)
        return 200

    def _asked_again(self, mine: Session, password: str | None) -> int:
        if not self._seen(mine):
            return 401
        if mine.account.password == password:
            return 0
        self._event(mine.account, "password.refused", mine.account)
        return 403

    def change_password(
        self, mine: Session, current: str | None, password: str, *, is_good: bool
    ) -> int:
        """Change one's password."""
        refused = self._asked_again(mine, current)
        if refused or not is_good:
            return refused or 422
        self._set_password(mine.account, password, mine.account, keep=mine)
        return 204

    def _set_password(
        self, account: Account, password: str, actor: Account, keep: Session | None = None
    ) -> None:
        account.password = password
        account.version += 1
        self._end_sessions(account, keep)
        self._void_ways_in(account, account.key)
        self._queue("password_changed", account.email, account)
        self._event(account, "password.changed", actor)

    def change_email(self, mine: Session, email: str, password: str | None) -> int:
        """Ask for another address."""
        if refused := self._asked_again(mine, password):
            return refused
        account = mine.account
        self._queue("email_change", email, account)
        self._queue("email_changing", account.email, account)
        self._event(account, "email.change_requested", account)
        return 202

    def delete_me(self, mine: Session, password: str | None) -> int:
        """Ask to be erased."""
        if refused := self._asked_again(mine, password):
            return refused
        if self.admins() == [mine.account]:
            return 409
        self._put_to_erase(mine.account, mine.account)
        return 202

    def _put_to_erase(self, account: Account, actor: Account) -> None:
        account.erase_at = self.now + GRACE
        account.version += 1
        self._end_sessions(account)
        self._void_ways_in(account, account.key)
        self._void(account, "deletion-undo")
        self._queue("deletion", account.email, account)
        self._event(account, "user.deletion_requested", actor)

    # admins

    def may_administer(self, mine: Session) -> int:
        """Whether one may change other people: 0, or the refusal."""
        if not self._seen(mine):
            return 401
        return 0 if mine.account.role == "admin" else 403

    def may_create(self, mine: Session, email: str, username: str) -> int:
        """Whether an admin may create such a user."""
        if refused := self.may_administer(mine):
            return refused
        return 409 if self.by_email(email) or self.by_username(username) else 201

    def created(self, mine: Session, body: dict[str, Any]) -> Account:
        """Note that an admin has created a user."""
        account = self.new_account(body["email"], body["username"], body.get("password"))
        account.role, account.is_active = body["role"], body["is_active"]
        account.verified = body["email_verified"]
        self._event(account, "user.created", mine.account)
        self._welcome(account)
        return account

    def _welcome(self, account: Account) -> None:
        if account.password is None:
            self._queue("invitation", account.email, account)
        elif not account.verified:
            self._queue("email_verification", account.email, account)

    def patch(
        self, mine: Session, account: Account, changes: dict[str, Any], *, is_stale: bool
    ) -> int:
        """An admin changes a user."""
        if refused := self.may_administer(mine):
            return refused
        lowers = changes.get("role", "admin") != "admin" or not changes.get("is_active", True)
        if lowers and self.admins() == [account]:
            return 409
        if account not in self.accounts or account.erase_at is not None:
            return 404
        if is_stale:
            return 412
        for find, name in ((self.by_email, "email"), (self.by_username, "username")):
            if name in changes and find(changes[name]) not in {None, account}:
                return 409
        self._apply(mine.account, account, changes)
        return 200

    def _apply(self, actor: Account, account: Account, changes: dict[str, Any]) -> None:
        before, key, old = account.facts(), account.key, (account.email, account.verified)
        account.email = changes.get("email", account.email)
        is_moved = account.key != key
        account.verified = changes.get("email_verified", account.verified and not is_moved)
        account.username = changes.get("username", account.username)
        account.role = changes.get("role", account.role)
        account.is_active = changes.get("is_active", account.is_active)
        if not account.can_sign_in:
            self._end_sessions(account)
        if changes.get("is_active") is False:
            self._void_ways_in(account, account.key)
        if is_moved:
            self._void_notices(account)
            self._void_ways_in(account, account.key)
            self._void(account, "email-undo")
            if old[1]:
                self._queue("email_moved", old[0], account)
            self._welcome(account)
        if account.facts() != before:
            account.version += 1
            self._event(account, "user.updated", actor)

    def delete(self, mine: Session, account: Account, *, at_once: bool) -> int:
        """An admin has a user erased."""
        if refused := self.may_administer(mine):
            return refused
        if self.admins() == [account]:
            return 409
        if account not in self.accounts or (account.erase_at is not None and not at_once):
            return 404
        if at_once:
            self.erase(account, mine.account)
        else:
            self._put_to_erase(account, mine.account)
        return 204

    # time

    def erase(self, account: Account, actor: Account | str) -> None:
        """Somebody is no more."""
        self.accounts.remove(account)
        self._end_sessions(account)
        self.links = [one for one in self.links if one.owner not in {account, account.key}]
        self.outbox = [
            one
            for one in self.outbox
            if one.account is not account and one.email.casefold() != account.key
        ]
        self._event(account, "user.erased", actor)

    def due_for_erasure(self) -> list[Account]:
        """Give whose grace is over, the longest over first."""
        due = [
            one for one in self.accounts if one.erase_at is not None and one.erase_at <= self.now
        ]
        return sorted(due, key=lambda one: one.erase_at or self.now)

    # the post

    def deliver(self) -> list[Due]:
        """Send what waits."""
        waiting, self.outbox = self.outbox, []
        return [due for mail in waiting if (due := self._due(mail)) is not None]

    def _due(self, mail: Mail) -> Due | None:
        account = mail.account or self.by_email(mail.email)
        kind = mail.kind
        if kind == "email_change" and self.by_email(mail.email) not in {None, account}:
            account, kind = self.by_email(mail.email), "registration_known"
        elif kind == "registration" and account is not None:
            kind = "registration_known"
        if not _makes_sense(kind, account):
            return None
        is_named = account is None or kind in NAMED
        to = mail.email if is_named or account is None else account.email
        if kind not in PURPOSE:
            return Due(mail, to, None)
        return self._issue(mail, to, account or mail.email.casefold())

    def _issue(self, mail: Mail, to: str, owner: Account | str) -> Due:
        purpose = PURPOSE[mail.kind]
        life = DAY if mail.kind == "invitation" else LIFE.get(purpose, timedelta(hours=1))
        link = Link(purpose, owner, mail.number, mail.email, self.now + life)
        if purpose != "email-undo":
            self._void(owner, purpose)
        self.links.append(link)
        return Due(mail, to, link)


def _makes_sense(kind: str, account: Account | None) -> bool:
    if account is None:
        return kind == "registration"
    if kind == "email_verification":
        return account.is_open and not account.verified
    if kind in {"invitation", "password_reset", "email_change", "email_change_undone"}:
        return account.is_open
    return kind != "deletion" or account.erase_at is not None
