"""Hashes that Django, passlib, pwdlib, Supabase and Firebase made, verified as they stand."""

import time
from collections.abc import AsyncIterator

import pytest

from denizen.passwords.foreign import read_hash
from denizen.passwords.hasher import PasswordHasher
from denizen.users.values import HASH_MAX

PASSWORD = "пароль correct horse battery"
# Made by Django 5.2, libpass 1.9 and pwdlib 0.3 (what fastapi-users uses).
MADE_ELSEWHERE = {
    "django pbkdf2_sha256": (
        "pbkdf2_sha256$10000$LDFeQ8TVGN3pfIcA8Uv7OJ$Avv8qUT7ZT3rxol0jKVxtJ+MJyhoy9tD9tVLgOFj1UY="
    ),
    "django pbkdf2_sha1": ("pbkdf2_sha1$10000$UWt52c3RAp4xiYhWxfhhrg$uNM5CiSYl9eXEY8ZfI7J9cD37q0="),
    "django argon2": (
        "argon2$argon2id$v=19$m=8192,t=2,p=2$WDVCS0kwVWpBa0pZczFZTlo4RFBzSA$ZPl0qQvwvsErh4dCrUDFvt2nrnPVmr4ioJwGu3/RYac"
    ),
    "django bcrypt_sha256": (
        "bcrypt_sha256$$2b$05$2W0FN29PildnZoNOYpECK.jSzATeYTPDXLd7LxxDv/4L8Erc39cti"
    ),
    "django bcrypt": ("bcrypt$$2b$05$HTlTt3gAUl.Vopli7Dmmbem.oT5MHn1FWh.CJgFrxdVJi6r1YaCIO"),
    "django scrypt": (
        "scrypt$2048$xiElQAYFqzb7nTx98j3F2s$8$5$Dhr330Ek5A7fTk/TGN71ZfMOR7XaVtzGtxusBLMzf7MRtqumQnCgm+1llEa6G/Pz0wT/uDjjc530ZB+bXwv9zg=="
    ),
    "passlib argon2i": (
        "$argon2i$v=19$m=8192,t=2,p=1$ZQwBoDRmbO3dO0dISQkhRA$Q4rF7dehM0q7K7cmFhcQEA95jblJtCwcD4pAi3GDmvA"
    ),
    "passlib argon2d": (
        "$argon2d$v=19$m=8192,t=2,p=1$R6g15twbg/B+by0FAIBQSg$9hSbT+3lQnSukw4pqqxVbI0fs7e7gODbZrTWj6/kCR0"
    ),
    "passlib bcrypt 2b": ("$2b$05$iMiDb7txSSmaZYxr53xgO.5vRFoy9uPr0234Ac5Zp16OPotdhSRaq"),
    "passlib bcrypt 2a": ("$2a$05$WEiEaSOURHsV/805tZzrsecbIBbeWxlCU.WdmvdqvkKsRMtFO5jEy"),
    "passlib bcrypt 2y": ("$2y$05$/5q2HYpzGaQoSh6v09dBwuqHPpA6Zb1pucZWNEbSbStXIgWZodEMm"),
    "passlib bcrypt_sha256": (
        "$bcrypt-sha256$v=2,t=2b,r=5$AeYuR85f9B8zBN17QlD11u$fQOZkixyjWczCgWeWHN.7s7IQlzk8wy"
    ),
    "passlib bcrypt_sha256 v1": (
        "$bcrypt-sha256$2b,5$YfYb7BlmP7fGXbucRW535.$eKzjh.51aE6CNwHwbuTgQPyJTVqkIBW"
    ),
    "passlib pbkdf2_sha1": ("$pbkdf2$5000$4vz/v3durbXWmpNSag1h7A$MjnCF04xiGMFKICd494JTMB3JJo"),
    "passlib pbkdf2_sha256": (
        "$pbkdf2-sha256$5000$sDZmDMG4l3KO8b4XQigFAA$C/wsXqtObc74aG1vnuQKbxlzYPKX7TeUqqULMQPR4dQ"
    ),
    "passlib pbkdf2_sha512": (
        "$pbkdf2-sha512$5000$xXhPSSmF0DqHcC5FSCnFGA$JU1t2ZvL0MQ/ryujXvtpJ0uls0LEE0GqIaWXYHUHPGeA9r.pAxJkI0RS91D1.hiywZahXg.IAM2mMAnsmXnQbQ"
    ),
    "passlib scrypt": (
        "$scrypt$ln=12,r=8,p=1$LqX03lurFSIkhDAmZAwhhA$39NuHPigS0RgH3wDVCQPK9UlxBNxxohrZbgRWZxi+08"
    ),
    "pwdlib argon2 (fastapi-users)": (
        "$argon2id$v=19$m=65536,t=3,p=4$D2rFr+i4AUC8K+ZQdNokBA$zedHlwr9qpQfzpc3fqCZkrqIkfyGRJU4RHeXZAVCWjE"
    ),
    "pwdlib bcrypt": ("$2b$05$oDNQujlUrxAMHbNpNrBBVeV7UAtZ1i9eVwPpauqk5Z43qbh0fGrcq"),
}
# The example of github.com/firebase/scrypt: the project's parameters and one exported user.
SIGNER_KEY = (
    "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
)
FIREBASE = (
    f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={SIGNER_KEY}$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6"
    "i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
)
BCRYPT_14 = "$2b$14$abcdefghijklmnopqrstuuW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6"
TAG = "Avv8qUT7ZT3rxol0jKVxtJ+MJyhoy9tD9tVLgOFj1UY="


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    """Give a pool of one thread."""
    found = PasswordHasher(slots=1)
    yield found
    found.close()


