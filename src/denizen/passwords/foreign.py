"""Hashes that other programs made: recognised, weighed, and verified as they are.

Libraries do the computing: argon2-cffi, bcrypt, OpenSSL (`hashlib`), cryptography. Here stand the
forms in which Django, passlib, pwdlib (fastapi-users), Supabase and Firebase write them:

    argon2    $argon2id$v=19$m=…,t=…,p=…$salt$tag, also i and d; argon2$argon2id$… (Django)
    bcrypt    $2b$…, $2a$…, $2y$…; bcrypt$$2b$… (Django)
              over SHA-256: bcrypt_sha256$$2b$… (Django);
              $bcrypt-sha256$v=2,t=2b,r=…$salt$tag, $bcrypt-sha256$2b,…$salt$tag (passlib)
    pbkdf2    pbkdf2_sha256$rounds$salt$tag (Django); $pbkdf2-sha256$rounds$salt$tag (passlib);
              $pbkdf2-sha256$i=rounds$salt$tag (PHC)
    scrypt    scrypt$n$salt$r$p$tag (Django); $scrypt$ln=…,r=…,p=…$salt$tag (passlib, PHC)
    Firebase  $fbscrypt$v=1,n=…,r=…,p=1,ss=…,sk=…$salt$tag, as Supabase writes it

What a hash costs is told by its own parameters, before anything is computed. Beyond a second of a
core or 128 MiB it is refused at an import, and never computed.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import argon2
import bcrypt
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import error_to_str
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HEAVIEST_MEMORY: Final = 128 * 1024  # KiB
# 0.5 to 0.9 s each on a core of 2026 (`python -m bench.hashes`)
_HEAVIEST_ARGON2: Final = 1024 * 1024  # KiB times passes
_HEAVIEST_BCRYPT: Final = 14
_HEAVIEST_SCRYPT: Final = 3 * 2**20  # N times r times p
_HEAVIEST_PBKDF2: Final = {"sha1": 3_000_000, "sha256": 3_000_000, "sha512": 1_500_000}
_MOST_LANES: Final = 16  # each is a thread; a stored hash could ask for thousands
_BCRYPT_LONGEST: Final = 72  # bytes that bcrypt looks at
_NO_MEMORY: Final = error_to_str(-22)  # ARGON2_MEMORY_ALLOCATION_ERROR
_SHORTEST_TAG: Final = 16  # bytes; an empty tag would equal whatever is computed
_AES256_KEY: Final = 32


class StoredHash(Protocol):
    """A hash that was recognised."""

    @property
    def is_bearable(self) -> bool:
        """Whether one computation takes at most about a second and 128 MiB."""
        ...

    def matches(self, password: bytes) -> bool:
        """Whether it is the hash of that password; one computation.

        Raises:
            MemoryError: there is not enough; the password may be right.
        """
        ...


@dataclass(frozen=True, slots=True)
class Argon2Hash:
    """argon2 of any variant, as a PHC string; memory in KiB."""

    phc: str
    memory: int
    passes: int
    lanes: int

    @property
    def is_bearable(self) -> bool:
        """See `StoredHash`."""
        return is_bearable_argon2(self.memory, self.passes, self.lanes)

    def matches(self, password: bytes) -> bool:
        """See `StoredHash`."""
        try:
            return bool(argon2.PasswordHasher().verify(self.phc, password))
        except (VerificationError, InvalidHashError) as error:
            refuse_without_memory(error)
            return False


@dataclass(frozen=True, slots=True)
class BcryptHash:
    """bcrypt, of the password or of a digest that `prepare` makes of it."""

    mcf: str
    cost: int
    prepare: Callable[[bytes], bytes]

    @property
    def is_bearable(self) -> bool:
        """See `StoredHash`."""
        return self.cost <= _HEAVIEST_BCRYPT

    def matches(self, password: bytes) -> bool:
        """See `StoredHash`; a password of more than 72 bytes is wrong, and never cut to fit."""
        prepared = self.prepare(password)
        if len(prepared) > _BCRYPT_LONGEST:
            return False
        try:
            return bcrypt.checkpw(prepared, self.mcf.encode())
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Pbkdf2Hash:
    """PBKDF2 with HMAC of a digest."""

    digest: str
    rounds: int
    salt: bytes
    tag: bytes

    @property
    def is_bearable(self) -> bool:
        """See `StoredHash`."""
        blocks = -(-len(self.tag) // hashlib.new(self.digest).digest_size)
        return 1 <= self.rounds * blocks <= _HEAVIEST_PBKDF2[self.digest]

    def matches(self, password: bytes) -> bool:
        """See `StoredHash`."""
        length = len(self.tag)
        found = hashlib.pbkdf2_hmac(self.digest, password, self.salt, self.rounds, length)
        return hmac.compare_digest(found, self.tag)


@dataclass(frozen=True, slots=True)
class ScryptHash:
    """scrypt; with a signer key it is Firebase's: what is derived encrypts that key."""

    n: int
    r: int
    p: int
    salt: bytes
    tag: bytes
    signer_key: bytes | None = None

    @property
    def memory(self) -> int:
        """In bytes, by RFC 7914."""
        return 128 * self.r * (self.n + self.p)

    @property
    def is_bearable(self) -> bool:
        """See `StoredHash`."""
        is_defined = self.n > 1 and self.n & (self.n - 1) == 0 and self.r > 0 and self.p > 0
        is_defined = is_defined and self.n.bit_length() <= 16 * self.r
        is_light = self.n * self.r <= HEAVIEST_MEMORY * 1024 // 128
        return is_defined and is_light and self.n * self.r * self.p <= _HEAVIEST_SCRYPT

    def matches(self, password: bytes) -> bool:
        """See `StoredHash`."""
        try:
            found = hashlib.scrypt(
                password,
                salt=self.salt,
                n=self.n,
                r=self.r,
                p=self.p,
                maxmem=self.memory + 2**20,
                dklen=len(self.tag) if self.signer_key is None else _AES256_KEY,
            )
        except ValueError:  # nothing else is left to be wrong
            raise MemoryError from None
        if self.signer_key is not None:
            aes = Cipher(algorithms.AES256(found), modes.CTR(bytes(16))).encryptor()
            found = aes.update(self.signer_key) + aes.finalize()
        return hmac.compare_digest(found, self.tag)


