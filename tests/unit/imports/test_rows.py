"""Records as rows to be staged: the rules of a single user, column by column."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.errors import InvalidError
from denizen.imports.files import FileError
from denizen.imports.model import REASONS
from denizen.imports.recipes import FIELDS, RECIPES, firebase_parameters, plan
from denizen.imports.rows import STAGED, RefusedError, RowReader, RowRules
from denizen.passwords.foreign import read_hash
from denizen.users.values import email_key, parse_email, parse_username, username_key

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HASH = "$2b$12$abcdefghijklmnopqrstuuW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6"
ID = "0b0c3a60-95d6-4f6e-9a3f-0c5c6f1f8a11"
FAST = settings(max_examples=300, database=None, derandomize=True, deadline=None)


def _reader(columns: list[str], *, verified: bool = False, **more: Any) -> RowReader:
    meaning = plan(columns, more.pop("recipe", None), more.pop("said", {}))
    rules = RowRules(now=NOW, is_verified=verified, is_csv=more.pop("is_csv", True), **more)
    return RowReader(meaning, len(columns), rules)


def _row(reader: RowReader, *cells: Any) -> dict[str, str | None]:
    """Give the staged row by column, NULL as None."""
    values = reader.read(cells).split("\t")
    shown = [None if value == r"\N" else value for value in values]
    return dict(zip(STAGED[2:], shown, strict=True))


def _refused(reader: RowReader, *cells: Any) -> tuple[str, str]:
    with pytest.raises(RefusedError) as caught:
        reader.read(cells)
    assert caught.value.code in REASONS
    return caught.value.field, caught.value.code


def test_row_of_nothing_but_an_address_says_no_more() -> None:
    """An id and a name are made; the rest is for the database's defaults: unconfirmed, no hash."""
    row = _row(_reader(["email"]), "Ann@Example.com")

    assert (row["email"], row["email_key"]) == ("Ann@Example.com", "ann@example.com")
    assert row["id"]
    assert row["username"] == row["username_key"]
    assert "ann" not in str(row["username"])
    assert row["is_named"] == "f"
    kept = {"id", "email", "email_key", "username", "username_key", "is_named"}
    assert {value for name, value in row.items() if name not in kept} == {None}


def test_row_with_everything_is_kept_as_it_is() -> None:
    """Each of our own columns, in any order of columns."""
    given = {
        "version": "7",
        "created_at": "2020-01-02T03:04:05Z",
        "updated_at": "2021-01-02 03:04:05+03",
        "email_verified_at": "2020-01-02T03:04:05.678901+00:00",
        "hashed_password": HASH,
        "id": ID.upper(),
        "email": "ann@example.com",
        "username": "Анна",
        "role": "support",
        "locale": "ru",
        "is_active": "false",
    }
    row = _row(_reader(list(given)), *given.values())

    assert row == given | {
        "id": ID,
        "email_key": "ann@example.com",
        "username_key": "анна",
        "is_named": "t",
        "is_active": "f",
        "created_at": "2020-01-02T03:04:05+00:00",
        "updated_at": "2021-01-02T03:04:05+03:00",
    }


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("email", "", "email_missing"),
        ("email", None, "email_missing"),
        ("email", "no address", "email_invalid"),
        ("email", "a@b.example\0", "email_invalid"),
        ("email", 7, "email_invalid"),
        ("email", {"a": 1}, "email_invalid"),
        ("email", "\ud800@b.example", "email_invalid"),
        ("username", "a b", "username_invalid"),
        ("username", "x" * 65, "username_invalid"),
        ("username", "a\tb", "username_invalid"),
        ("username", "someone@else.example", "username_invalid"),
        ("username", 7, "username_invalid"),
        ("hashed_password", "hunter2 and more", "hash_unknown"),
        ("password", "a fine long passphrase 77", "hash_unknown"),
        ("hashed_password", 7, "hash_unknown"),
        ("hashed_password", HASH + "x" * 500, "hash_unknown"),
        ("hashed_password", HASH.replace("$12$", "$15$"), "hash_costly"),
        ("id", "7", "id_invalid"),
        ("id", "{" + ID + "}", "id_invalid"),
        ("id", "00000000-0000-0000-0000-000000000000", "id_invalid"),
        ("id", 7, "id_invalid"),
        ("role", "root", "role_invalid"),
        ("role", True, "role_invalid"),
        ("role", ["admin"], "role_invalid"),
        ("locale", "fr", "locale_invalid"),
        ("is_active", "yes?", "is_active_invalid"),
        ("is_active", 2, "is_active_invalid"),
        ("email_verified", "maybe", "email_verified_invalid"),
        ("email_verified_at", "yesterday", "instant_invalid"),
        ("created_at", "2199-01-01T00:00:00Z", "instant_invalid"),
        ("created_at", "1969-12-31T23:59:59Z", "instant_invalid"),
        ("created_at", 1_700_000_000, "instant_invalid"),
        ("updated_at", "infinity", "instant_invalid"),
        ("version", "0", "version_invalid"),
        ("version", "-1", "version_invalid"),
        ("version", "99999999999", "version_invalid"),
        ("version", "1.5", "version_invalid"),
    ],
)
def test_bad_value_is_refused_by_field(column: str, value: object, code: str) -> None:
    """One stable word for each; whatever JSON can hold is refused, never an error of Python's."""
    columns = ["email"] if column == "email" else ["email", column]
    cells = ["ann@example.com", value][-len(columns) :]

    assert _refused(_reader(columns), *cells)[1] == code


