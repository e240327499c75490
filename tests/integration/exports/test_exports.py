"""Exports: all users, inert in a spreadsheet, and the same again after an import."""

import asyncio
import csv
import io
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from denizen.app import Denizen
from denizen.db.errors import UnavailableError
from denizen.db.testing import Databases, superuser
from denizen.errors import InvalidError
from denizen.imports.schemas import ImportOptions
from denizen.spreadsheet import inert
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from denizen.users.values import ROLES, parse_email, parse_username
from support import PASSWORD, Api, a_user

Service = Denizen[UserModel]
HASHES = [
    None,
    "$2b$05$iMiDb7txSSmaZYxr53xgO.5vRFoy9uPr0234Ac5Zp16OPotdhSRaq",
    "pbkdf2_sha256$10000$sa\\lt$Avv8qUT7ZT3rxol0jKVxtJ+MJyhoy9tD9tVLgOFj1UY=",
]


async def _users(databases: Databases) -> list[dict[str, Any]]:
    async with superuser(databases.superuser_url) as watcher:
        return [dict(row) for row in await watcher.fetch("SELECT * FROM users ORDER BY id")]


def _is(rule: Any, text: str) -> bool:
    try:
        rule(text)
    except InvalidError:
        return False
    return True


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12
)
USERNAMES = (
    st.builds(lambda start, rest: start + rest, st.sampled_from("=+-'\\\"a"), NAMES)
    | st.text(st.sampled_from(";='-,\"x"), min_size=1, max_size=8)
    | NAMES
).filter(lambda text: _is(parse_username, text))
EMAILS = st.builds(
    lambda local, domain: f"{local}@{domain}",
    NAMES | st.sampled_from(["=1", "+1", "-1", "'x", "''"]),
    st.sampled_from(["example.com", "пример.рф"]),
).filter(lambda text: _is(parse_email, text))
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2026, 1, 1)).map(  # noqa: DTZ001  # given below
    lambda instant: instant.replace(tzinfo=UTC)
)
USERS = st.fixed_dictionaries(
    {
        "email": EMAILS,
        "username": USERNAMES,
        "hashed_password": st.sampled_from(HASHES),
        "role": st.sampled_from(ROLES),
        "locale": st.sampled_from(["en", "ru"]),
        "is_active": st.booleans(),
        "email_verified_at": st.none() | INSTANTS,
    }
)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_import_of_an_export_is_the_same_table(
    denizen: Service, databases: Databases, tmp_path: Path, form: Any
) -> None:
    """Whatever people are called: every column of every user, with hashes, is as it was."""
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=25,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(USERS, max_size=6), INSTANTS)
    @example(
        [
            {
                "email": "'=x@example.com",
                "username": "=HYPERLINK('a','b')",
                "hashed_password": HASHES[2],
                "role": "admin",
                "locale": "ru",
                "is_active": False,
                "email_verified_at": None,
            }
        ],
        datetime(2020, 1, 2, 3, 4, 5, 6, UTC),
    )
    def holds(users: list[dict[str, Any]], instant: datetime) -> None:
        trip = _round_trip(denizen, databases, tmp_path / f"users.{form}", users, instant)
        before, after = asyncio.run_coroutine_threadsafe(trip, loop).result(60)
        assert after == before

    await asyncio.to_thread(holds)