def read_hash(text: str) -> StoredHash | None:
    """Recognise a hash; None for whatever is none, such as a password in plain text."""
    for pattern, make in _FORMS.items():
        if (found := pattern.fullmatch(text)) is not None:
            try:
                return make(found)
            except ValueError:
                return None
    return None


def refuse_without_memory(error: Exception) -> None:
    """Raise `MemoryError` if that is why argon2 gave up: to the library the hash is just wrong."""
    if error.args[:1] == (_NO_MEMORY,):
        raise MemoryError from None


def is_bearable_argon2(memory: int, passes: int, lanes: int) -> bool:
    """Whether argon2 of that cost may be computed: KiB, passes, lanes."""
    is_light = memory <= HEAVIEST_MEMORY and memory * passes <= _HEAVIEST_ARGON2
    return is_light and passes >= 1 and 1 <= lanes <= _MOST_LANES


def _argon2(found: re.Match[str]) -> StoredHash:
    memory, passes, lanes = (int(found[name]) for name in ("m", "t", "p"))
    return Argon2Hash(found["phc"], memory, passes, lanes)


def _bcrypt(found: re.Match[str]) -> StoredHash:
    prepare = _hex_digest if found["sha"] else bytes
    return BcryptHash(found["mcf"], int(found["cost"]), prepare)


def _bcrypt_sha256(found: re.Match[str]) -> StoredHash:
    """Read passlib's: from version 2 on the digest is keyed with the salt."""
    salt, cost = found["salt"], int(found["cost"])
    mcf = f"${found['kind']}${cost:02}${salt}{found['tag']}"
    key = salt.encode() if found["v"] else None
    return BcryptHash(mcf, cost, lambda password: _base64_digest(password, key))


def _pbkdf2(found: re.Match[str]) -> StoredHash:
    digest, rounds = found["digest"] or "sha1", int(found["rounds"])
    return Pbkdf2Hash(digest, rounds, _bytes(found["salt"]), _tag(found["tag"]))


def _pbkdf2_django(found: re.Match[str]) -> StoredHash:
    salt = found["salt"].encode()
    return Pbkdf2Hash(found["digest"], int(found["rounds"]), salt, _tag(found["tag"]))