@pytest.mark.parametrize("cells", [(), ("a@b.example",), ("a@b.example", "a", "b"), None])
def test_row_of_another_shape_is_refused(cells: tuple[str, ...] | None) -> None:
    """Too few cells, too many, or none at all."""
    with pytest.raises(RefusedError) as caught:
        _reader(["email", "username"]).read(cells)

    assert caught.value.code == ("json_invalid" if cells is None else "columns")


@pytest.mark.parametrize(
    ("columns", "cells", "verified", "expected"),
    [
        (["email"], [], False, False),
        (["email"], [], True, True),
        (["email", "email_verified"], ["true"], False, True),
        (["email", "email_verified"], ["f"], True, False),
        (["email", "email_verified"], [""], True, False),
        (["email", "email_verified"], [True], False, True),
        (["email", "email_verified_at"], ["2020-01-01T00:00:00Z"], False, True),
        (["email", "email_verified_at"], [""], True, False),
        (["email", "email_verified", "email_verified_at"], ["f", "2020-01-01"], False, False),
    ],
)
def test_address_is_unconfirmed_unless_said(
    columns: list[str], cells: list[Any], *, verified: bool, expected: bool
) -> None:
    """The file's word counts, then what the importer says, else it is not confirmed."""
    row = _row(_reader(columns, verified=verified), "ann@example.com", *cells)

    assert (row["email_verified_at"] is not None) is expected


def test_t_csv_1_exactly_one_quote_is_taken_off_in_csv_alone() -> None:
    """`'=cmd` is `=cmd`, `''x` is `'x`; an inner quote, and JSON, stay as they are."""
    csv = _reader(["email", "username"])
    json = _reader(["email", "username"], is_csv=False)

    taken = {"'=cmd": "=cmd", "''x": "'x", "'x": "'x", "x'=y": "x'=y", "x;'=y": "x;=y"}
    for cell, name in taken.items():
        assert _row(csv, "ann@example.com", cell)["username"] == name
        assert _row(json, "ann@example.com", cell)["username"] == cell
    assert _row(csv, "'+tag@example.com", "x")["email"] == "+tag@example.com"


def test_backslash_in_a_name_reaches_the_database_as_one() -> None:
    """COPY's escapes are escaped; a name that looks like NULL is a name."""
    row = _row(_reader(["email", "username"]), "ann@example.com", r"\N")

    assert row["username"] == r"\\N"


def test_id_occurs_once_in_a_batch() -> None:
    """The second row with an id is refused; the next batch meets the database instead."""
    reader = _reader(["id", "email"])
    assert reader.read((ID, "a@example.com"))
    assert _refused(reader, ID, "b@example.com") == ("id", "id_taken")
    reader.begin_batch()
    assert reader.read((ID, "b@example.com"))


@FAST
@given(st.text(max_size=40), st.text(max_size=20))
def test_rules_are_those_of_a_single_user(email: str, username: str) -> None:
    """What is accepted, and as what, is decided by the functions that users are made with."""
    try:
        expected = (
            parse_email(email),
            email_key(email),
            parse_username(username),
            username_key(username),
        )
    except InvalidError:
        expected = None
    try:
        row = _row(_reader(["email", "username"], is_csv=False), email, username)
    except RefusedError:
        row = None
    if row is None or row["is_named"] == "f":
        assert expected is None
    else:
        shown = tuple(row[name] for name in ("email", "email_key", "username", "username_key"))
        assert shown == (expected and tuple(v.replace("\\", "\\\\") for v in expected))


