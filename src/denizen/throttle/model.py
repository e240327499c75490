"""The limits, and the table of their buckets beside a users table.

A limit gives each value (a network, an account) a bucket of `burst` tokens; a try takes one, and
one comes back every `refill`. One instant says all of it: when the bucket will be full again. It
moves `refill` further with every token, may not lie further than `burst` times `refill` ahead, and
once it has passed, the row says nothing any more (the generic cell rate algorithm, ITU-T I.371;
decision 0006).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Column, DateTime, LargeBinary, Table
from sqlalchemy.schema import SchemaItem

from denizen.db.model import companion


@dataclass(frozen=True, slots=True)
class Limit:
    """How many tries of one kind: `burst` at once, then one every `refill`."""

    name: str
    burst: int
    refill: timedelta

    def bucket(self, value: str) -> bytes:
        """Give the key of a value's bucket.

        A digest, so that the table is no list of addresses; who guesses one can still look it up.
        """
        return hashlib.sha256(f"{self.name}\0{value}".encode()).digest()


# Tries from one client, right or wrong. An office or a school behind one address signs in at nine
# o'clock; 30 a minute after that is what django-allauth allows.
SIGN_IN_NETWORK: Final = Limit("sign_in_network", 100, timedelta(seconds=2))

# Tries from one IPv6 site (RFC 6177), right or wrong: whoever has a /48 has 65,536 networks, and as
# much is taken from them as from ten that are busy.
SIGN_IN_SITE: Final = Limit("sign_in_site", 1000, timedelta(milliseconds=200))

# Tries at one account from one client, `f"{account} {network}"`. Nobody mistypes ten times in a
# row, and a program is held to two a minute here long before the network's own limit.
SIGN_IN_PAIR: Final = Limit("sign_in_pair", 10, timedelta(seconds=30))

# Tries at one account from networks that it has never been signed in from; cleared by a good
# sign-in or a reset, so it counts failures in a row. NIST SP 800-63B-4, 3.2.2: at most 100, then
# another way in. One a month comes back only so that rows of guessed addresses end some day.
SIGN_IN_ACCOUNT: Final = Limit("sign_in_account", 100, timedelta(days=30))

# Tries at one account from one network that it has been signed in from, `f"{account} {network}"`:
# paid in place of the above, so that the same is written whether or not anybody signs in there, and
# so that a colleague behind the same address guesses a hundred times a day, and not three thousand.
SIGN_IN_KNOWN: Final = Limit("sign_in_known", 100, timedelta(minutes=15))

# The password asked for again of whoever is signed in, from wherever; cleared alike. Who stole a
# session may come from as many networks as they like.
AGAIN_ACCOUNT: Final = Limit("again_account", 100, timedelta(days=30))

# Changes of one's own password, each of which voids the links that were asked for to set another:
# who stole the password can't keep the owner from getting it back.
PASSWORD_CHANGE: Final = Limit("password_change", 10, timedelta(minutes=6))

# Public forms that send mail, from one client: a class that registers together passes, and a
# program sends 20 a minute.
FORM_NETWORK: Final = Limit("form_network", 60, timedelta(seconds=3))

# Mails of one purpose to one address, `f"{purpose} {address}"`: somebody who waits for a mail asks
# again a few times; a mailbox that somebody else wants filled gets five an hour.
MAIL_ADDRESS: Final = Limit("mail_address", 5, timedelta(minutes=12))


@companion("throttles")
def throttles_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the table of buckets in the metadata of a users table.

    An ordinary logged table: limits survive a crash of the database.
    """
    del users, name
    yield Column("key", LargeBinary(32), primary_key=True)
    # no index: every try moves it, and only the purge looks for it
    yield Column("full_at", DateTime(timezone=True), nullable=False)
