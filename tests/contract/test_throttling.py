"""Limits on tries, against a running service: what reaches the hasher, and who still gets in."""

import asyncio
import email
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from email.policy import default
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from denizen.app import Denizen, create_app
from denizen.settings import Settings
from denizen.throttle.model import (
    FORM_NETWORK,
    MAIL_ADDRESS,
    SIGN_IN_ACCOUNT,
    SIGN_IN_KNOWN,
    SIGN_IN_NETWORK,
    SIGN_IN_PAIR,
)
from denizen.users.model import UserModel
from mailserver import link_in
from running import calling_from, listening
from support import PASSWORD, Api, a_user

HOME: Final = "127.77.0.1"  # where the owner has signed in before
WRONG: Final = "wrong " + PASSWORD
SPELLINGS: Final = (
    "ann@example.com",
    "ANN@example.com",
    "aNn@EXAMPLE.COM",
    "ann@example.com",
    "Ann@Example.Com",
)
SPOOFS: Final = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP")


@pytest.fixture
async def service(app: FastAPI) -> AsyncIterator[str]:
    """Run the app on a socket and give its address."""
    async with listening(app) as url:
        yield url


async def _try(client: httpx.AsyncClient, email: str, password: str = WRONG, **more: Any) -> int:
    body = {"email": email, "password": password}
    answer = await client.post("/v1/sessions", json=body, **more)
    return answer.status_code


async def _try_from(url: str, address: str, email: str, password: str = WRONG) -> int:
    async with calling_from(address, url) as client:
        return await _try(client, email, password)


def _spoofed(number: int) -> dict[str, str]:
    """Give headers in which a client claims to be somebody else, another one each time."""
    claimed = f"10.{number % 250}.{number // 250}.7"
    return {name: f"for={claimed}" if name == "Forwarded" else claimed for name in SPOOFS}


