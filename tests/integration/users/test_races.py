"""What many do at once, decided by the database."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text

from denizen.app import Denizen
from denizen.db.testing import Databases
from denizen.errors import LastAdminError
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, Api, a_user

CALLERS = 50


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Give settings with patience: it is the database's word that counts, not a busy machine's."""
    names = ("pool", "connect", "statement", "lock")
    patience = {f"database_{name}_timeout": 20.0 for name in names}
    return settings.model_copy(update=patience)


def _spellings(word: str, count: int) -> list[str]:
    """Give `count` different letter-case spellings of a word."""
    letters = [i for i, c in enumerate(word) if c.isalpha()]
    found = []
    for number in range(count):
        upper = {letters[bit] for bit in range(len(letters)) if number >> bit & 1}
        found.append("".join(c.upper() if i in upper else c for i, c in enumerate(word)))
    assert len(set(found)) == count
    return found


async def _statuses(admin: Api, address: str, **more: str) -> Counter[tuple[int, str | None]]:
    local, _, domain = address.partition("@")
    bodies = [
        {"email": f"{spelling}@{domain}", "username": f"{local}{number}", **more}
        for number, spelling in enumerate(_spellings(local, CALLERS))
    ]
    answers = await asyncio.gather(*(admin.post("/v1/users", json=body) for body in bodies))
    return Counter((a.status_code, a.json().get("code")) for a in answers)


@pytest.mark.sketch(1, 13)
async def test_t_race_1_fifty_spellings_of_one_address_make_one_account(admin: Api) -> None:
    """Four rounds of fifty at once: one 201, 49 times 409 `email_taken`, nothing else."""
    for number in range(4):
        statuses = await _statuses(admin, f"racers{number}@example.com")

        assert statuses == {(201, None): 1, (409, "email_taken"): CALLERS - 1}


@pytest.mark.full_hashes
async def test_t_race_1_fifty_with_passwords_make_one_account(admin: Api) -> None:
    """With hashing between look-up and insert: 201 once, the others 409, or 503 when overloaded."""
    statuses = await _statuses(admin, "passwordracers@example.com", password=PASSWORD)

    assert statuses[201, None] == 1
    assert set(statuses) <= {(201, None), (409, "email_taken"), (503, "overloaded")}


async def test_two_admins_who_demote_each_other_leave_one(denizen: Denizen[UserModel]) -> None:
    """Ten rounds: of two acts at once that would together leave no admin, one is refused."""
    for _ in range(10):
        one = await a_user(denizen, role="admin")
        two = await a_user(denizen, role="admin")
        demote = UpdateUser(role="user")

        results = await asyncio.gather(
            denizen.users.update_user(one.id, demote),
            denizen.users.update_user(two.id, demote),
            return_exceptions=True,
        )

        assert sum(isinstance(result, LastAdminError) for result in results) == 1
        async with denizen.db.get_session() as db:
            await db.execute(text("DELETE FROM users"))


async def test_commit_that_fails_is_never_a_2xx(
    admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """A constraint that is checked at COMMIT: the answer waits for it, and tells."""
    await a_user(denizen, email="first@example.com", username="first")
    owner = type(denizen.db)(databases.owner_url)
    owner.init()
    async with owner.make_connection() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "RAISE EXCEPTION 'late' USING ERRCODE = '23514', CONSTRAINT = 'ck_late'; END $$"
            )
        )
        await connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON users "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        )
    await owner.close_connections()
    me = (await admin.get("/v1/me")).json()
    other = (await admin.get("/v1/users?username=first")).json()["items"][0]

    answers = [
        await admin.post("/v1/users", json={"email": "x@example.com", "username": "x"}),
        await admin.patch(f"/v1/users/{me['id']}", json={"locale": "ru"}),
        await admin.delete(f"/v1/users/{other['id']}"),
    ]

    told = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert told == [(409, "constraint")] * 3
    assert "late" not in "".join(answer.text for answer in answers)
    assert (await admin.get("/v1/me")).json() == me
    assert len((await admin.get("/v1/users")).json()["items"]) == 2
