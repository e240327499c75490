"""Commands as an operator runs them: output, exit status, one database whether served or not."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from denizen.db.testing import Databases
from denizen.settings import Settings
from processes import command, free_port, wait_until_gone

PASSWORD = "a fine long passphrase 77"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a data folder that the commands of this module share."""
    found = tmp_path_factory.mktemp("commands") / "data"
    yield found
    wait_until_gone(found)


def _json(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_user_goes_through_its_life_by_any_name(folder: Path) -> None:
    """Created, shown, disabled, enabled and deleted: by id, e-mail and username."""
    words = ("users", "create", "Life@Example.com", "Life", "--verified", "--json")
    user = _json(command(folder, *words, "--password-stdin", stdin=PASSWORD + "\n"))
    assert (user["email"], user["role"], user["email_verified"]) == (words[2], "user", True)

    by_name = _json(command(folder, "users", "show", "LIFE", "--json"))
    disabled = _json(command(folder, "users", "disable", "life@example.com", "--json"))
    enabled = _json(command(folder, "users", "enable", user["id"], "--json"))
    assert by_name == user
    assert (disabled["is_active"], enabled["is_active"]) == (False, True)
    listed = _json(command(folder, "users", "list", "--q", "life", "--json"))
    assert [one["id"] for one in listed["items"]] == [user["id"]]

    kept = command(folder, "users", "delete", "life", stdin="")
    assert kept.returncode != 0
    assert _json(command(folder, "users", "show", "life", "--json"))["id"] == user["id"]
    deleted = command(folder, "users", "delete", "life", "--yes", "--json")
    assert _json(deleted) == {"deleted": user["id"]}
    gone = command(folder, "users", "show", "life")
    assert (gone.returncode, gone.stderr) == (1, "denizen: no such user\n")


def test_taken_names_are_refused_by_field(folder: Path) -> None:
    """Exit 1, both fields named."""
    assert command(folder, "users", "create", "taken@example.com", "taken").returncode == 0
    done = command(folder, "users", "create", "TAKEN@example.com", "Taken")

    assert done.returncode == 1
    assert "email, username" in done.stderr


def test_password_that_breaks_a_rule_is_not_repeated(folder: Path) -> None:
    """Exit 1, the rule told, the password not."""
    words = ("users", "create", "weak@example.com", "weak", "--password-stdin")
    done = command(folder, *words, stdin="passwordpassword\n")

    assert done.returncode == 1
    assert "password" in done.stderr
    assert "passwordpassword" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("users", "create"),
        ("users", "create", "a@example.com", "a", "--role", "king"),
        ("nothing",),
    ],
)
def test_wrong_usage_is_2(folder: Path, words: tuple[str, ...]) -> None:
    """A missing argument, an unknown role or command."""
    assert command(folder, *words).returncode == 2


def test_database_out_of_reach_is_3(folder: Path) -> None:
    """A port that nobody listens on, told without the password of the URL."""
    url = f"postgresql://me:canary@127.0.0.1:{free_port()}/db"
    done = command(folder, "users", "list", DENIZEN_DATABASE_URL=url)

    assert done.returncode == 3
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DENIZEN_PASSWORD_MIN", "7"),
        ("DENIZEN_DATABASE_URL", "mysql://x/y"),
        ("DENIZEN_DOCS", "no"),
    ],
)
def test_wrong_setting_is_named(folder: Path, name: str, value: str) -> None:
    """One line on stderr that names the variable; exit 2."""
    done = command(folder, "users", "list", **{name: value})

    assert done.returncode == 2
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_settings_lists_all_and_masks_secrets(folder: Path) -> None:
    """Every setting, its default and meaning; a password in a URL is not shown."""
    url = "postgresql://me:canary@db.example.com/users"
    shown = command(folder, "settings", "--json", DENIZEN_DATABASE_URL=url)

    rows = {row["variable"]: row for row in _json(shown)}
    assert set(rows) == {f"DENIZEN_{name.upper()}" for name in Settings.model_fields}
    assert all(row["meaning"] for row in rows.values())
    assert rows["DENIZEN_DATABASE_URL"]["value"] == "users at db.example.com:5432"
    assert "canary" not in shown.stdout


def test_doctor_is_content_with_the_embedded_database(folder: Path) -> None:
    """Exit 0, everything ok, two roles."""
    findings = _json(command(folder, "doctor", "--json"))

    assert {finding["status"] for finding in findings} == {"ok"}
    assert {"database", "schema", "durability", "roles", "clock"} <= {f["about"] for f in findings}


def test_doctor_finds_a_database_that_may_lose_data(folder: Path, databases: Databases) -> None:
    """The tests' own server has fsync off: exit 1, and it is named."""
    done = command(folder, "doctor", DENIZEN_DATABASE_URL=databases.app_url)

    assert done.returncode == 1
    assert "fsync" in done.stdout


def test_migrate_plans_and_applies_on_an_own_database(folder: Path, server: Databases) -> None:
    """The plan changes nothing; behind, commands name `denizen migrate`; applied, they work."""
    own = server.on("postgres")
    settings = {"DENIZEN_DATABASE_URL": own.app_url, "DENIZEN_MIGRATE_URL": own.superuser_url}

    plan = _json(command(folder, "migrate", "--plan", "--json", **settings))
    behind = command(folder, "users", "list", **settings)
    done = _json(command(folder, "migrate", "--json", **settings))
    again = _json(command(folder, "migrate", "--json", **settings))
    listed = command(folder, "users", "list", **settings)

    assert plan["current"] is None
    assert plan["steps"] == done["steps"]
    assert again["steps"] == []
    assert (behind.returncode, "denizen migrate" in behind.stderr) == (3, True)
    assert listed.returncode == 0, listed.stderr


def test_key_and_audit_commands_work(folder: Path) -> None:
    """A key is made, listed without its secret, revoked; the audit tells of it."""
    made = _json(command(folder, "keys", "create", "tests", "--scope", "users:read", "--json"))
    listed = command(folder, "keys", "list")
    unknown = command(folder, "keys", "create", "tests", "--scope", "root")
    revoked = command(folder, "keys", "revoke", made["id"])
    again = command(folder, "keys", "revoke", made["id"])
    audit = _json(command(folder, "audit", "--action", "key.created", "--json"))

    assert made["shown"].removesuffix("…") in listed.stdout
    assert made["key"] not in listed.stdout
    assert (unknown.returncode, revoked.returncode, again.returncode) == (2, 0, 1)
    assert made["id"] in {event["after"]["key_id"] for event in audit["items"]}


def test_commands_at_once_take_turns(tmp_path: Path) -> None:
    """Two commands on a folder without a service: both succeed, on one database."""
    folder = tmp_path / "data"
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(command, folder, "users", "create", f"u{n}@example.com", f"u{n}")
            for n in range(3)
        ]
        assert [job.result().returncode for job in jobs] == [0, 0, 0]

    listed = _json(command(folder, "users", "list", "--json"))
    assert len(listed["items"]) == 3
    wait_until_gone(folder)