def _scrypt(found: re.Match[str]) -> StoredHash:
    n, r, p = 1 << int(found["ln"]), int(found["r"]), int(found["p"])
    return ScryptHash(n, r, p, _bytes(found["salt"]), _tag(found["tag"]))


def _scrypt_django(found: re.Match[str]) -> StoredHash:
    n, r, p = (int(found[name]) for name in ("n", "r", "p"))
    return ScryptHash(n, r, p, found["salt"].encode(), _tag(found["tag"]))


def _firebase(found: re.Match[str]) -> StoredHash:
    salt = _bytes(found["salt"]) + _bytes(found["ss"] or "")
    n, r, tag = 1 << int(found["ln"]), int(found["r"]), _tag(found["tag"])
    return ScryptHash(n, r, 1, salt, tag, signer_key=_tag(found["sk"]))


def _hex_digest(password: bytes) -> bytes:
    return hashlib.sha256(password).hexdigest().encode()


def _base64_digest(password: bytes, key: bytes | None) -> bytes:
    digest = hashlib.sha256(password).digest()
    return base64.b64encode(digest if key is None else hmac.digest(key, password, "sha256"))


def _tag(text: str) -> bytes:
    tag = _bytes(text)
    if len(tag) < _SHORTEST_TAG:
        raise ValueError("too short to tell passwords apart")
    return tag


def _bytes(text: str) -> bytes:
    """Read base64 in any of the alphabets that are about, padded or not."""
    plain = text.rstrip("=").translate(_ALPHABET)
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(
        pattern.replace("<base64>", r"[A-Za-z0-9+/._-]+={0,2}"), re.ASCII | re.VERBOSE
    )


_ALPHABET: Final = str.maketrans("-_.", "+/+")
# bcrypt's 22 characters of salt hold two bits more than a salt has
_FORMS: Final[Mapping[re.Pattern[str], Callable[[re.Match[str]], StoredHash]]] = {
    _form(r"""(bcrypt\$ | bcrypt(?P<sha>_sha256)\$)?
        (?P<mcf> \$2[aby] \$(?P<cost>0[4-9]|[12][0-9]|3[01])
        \$[./A-Za-z0-9]{21}[.Oeu] [./A-Za-z0-9]{31})"""): _bcrypt,
    _form(r"""(argon2)? (?P<phc> \$argon2(id|i|d) (\$v=(16|19))?
        \$m=(?P<m>[0-9]{1,9}),t=(?P<t>[0-9]{1,9}),p=(?P<p>[0-9]{1,9})
        \$[A-Za-z0-9+/]+ \$[A-Za-z0-9+/]+)"""): _argon2,
    _form(r"""\$bcrypt-sha256 \$(?P<v>v=2,t=)?(?P<kind>2[ab]),(r=)?(?P<cost>[4-9]|[12][0-9]|3[01])
        \$(?P<salt>[./A-Za-z0-9]{21}[.Oeu]) \$(?P<tag>[./A-Za-z0-9]{31})"""): _bcrypt_sha256,
    _form(r"""pbkdf2_(?P<digest>sha1|sha256) \$(?P<rounds>[0-9]{1,9})
        \$(?P<salt>[!-#%-~]+) \$(?P<tag><base64>)"""): _pbkdf2_django,
    _form(r"""\$pbkdf2(-(?P<digest>sha1|sha256|sha512))? \$(i=)?(?P<rounds>[0-9]{1,9})(,l=[0-9]+)?
        \$(?P<salt><base64>) \$(?P<tag><base64>)"""): _pbkdf2,
    _form(r"""scrypt \$(?P<n>[0-9]{1,9}) \$(?P<salt>[!-#%-~]+)
        \$(?P<r>[0-9]{1,4}) \$(?P<p>[0-9]{1,4}) \$(?P<tag><base64>)"""): _scrypt_django,
    _form(r"""\$scrypt \$ln=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,4}),p=(?P<p>[0-9]{1,4})
        \$(?P<salt><base64>) \$(?P<tag><base64>)"""): _scrypt,
    _form(r"""\$fbscrypt \$v=1,n=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,4}),p=1
        (,ss=(?P<ss><base64>))?,sk=(?P<sk><base64>)
        \$(?P<salt><base64>) \$(?P<tag><base64>)"""): _firebase,
}