async def _round_trip(
    denizen: Service,
    databases: Databases,
    path: Path,
    users: list[dict[str, Any]],
    instant: datetime,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    async with superuser(databases.superuser_url) as watcher:
        await watcher.execute("TRUNCATE users CASCADE")
        seen: set[str] = set()
        async with denizen.db.get_session() as db:
            for given_user in users:
                user = UserModel(**given_user)
                if not seen & {user.email_key, user.username_key}:
                    seen |= {user.email_key, user.username_key}
                    db.add(user)
        await watcher.execute(
            "UPDATE users SET created_at = $1, updated_at = $2, version = 7",
            instant,
            instant + timedelta(days=1),
        )
        before = await _users(databases)
        form = "csv" if path.suffix == ".csv" else "jsonl"
        await denizen.exports.export_file(path, form, with_hashes=True)  # type: ignore[arg-type]
        await watcher.execute("TRUNCATE users CASCADE")
        if before or form == "csv":
            found = await denizen.imports.import_file(path, ImportOptions())
            assert (found.refused, found.created) == (0, len(before))
    return before, await _users(databases)


async def test_t_csv_1_export_is_inert_in_a_spreadsheet(denizen: Service, tmp_path: Path) -> None:
    """A `'` before = + - @ and a `'` that begins a cell; a mark, so that letters are letters.

    Behind a `;`, too: where that parts the cells, and not a comma, a spreadsheet splits each line
    there, whatever is quoted.
    """
    names = {
        "=cmd|'/c'!A1": "'=cmd|'/c'!A1",
        "+1": "'+1",
        "-1": "'-1",
        "'quoted": "''quoted",
        "plain": "plain",
        "Анна": "Анна",
        'x;=1+1;;-",y': "x;'=1+1;;'-\",y",
        ";'=1": ";''=1",
        "x;y=1": "x;y=1",
    }
    for name in names:
        await a_user(denizen, email=f"x{abs(hash(name))}@example.com", username=name)
    await a_user(denizen, email="=1+1@example.com", username="mail")
    for sign in "＝＋－＠":
        await a_user(denizen, email=f"{sign}1+1@example.com", username=f"wide{ord(sign)}")
    path = tmp_path / "users.csv"

    count = await denizen.exports.export_file(path, "csv")

    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbfid,email,username,role,is_active,email_verified,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert count == len(rows) == 14
    assert {row["username"] for row in rows} == {
        *names.values(),
        "mail",
        *(f"wide{ord(sign)}" for sign in "＝＋－＠"),
    }
    assert all(inert(name) == cell for name, cell in names.items())
    assert {f"'{sign}1+1@example.com" for sign in "=＝＋－＠"} <= {row["email"] for row in rows}
    cells = [cell for row in rows for cell in row.values()]
    cells += re.split("[;\n]", content.decode("utf-8-sig"))
    assert not [cell for cell in cells if cell[:1] in set("=+-@＝＋－＠\t\r")]


async def test_export_has_the_fields_of_an_answer_and_no_hash(
    denizen: Service, admin: Api, tmp_path: Path
) -> None:
    """What the API says of a user, and when the address was confirmed; hashes only when asked."""
    user = await a_user(denizen, password=PASSWORD)
    path = tmp_path / "users.jsonl"
    await denizen.exports.export_file(path, "jsonl")
    rows = {row["id"]: row for row in map(json.loads, path.read_text("utf-8").splitlines())}
    told = (await admin.get(f"/v1/users/{user.id}")).json()
    row = rows[str(user.id)]

    assert row.pop("email_verified_at")
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(row.pop(name)) == datetime.fromisoformat(told.pop(name))
    assert row == told
    assert "argon2" not in path.read_text("utf-8")
    await denizen.exports.export_file(path, "jsonl", with_hashes=True)
    assert path.read_text("utf-8").count("$argon2id$") == 2


async def test_export_can_be_filtered(denizen: Service) -> None:
    """As a list is; what comes is given piece by piece."""
    await a_user(denizen, email="ann@example.com", role="support")
    await a_user(denizen, email="bob@example.com")
    parts: list[bytes] = []

    async def keep(data: bytes) -> None:
        parts.append(data)

    await denizen.exports.export(keep, "jsonl", wanted=UserFilter(role="support", q="ann"))

    (row,) = [json.loads(line) for line in b"".join(parts).splitlines()]
    assert row["email"] == "ann@example.com"


async def test_export_is_whole_or_not_there(denizen: Service, tmp_path: Path) -> None:
    """Broken off, the older file stays and nothing lies about; whole, its owner alone reads it."""
    await a_user(denizen)
    path = tmp_path / "users.csv"
    path.write_text("older")

    def fail(_done: int, _about: int) -> None:
        raise UnavailableError

    with pytest.raises(UnavailableError):
        await denizen.exports.export_file(path, "csv", watch=fail)
    assert path.read_text() == "older"
    assert [name for name in os.listdir(tmp_path) if "users" in name] == ["users.csv"]  # noqa: PTH208

    await denizen.exports.export_file(path, "csv")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text("utf-8-sig").startswith("id,email,")


async def test_export_is_told_in_the_audit(denizen: Service, admin: Api, tmp_path: Path) -> None:
    """Who took everybody along, and whether with hashes."""
    await denizen.exports.export_file(tmp_path / "users.csv", "csv", with_hashes=True)

    (event,) = (await admin.get("/v1/audit-events?action=users.exported")).json()["items"]
    assert event["after"] == {"format": "csv", "with_hashes": True}
    assert event["actor_kind"] == "operator"