@pytest.mark.parametrize("stored", MADE_ELSEWHERE.values(), ids=MADE_ELSEWHERE)
async def test_foreign_hash_lets_its_own_password_in_alone(
    hasher: PasswordHasher, stored: str
) -> None:
    """Right is right, anything else is wrong; one computation of today's cost either way."""
    assert len(stored) <= HASH_MAX
    assert await hasher.verify(stored, PASSWORD)
    assert hasher.evaluations == 1
    for wrong in (PASSWORD + " ", PASSWORD.swapcase(), ""):
        assert not await hasher.verify(stored, wrong)
    assert hasher.evaluations == 4
    assert hasher.needs_rehash(stored)


async def test_firebase_hash_is_verified_with_its_parameters(hasher: PasswordHasher) -> None:
    """The published example; with another signer key or separator the same password is wrong."""
    assert await hasher.verify(FIREBASE, "user1password")
    assert not await hasher.verify(FIREBASE, "user2password")
    for other in (FIREBASE.replace("sk=j", "sk=k"), FIREBASE.replace("ss=Bw==", "ss=Cw==")):
        assert not await hasher.verify(other, "user1password")
    assert len(FIREBASE) <= HASH_MAX


@pytest.mark.parametrize(
    "stored",
    [
        "hunter2",
        "correct horse battery staple",
        "",
        "5f4dcc3b5aa765d61d8327deb882cf99",  # MD5
        "md5$abc$5f4dcc3b5aa765d61d8327deb882cf99",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        "$2b$12$tooshort",
        "$2b$03$abcdefghijklmnopqrstuuW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6",
        "$2x$12$abcdefghijklmnopqrstuuW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6",
        "$2b$12$abcdefghijklmnopqrstuzW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6",
        "pbkdf2_md5$1000$salt$" + TAG,
        "pbkdf2_sha256$١٠٠٠$salt$" + TAG,
        "pbkdf2_sha256$1000$salt$AAAA",
        "pbkdf2_sha256$1000$salt$",
        f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=AA==$42xEC+ixf3L2lw==${TAG}",
        " " + BCRYPT_14,
        BCRYPT_14 + "\n",
    ],
)
async def test_what_is_no_hash_matches_nothing(hasher: PasswordHasher, stored: str) -> None:
    """Plain text, other schemes, cut tags: not recognised, and no password, itself included."""
    assert read_hash(stored) is None
    for password in (stored, "", PASSWORD):
        assert not await hasher.verify(stored, password)


@pytest.mark.parametrize(
    ("heaviest", "too_heavy"),
    [
        (BCRYPT_14, BCRYPT_14.replace("$14$", "$15$")),
        (f"pbkdf2_sha256$3000000$salt${TAG}", f"pbkdf2_sha256$3000001$salt${TAG}"),
        (f"$pbkdf2-sha512$1500000$c2FsdA${TAG}", f"$pbkdf2-sha512$1500001$c2FsdA${TAG}"),
        (f"$pbkdf2$1500000$c2FsdA${TAG}", f"$pbkdf2$1500001$c2FsdA${TAG}"),  # two blocks of SHA-1
        (f"scrypt$131072$salt$8$3${TAG}", f"scrypt$131072$salt$8$4${TAG}"),
        (f"$scrypt$ln=17,r=8,p=1$c2FsdA${TAG}", f"$scrypt$ln=18,r=8,p=1$c2FsdA${TAG}"),
        (
            f"$argon2id$v=19$m=131072,t=8,p=4$c29tZXNhbHRzb21lc2FsdA${TAG[:-1]}",
            f"$argon2id$v=19$m=131073,t=1,p=4$c29tZXNhbHRzb21lc2FsdA${TAG[:-1]}",
        ),
        (FIREBASE.replace("n=14", "n=17"), FIREBASE.replace("n=14", "n=18")),
    ],
)
async def test_t_hash_cost_beyond_a_second_is_known_and_never_computed(
    hasher: PasswordHasher, heaviest: str, too_heavy: str
) -> None:
    """The heaviest that may be has a neighbour that is recognised, refused, and costs a dummy."""
    light, heavy = read_hash(heaviest), read_hash(too_heavy)
    assert light is not None
    assert light.is_bearable
    assert heavy is not None
    assert not heavy.is_bearable
    began = time.process_time()

    assert not await hasher.verify(too_heavy, PASSWORD)

    assert time.process_time() - began < 0.2
    assert hasher.evaluations == 1


@pytest.mark.parametrize(
    "stored",
    ["scrypt$16383$salt$8$1$" + TAG, "scrypt$1$salt$8$1$" + TAG, "scrypt$65536$salt$1$1$" + TAG],
)
def test_scrypt_with_an_undefined_cost_is_not_bearable(stored: str) -> None:
    """N is a power of two above one; the library would raise."""
    found = read_hash(stored)

    assert found is not None
    assert not found.is_bearable


async def test_t_hash_5_bcrypt_never_takes_the_first_72_bytes_for_the_whole(
    hasher: PasswordHasher,
) -> None:
    """A password of 73 bytes is not let in by the hash of its first 72."""
    # of "x" * 72, made by bcrypt 5.0
    stored = "$2b$04$akOh1e46VozXIUKTww.mwub0bqJ9n4fJLewFr8y37GzmEg7sUH4xu"
    assert await hasher.verify(stored, "x" * 72)
    assert not await hasher.verify(stored, "x" * 73)
    assert not await hasher.verify(stored, "x" * 200)