def test_schemas_are_known_by_their_columns() -> None:
    """Each recipe is found by its own columns; what it takes are fields that exist."""
    for recipe in RECIPES:
        columns = [c for c in recipe.takes if c != "password" or recipe.name == "django"]
        assert plan([*columns, *recipe.leaves], None, {}).recipe == recipe.name
        assert set(recipe.takes.values()) <= set(FIELDS)
        assert not recipe.takes.keys() & recipe.leaves


def test_t_az_3_unknown_columns_are_refused_unless_mapped_or_ignored() -> None:
    """Named, and nothing is dropped silently; what looks like data is not repeated."""
    columns = ["email", "is_admin", "tenant_id", "a secret, perhaps!"]
    with pytest.raises(FileError) as caught:
        plan(columns, None, {})
    assert "is_admin, tenant_id, (not a name)" in caught.value.message

    said: dict[str, Any] = {"is_admin": None, "tenant_id": "username", columns[3]: None}
    assert plan(columns, None, said).fields == {"email": 0, "username": 2}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["username"], {}),
        (["email", "login", "username"], {"login": "username"}),
        (["password", "hashed_password", "email"], {}),
    ],
)
def test_columns_that_can_not_be_meant_are_refused(columns: list[str], said: Any) -> None:
    """No addresses at all, or two columns for one field."""
    with pytest.raises(FileError):
        plan(columns, None, said)


def test_recipe_that_is_said_is_the_only_one() -> None:
    """Django's columns are not fastapi-users'."""
    with pytest.raises(FileError, match="date_joined"):
        plan(["email", "password", "date_joined"], "fastapi-users", {})


def test_django_marks_are_understood() -> None:
    """Numbers as ids are replaced, `!` is no password, a name that is the address is none."""
    reader = _reader(["id", "username", "email", "password", "date_joined", "is_staff"])
    joined = "2020-01-02 03:04:05.678+00"
    row = _row(reader, "7", "Ann@Example.com", "ann@example.com", "!x", joined, "t")

    assert row["id"] != "7"
    assert (row["is_named"], row["hashed_password"], row["role"]) == ("f", None, None)
    assert row["created_at"] == "2020-01-02T03:04:05.678000+00:00"


def test_supabase_marks_are_understood() -> None:
    """Ids stay, a ban is a disabled user while it lasts, deleted users are refused, roles left."""
    columns = ["id", "role", "email", "instance_id", "banned_until", "deleted_at"]
    reader = _reader(columns)

    banned = _row(reader, ID, "authenticated", "a@example.com", "x", "2099-01-01 00:00:00+00", "")
    reader.begin_batch()
    free = _row(reader, ID, "authenticated", "a@example.com", "x", "2020-01-01 00:00:00+00", None)
    reader.begin_batch()
    ever = _row(reader, ID, "authenticated", "a@example.com", "x", "infinity", None)

    assert (banned["is_active"], free["is_active"], ever["is_active"]) == ("f", "t", "f")
    assert (banned["id"], banned["role"]) == (ID, None)
    deleted = (ID, "authenticated", "a@example.com", "x", "", "2020-01-01 00:00:00+00")
    assert _refused(reader, *deleted) == ("deleted_at", "deleted")


SIGNER_KEY = (
    "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
)
AS_SHOWN = f"""hash_config {{
  algorithm: SCRYPT,
  base64_signer_key: {SIGNER_KEY},
  base64_salt_separator: Bw==,
  rounds: 8,
  mem_cost: 14,
}}"""
AS_JSON = json.dumps(
    {
        "base64_signer_key": SIGNER_KEY,
        "base64_salt_separator": "Bw==",
        "rounds": 8,
        "mem_cost": 14,
    }
)


@pytest.mark.parametrize("text", [AS_SHOWN, AS_JSON])
def test_firebase_parameters_become_part_of_the_hash(text: str) -> None:
    """As its console shows them, or as JSON; the hash of the published example is right."""
    columns = ["email", "passwordHash", "salt", "createdAt", "disabled"]
    reader = _reader(columns, firebase=firebase_parameters(text), is_csv=False)
    tag = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="

    row = _row(reader, "ann@example.com", tag, "42xEC+ixf3L2lw==", "1700000000123", False)

    found = read_hash(str(row["hashed_password"]))
    assert found is not None
    assert found.matches(b"user1password")
    assert (row["is_active"], row["created_at"]) == ("t", "2023-11-14T22:13:20.123000+00:00")


def test_incomplete_firebase_parameters_are_refused_without_repeating_them() -> None:
    """A key alone is not enough."""
    with pytest.raises(InvalidError) as caught:
        firebase_parameters("base64_signer_key: canary==")

    assert "canary" not in str(caught.value)
