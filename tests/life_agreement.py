"""What holds after every step of the account's life: the model, the API and the rows agree.

After every step all accounts, sessions, links, queued mails and events of the database are held
against `life_model`; what is found there in clear is looked for; and nobody who was erased may be
found anywhere.
"""

import hashlib
import uuid
from collections import Counter
from typing import Final

from hypothesis.stateful import invariant

from denizen.tokens.model import registration_id
from life_model import Model
from life_things import Account, Link, Session
from world import Machine, World, secret_of

PASSWORDS: Final = ("a fine long passphrase 77", "another long one 78", "third long one 79 wx")
TOO_SHORT: Final = "short"


class Agreement(Machine):
    """A world and the model of it, which a machine moves together."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.model = Model()
        self.opened: list[Session] = []  # ever, so that dead ones are tried as well
        self.mailed: list[Link] = []  # likewise
        self.gone: list[Account] = []
        self.key = ""

    @invariant()
    def accounts_agree(self) -> None:
        """The model, the rows and the API tell of the same people."""
        if not self.key:
            return
        expected = {
            account.id: (*account.facts(), account.version, account.erase_at is not None)
            for account in self.model.accounts
        }
        rows = self.world.rows(
            "SELECT id::text, email, username, role, is_active, email_verified_at IS NOT NULL,"
            " locale, version, erase_after IS NOT NULL FROM users"
        )
        assert {row[0]: row[1:] for row in rows} == expected
        shown = self.world.ask("GET", "/v1/users?limit=200", token=self.key).json()["items"]
        names = ("email", "username", "role", "is_active", "email_verified", "locale", "version")
        seen = {item["id"]: tuple(item[name] for name in names) for item in shown}
        assert seen == {key: facts[:-1] for key, facts in expected.items() if not facts[-1]}

    @invariant()
    def sessions_agree(self) -> None:
        """Live sessions are the model's, of nobody who could not sign in now."""
        rows = self.world.rows(
            "SELECT user_id::text, token_digest FROM sessions WHERE expires_at > :now"
            " AND last_seen_at > :now - interval '7 days'"
        )
        live = [one for one in self.model.sessions if self.model.is_live(one)]
        assert Counter(rows) == Counter((one.account.id, digest_of_text(one.text)) for one in live)
        assert all(one.account.can_sign_in for one in live)

    @invariant()
    def links_agree(self) -> None:
        """Links that work are the model's; one for each purpose and owner, but for the undoing."""
        rows = self.world.rows(
            "SELECT user_id::text, purpose, token_digest FROM tokens WHERE expires_at > :now"
        )
        live = list(self.model.live_links())
        assert Counter(rows) == Counter(
            (_owner(link), link.purpose, digest_of_text(link.text)) for link in live
        )
        alone = Counter((row[0], row[1]) for row in rows if row[1] != "email-undo")
        assert all(count == 1 for count in alone.values())

    @invariant()
    def outbox_agrees(self) -> None:
        """The mails that wait are the model's."""
        rows = self.world.rows(
            "SELECT id, kind, email, user_id::text FROM outbox WHERE next_try_at IS NOT NULL"
            " ORDER BY id"
        )
        waiting = self.model.outbox
        assert [row[1:] for row in rows] == [
            (mail.kind, mail.email, mail.account and mail.account.id) for mail in waiting
        ]
        for mail, row in zip(waiting, rows, strict=True):
            mail.id = row[0]

    @invariant()
    def audit_agrees(self) -> None:
        """Each act has its event, in order, and there is none without."""
        nobody = str(uuid.UUID(int=0))
        rows = self.world.rows(
            "SELECT user_id::text, action, coalesce(actor_id::text, actor_kind)"
            " FROM audit_events ORDER BY id"
        )
        assert rows == [
            (about.id if about else nobody, action, actor if isinstance(actor, str) else actor.id)
            for about, action, actor in self.model.events
        ]

    @invariant()
    def secrets_are_kept(self) -> None:
        """No password and no token stands in a table, nor half of one."""
        dump = self.world.dump()
        assert not any(password in dump for password in (*PASSWORDS, TOO_SHORT))
        for text in [one.text for one in self.opened] + [one.text for one in self.mailed]:
            assert text[-20:] not in dump
            assert secret_of(text).hex() not in dump

    @invariant()
    def the_erased_are_nowhere(self) -> None:
        """Of somebody who was erased there are but events that say no more than what was done."""
        if not self.gone:
            return
        dump = self.world.dump()
        assert not any(account.agent in dump for account in self.gone)
        ids = [uuid.UUID(account.id) for account in self.gone]
        tables = ("sessions", "known_networks", "tokens", "outbox")
        theirs = " UNION ALL ".join(f"SELECT user_id FROM {table}" for table in tables)
        told = "SELECT user_id FROM audit_events WHERE before || after <> '{}'"
        whole = f"SELECT user_id FROM ({theirs} UNION ALL {told}) t WHERE user_id = ANY($1)"
        assert not self.world.rows(whole, ids)


def digest_of_text(text: str) -> bytes:
    """Give what is stored of a token."""
    return hashlib.sha256(secret_of(text)).digest()


def _owner(link: Link) -> str:
    return str(registration_id(link.owner)) if isinstance(link.owner, str) else link.owner.id