@pytest.mark.full_hashes
async def test_t_thr_1_thousand_wrong_sign_ins_reach_the_hasher_a_hundred_times(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """Over spellings, headers and a hundred addresses: at most the hundred of the account.

    The owner gets in from where they were before (T-THR-2).
    """
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    assert await _try_from(service, HOME, "ann@example.com", PASSWORD) == 201
    before = denizen.hasher.evaluations

    async def guess(network: int) -> Counter[int]:
        async with calling_from(f"127.9.{network}.1", service) as client:
            return Counter(
                [
                    await _try(client, next(spelling), headers=_spoofed(next(numbers)))
                    for _ in range(10)
                ]
            )

    spelling, numbers = itertools.cycle(SPELLINGS), itertools.count()
    told = sum(await asyncio.gather(*map(guess, range(100))), Counter[int]())

    assert SIGN_IN_ACCOUNT.burst / 2 < denizen.hasher.evaluations - before <= SIGN_IN_ACCOUNT.burst
    assert told[401] + told[503] == 1000  # 503: the hash queue was full
    assert await _try_from(service, HOME, "ann@example.com", PASSWORD) == 201


async def test_t_thr_1_many_from_one_address_reach_it_ten_times(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """One client, one account: ten, and then 429 with the time to wait, whatever it claims."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    before, seconds = denizen.hasher.evaluations, asyncio.get_running_loop().time

    began = seconds()
    async with calling_from("127.1.1.1", service) as client:
        told = Counter(
            [
                await _try(client, SPELLINGS[n % len(SPELLINGS)], headers=_spoofed(n))
                for n in range(150)
            ]
        )
        refused = await client.post("/v1/sessions", json={"email": SPELLINGS[0], "password": "x"})

    came_back = int((seconds() - began) / SIGN_IN_PAIR.refill.total_seconds())
    assert SIGN_IN_PAIR.burst <= told[401] <= SIGN_IN_PAIR.burst + came_back
    assert denizen.hasher.evaluations - before == told[401]
    assert told[401] + told[429] == 150
    assert 1 <= int(refused.headers["retry-after"]) <= SIGN_IN_PAIR.refill.total_seconds()


async def test_t_thr_1_twenty_accounts_from_one_address_share_its_limit(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """Tries over twenty accounts: the network's hundred and what comes back."""
    emails = [f"victim{n}@example.com" for n in range(20)]
    seconds = asyncio.get_running_loop().time

    began, before = seconds(), denizen.hasher.evaluations
    async with calling_from("127.1.1.2", service) as client:
        told = Counter([await _try(client, emails[n % 20]) for n in range(160)])

    came_back = int((seconds() - began) / SIGN_IN_NETWORK.refill.total_seconds()) + 1
    assert denizen.hasher.evaluations - before <= SIGN_IN_NETWORK.burst + came_back
    assert told[429] >= 160 - SIGN_IN_NETWORK.burst - came_back


async def test_t_thr_3_one_password_over_many_accounts_is_held_by_the_network(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """Spraying meets no account's limit, so the client's own one holds it."""
    seconds = asyncio.get_running_loop().time
    began, before = seconds(), denizen.hasher.evaluations

    async with calling_from("127.1.1.3", service) as client:
        told = Counter([await _try(client, f"victim{n}@example.com") for n in range(160)])

    came_back = int((seconds() - began) / SIGN_IN_NETWORK.refill.total_seconds()) + 1
    assert denizen.hasher.evaluations - before <= SIGN_IN_NETWORK.burst + came_back
    assert told[429] >= 160 - SIGN_IN_NETWORK.burst - came_back


async def test_t_thr_2_good_sign_in_of_another_account_gives_the_network_nothing_back(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """Who guesses clears with an own account its own counter, and neither network nor victim."""
    await a_user(denizen, email="mallory@example.com", password=PASSWORD)
    async with calling_from("127.1.1.4", service) as client:
        for _ in range(SIGN_IN_PAIR.burst):
            assert await _try(client, "ann@example.com") == 401
        assert await _try(client, "mallory@example.com", PASSWORD) == 201

        assert await _try(client, "ann@example.com") == 429
    pairs = [f"{name}@example.com 127.1.1.4" for name in ("ann", "mallory")]
    table = denizen.sessions._parts.tables.throttles
    async with denizen.db.get_session(read_only=True) as db:
        left = set(await db.scalars(select(table.c.key)))
    assert SIGN_IN_NETWORK.bucket("127.1.1.4") in left
    assert [SIGN_IN_PAIR.bucket(pair) in left for pair in pairs] == [True, False]


async def test_t_thr_9_after_a_hundred_failures_the_reset_opens_and_clears(
    service: str, denizen: Denizen[UserModel], anonymous: Api
) -> None:
    """A right password is refused then, the link is mailed all the same, and all is well after."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    for n in range(SIGN_IN_ACCOUNT.burst // SIGN_IN_PAIR.burst):
        async with calling_from(f"127.2.{n}.1", service) as client:
            assert [await _try(client, "ann@example.com") for _ in range(10)] == [401] * 10
    before = denizen.hasher.evaluations
    assert await _try_from(service, "127.3.0.1", "ann@example.com", PASSWORD) == 401
    assert denizen.hasher.evaluations == before

    new = "another " + PASSWORD
    async with calling_from("127.3.0.1", service) as client:
        await client.post("/v1/password-resets", json={"email": "ann@example.com"})
        token = await _mailed_token(denizen)
        body = {"token": token, "password": new}
        assert (await client.post("/v1/password-resets/confirm", json=body)).status_code == 204

        assert await _try(client, "ann@example.com", new) == 201
    assert await _try_from(service, "127.3.0.2", "ann@example.com") == 401
    assert await _try_from(service, "127.3.0.2", "ann@example.com", new) == 201


async def test_t_thr_9_known_network_is_held_to_a_hundred_and_let_in_again(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """From the owner's own network nobody guesses without end; an hour later the owner is in."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    assert await _try_from(service, HOME, "ann@example.com", PASSWORD) == 201
    before = denizen.hasher.evaluations
    async with calling_from(HOME, service) as client:
        for round_ in range(12):  # each time as many tokens of the pair as it can hold are back
            denizen.clock.skew = round_ * SIGN_IN_PAIR.burst * SIGN_IN_PAIR.refill
            for _ in range(SIGN_IN_PAIR.burst):
                assert await _try(client, "ann@example.com") == 401
    guessed = denizen.hasher.evaluations - before

    came_back = denizen.clock.skew // SIGN_IN_KNOWN.refill
    assert SIGN_IN_KNOWN.burst <= guessed <= SIGN_IN_KNOWN.burst + came_back + 1
    denizen.clock.skew = timedelta(hours=2)
    assert await _try_from(service, HOME, "ann@example.com", PASSWORD) == 201


async def test_t_thr_4_spoofed_headers_open_no_bucket(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """A thousand claimed addresses are one client, for the forms, too."""
    async with calling_from("127.1.1.5", service) as client:
        told = Counter[int]()
        for n in range(200):
            body = {"email": f"v{n}@example.com"}
            answer = await client.post("/v1/registrations", json=body, headers=_spoofed(n))
            told[answer.status_code] += 1
    assert FORM_NETWORK.burst <= told[202] <= FORM_NETWORK.burst + 20
    assert told[202] + told[429] == 200


async def test_t_thr_5_mailbox_gets_five_mails_of_a_kind_and_one_every_twelve_minutes(
    service: str, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Whoever asks, from however many addresses, in whatever spelling: nobody's box is filled."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)

    async def ask(network: int) -> set[int]:
        async with calling_from(f"127.5.{network}.1", service) as client:
            found = set()
            for path in ("registrations", "password-resets", "email-verifications"):
                for spelling in SPELLINGS:
                    answer = await client.post(f"/v1/{path}", json={"email": spelling})
                    found.add(answer.status_code)
            return found

    told = await asyncio.gather(*map(ask, range(4)))
    assert set.union(*told) == {202}
    # confirmed, so there is none to verify; one that a later one has overtaken is not sent
    assert 2 <= await _mails(denizen, settings) <= 2 * MAIL_ADDRESS.burst

    denizen.clock.skew = timedelta(hours=1)
    await asyncio.gather(*map(ask, range(4)))
    assert 4 <= await _mails(denizen, settings) <= 2 * (MAIL_ADDRESS.burst + 5)


async def test_t_thr_5_change_of_address_bombs_nobody(
    service: str, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Two people who are signed in can't fill a third one's mailbox."""
    for name in ("mallory", "eve"):
        await a_user(denizen, email=f"{name}@example.com", password=PASSWORD)
        async with calling_from(f"127.6.0.{len(name)}", service) as client:
            body = {"email": f"{name}@example.com", "password": PASSWORD}
            token = (await client.post("/v1/sessions", json=body)).json()["token"]
            for _ in range(9):
                body = {"email": "ann@example.com", "password": PASSWORD}
                headers = {"Authorization": f"Bearer {token}"}
                await client.post("/v1/me/email", json=body, headers=headers)
    while await denizen.mail.send_due():
        pass

    to_ann = [p for p in settings.mail_folder.glob("*.eml") if b"To: ann@" in p.read_bytes()]
    assert 0 < len(to_ann) <= MAIL_ADDRESS.burst


async def test_t_thr_6_two_workers_share_the_limits(
    service: str, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Two services on one database let no more through than one."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    other = create_app(settings)
    second: Denizen[UserModel] = other.state.denizen
    await second.start()
    before = denizen.hasher.evaluations
    async with (
        listening(other) as url,
        calling_from("127.1.1.6", service) as here,
        calling_from("127.1.1.6", url) as there,
    ):
        tries = [_try(client, "ann@example.com") for client in [here, there] * 20]
        told = Counter(await asyncio.gather(*tries))
    computed = denizen.hasher.evaluations - before + second.hasher.evaluations
    await second.stop()

    assert told[401] == computed == SIGN_IN_PAIR.burst
    assert told[429] == 40 - SIGN_IN_PAIR.burst


async def test_t_thr_7_restart_forgets_no_failure(
    settings: Settings,
) -> None:
    """The limits stand in the database: a new process goes on counting."""
    app = create_app(settings)
    denizen: Denizen[UserModel] = app.state.denizen
    await denizen.start()
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    async with listening(app) as url, calling_from("127.1.1.7", url) as client:
        for _ in range(SIGN_IN_PAIR.burst):
            assert await _try(client, "ann@example.com") == 401
    await denizen.stop()
    again = create_app(settings)
    await again.state.denizen.start()
    async with listening(again) as url, calling_from("127.1.1.7", url) as client:
        told = await _try(client, "ann@example.com")
    await again.state.denizen.stop()

    assert told == 429
    assert again.state.denizen.hasher.evaluations == 0


@pytest.mark.full_hashes
async def test_t_thr_8_two_hundred_at_once_reach_the_hasher_ten_times(
    service: str, denizen: Denizen[UserModel]
) -> None:
    """A race for the last token has no more winners than there are tokens; nobody gets a 500."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    before = denizen.hasher.evaluations

    async with calling_from("127.1.1.8", service) as client:
        told = Counter(await asyncio.gather(*[_try(client, "ann@example.com") for _ in range(200)]))

    assert denizen.hasher.evaluations - before == told[401] == SIGN_IN_PAIR.burst
    assert told[401] + told[429] + told[503] == 200


async def test_t_ses_6_t_pw_6_password_asked_for_again_is_counted_too(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """With a stolen session nobody guesses the password: ten tries, then 429."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    ann = await anonymous.signed_in("ann@example.com", PASSWORD)
    wrong = {"password": WRONG}
    acts: list[tuple[str, str, dict[str, str]]] = [
        ("PUT", "/v1/me/password", {"current_password": WRONG, "new_password": PASSWORD + "!"}),
        ("POST", "/v1/me/email", wrong | {"email": "new@example.com"}),
        ("POST", "/v1/me/deletion", wrong),
    ]
    before = denizen.hasher.evaluations

    told = [
        (await ann.send(method, path, json=body)).status_code for method, path, body in acts * 5
    ]

    assert told == [403] * SIGN_IN_PAIR.burst + [429] * 5
    assert denizen.hasher.evaluations - before == SIGN_IN_PAIR.burst


async def _mails(denizen: Denizen[UserModel], settings: Settings) -> int:
    while await denizen.mail.send_due():
        pass
    return len(list(settings.mail_folder.glob("*.eml")))


async def _mailed_token(denizen: Denizen[UserModel]) -> str:
    while await denizen.mail.send_due():
        pass
    (path,) = denizen.settings.mail_folder.glob("*.eml")
    message = email.message_from_bytes(path.read_bytes(), policy=default)
    return parse_qs(urlsplit(link_in(message)).query)["token"][0]
