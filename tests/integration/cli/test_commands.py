"""Commands as an operator runs them: output, exit status, one database whether served or not."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import processes
from denizen.db.embedded import EmbeddedServer
from denizen.db.testing import Databases, superuser
from denizen.settings import Settings
from processes import command, free_port, wait_until_gone
from support import until_a_lock_is_waited_for

PASSWORD = "a fine long passphrase 77"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command as it is installed beside this Python, where it is."""
    script = Path(sys.executable).with_name("denizen")
    if script.exists():
        monkeypatch.setattr(processes, "DENIZEN", [str(script)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a data folder that the commands of this module share, its database running."""
    found = tmp_path_factory.mktemp("commands") / "data"
    server = EmbeddedServer.for_service(found)
    server.start()
    yield found
    server.stop()
    wait_until_gone(found)


def _json(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _refused(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    """Give the one line that a refusal is told in."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


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
    deleted = command(folder, "users", "delete", "life", "--yes", "--erase-now", "--json")
    assert _json(deleted) == {"deleted": user["id"], "erased": True}
    gone = command(folder, "users", "show", "life")
    assert (gone.returncode, gone.stderr) == (1, "denizen: no such user\n")
    assert command(folder, "users", "create", "life@example.com", "life").returncode == 0


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
    began = time.monotonic()
    done = command(folder, "users", "list", DENIZEN_DATABASE_URL=url)

    assert done.returncode == 3
    assert time.monotonic() - began < 10
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
    """Exit 0, everything ok, two roles, a mail server."""
    mail = "smtp://mail.example.org"
    findings = _json(command(folder, "doctor", "--json", DENIZEN_MAIL_URL=mail))

    assert {finding["status"] for finding in findings} == {"ok"}
    assert {"database", "schema", "durability", "roles", "clock"} <= {f["about"] for f in findings}


@pytest.mark.parametrize(
    ("role", "name", "mend"),
    [("denizen", "nowhere", "create the database"), ("nobody", "postgres", "refuses the login")],
)
def test_doctor_says_what_keeps_it_out(
    folder: Path, databases: Databases, role: str, name: str, mend: str
) -> None:
    """3, and one line with the database and what to mend about it."""
    parts = urllib.parse.urlsplit(databases.app_url)
    url = f"postgresql://{role}@/{name}?{parts.query}"
    line = _refused(command(folder, "doctor", DENIZEN_DATABASE_URL=url), 3)

    assert mend in line
    assert f"{name} at " in line


def test_doctor_without_an_answer_says_where_it_asked(folder: Path) -> None:
    """3, and the address at which nobody is."""
    url = f"postgresql://me:canary@127.0.0.1:{free_port()}/users"
    line = _refused(command(folder, "doctor", DENIZEN_DATABASE_URL=url), 3)

    assert "users at 127.0.0.1:" in line
    assert "does not answer" in line
    assert "canary" not in line


def test_doctor_finds_a_database_that_may_lose_data(folder: Path, databases: Databases) -> None:
    """The tests' own server has fsync off: exit 1, and it is named."""
    done = command(folder, "doctor", DENIZEN_DATABASE_URL=databases.app_url)

    assert done.returncode == 1
    assert "fsync" in done.stdout


async def test_migration_may_take_longer_than_a_request(folder: Path, blank: Databases) -> None:
    """A step that takes three times what a statement may take elsewhere is not cut off."""
    settings = {
        "DENIZEN_DATABASE_URL": blank.owner_url,
        "DENIZEN_DATABASE_STATEMENT_TIMEOUT": "0.5",
    }
    await asyncio.to_thread(command, folder, "migrate", **settings)
    async with superuser(blank.superuser_url) as other:
        await other.execute(
            "UPDATE alembic_version SET version_num = '0005';"
            "DROP INDEX ix_users_staff, ix_users_disabled, ix_users_unconfirmed,"
            " ix_users_email_key_parts, ix_users_username_key_parts, ix_users_signs"
        )
        async with other.transaction():
            await other.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
            running = asyncio.create_task(asyncio.to_thread(command, folder, "migrate", **settings))
            await until_a_lock_is_waited_for(other)
            await asyncio.sleep(1.5)
    done = await running

    assert done.returncode == 0, done.stderr
    assert "applied 0007" in done.stdout


def test_doctor_warns_where_a_search_reads_everybody(folder: Path, databases: Databases) -> None:
    """The indexes of trigrams are missed, and what mends it is named."""
    assert _finding(folder, databases, "search")[0] == "ok"
    asyncio.run(databases.run("DROP INDEX ix_users_email_key_parts"))

    status, said = _finding(folder, databases, "search")
    assert status == "warn"
    assert "pg_trgm" in said


_SIGN_IN = """
INSERT INTO audit_events (user_id, id, action, actor_kind, address, before, after)
SELECT ('00000000-0000-7000-8000-' || lpad((n % {users})::text, 12, '0'))::uuid,
       (lpad(to_hex((extract(epoch FROM now() - interval '{ago}') * 1000)::bigint), 12, '0')
        || '7000' || '8000' || lpad(n::text, 12, '0'))::uuid,
       '{action}', 'user', {address}, '{{}}', '{{}}'
FROM generate_series(1, {count}) n
"""


def _sign_ins(databases: Databases, count: int, users: int, **more: str) -> None:
    words = {"ago": "1 hour", "action": "session.started", "address": "'10.0.0.9'"} | more
    sql = _SIGN_IN.format(count=count, users=users, **words)
    asyncio.run(databases.run(sql))


def _finding(folder: Path, databases: Databases, about: str, **settings: str) -> tuple[str, str]:
    done = command(folder, "doctor", "--json", DENIZEN_DATABASE_URL=databases.app_url, **settings)
    (found,) = [one for one in json.loads(done.stdout) if one["about"] == about]
    return found["status"], found["said"]


def test_doctor_warns_of_a_proxy_that_nobody_named(folder: Path, databases: Databases) -> None:
    """Twenty sign-ins of five users from one address: warned, and what to set; set, content."""
    _sign_ins(databases, 20, 5)

    status, said = _finding(folder, databases, "clients")
    assert status == "warn"
    assert "DENIZEN_TRUSTED_PROXIES to 10.0.0.9" in said
    mended = _finding(folder, databases, "clients", DENIZEN_TRUSTED_PROXIES="10.0.0.9")
    assert mended[0] == "ok"


def test_doctor_warns_of_proxies_among_clients(folder: Path, databases: Databases) -> None:
    """A whole network is believed: which, and what to name instead."""
    wide = "10.0.0.9,172.16.0.0/12,fd00::/48"
    status, said = _finding(folder, databases, "clients", DENIZEN_TRUSTED_PROXIES=wide)

    assert status == "warn"
    assert "172.16.0.0/12, fd00::/48" in said
    assert "10.0.0.9" not in said
    assert "DENIZEN_TRUSTED_PROXIES" in said


@pytest.mark.parametrize(
    "rows",
    [
        {"count": 19, "users": 5},
        {"count": 40, "users": 4},
        {"count": 40, "users": 9, "ago": "25 hours"},
        {"count": 40, "users": 9, "action": "session.refused"},
        {"count": 40, "users": 9, "address": "NULL"},
        {"count": 40, "users": 9, "address": "'10.0.0.' || n % 2"},
    ],
)
def test_doctor_leaves_others_in_peace(
    folder: Path, databases: Databases, rows: dict[str, Any]
) -> None:
    """Too few, too few people, too old, refused, at the command line, from two addresses."""
    _sign_ins(databases, **rows)

    assert _finding(folder, databases, "clients")[0] == "ok"


def test_doctor_warns_when_tries_are_not_limited(folder: Path, databases: Databases) -> None:
    """`off` is for load tests."""
    status, said = _finding(folder, databases, "throttle", DENIZEN_THROTTLE="off")

    assert (status, "DENIZEN_THROTTLE" in said) == ("warn", True)
    assert _finding(folder, databases, "throttle")[0] == "ok"


def test_migrate_plans_and_applies_on_an_own_database(folder: Path, blank: Databases) -> None:
    """The plan changes nothing; behind, commands name `denizen migrate`; applied, they work."""
    settings = {"DENIZEN_DATABASE_URL": blank.app_url, "DENIZEN_MIGRATE_URL": blank.superuser_url}

    plan = _json(command(folder, "migrate", "--plan", "--json", **settings))
    assert _count(blank, "pg_tables WHERE schemaname = 'public'") == 0
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


def _count(databases: Databases, what: str) -> int:
    async def count() -> Any:
        async with superuser(databases.superuser_url) as connection:
            return await connection.fetchval(f"SELECT count(*) FROM {what}")

    return int(asyncio.run(count()))


def test_user_in_json_has_the_shape_of_the_api(folder: Path) -> None:
    """The same fields as over HTTP, by every name; no command shows a hash."""
    words = ("users", "create", "shape@example.com", "shape", "--role", "support", "--json")
    user = _json(command(folder, *words, "--password-stdin", stdin=PASSWORD + "\n"))
    assert set(user) == {
        *("id", "email", "username", "role", "is_active", "email_verified", "locale"),
        *("created_at", "updated_at", "version"),
    }
    assert (user["role"], user["is_active"], user["email_verified"]) == ("support", True, False)

    for name in (user["id"], "SHAPE@example.com"):
        assert _json(command(folder, "users", "show", name, "--json")) == user
    shown = command(folder, "users", "show", "shape")
    assert user["id"] in shown.stdout
    assert "argon2" not in shown.stdout


def test_lists_go_page_by_page(folder: Path) -> None:
    """A page names where the next begins; a cursor of nothing is refused; a table for people."""
    for name in ("page1", "page2"):
        assert command(folder, "users", "create", f"{name}@example.com", name).returncode == 0
    words = ("users", "list", "--q", "page", "--limit", "1")
    first = _json(command(folder, *words, "--json"))
    second = command(folder, *words, "--cursor", first["next_cursor"])

    assert [user["username"] for user in first["items"]] == ["page2"]
    assert "page1@example.com" in second.stdout
    assert "page2@example.com" not in second.stdout
    _refused(command(folder, *words, "--cursor", "nonsense"), 1)


def test_unknown_user_is_refused_by_every_verb(folder: Path) -> None:
    """Nobody of that id, address or name: 1, in one line."""
    for words in (
        ("disable", "00000000-0000-7000-8000-000000000000"),
        ("enable", "nobody@example.com"),
        ("delete", "no-such-name", "--yes"),
    ):
        assert _refused(command(folder, "users", *words), 1) == "denizen: no such user\n"


def test_empty_password_is_no_password_at_all(folder: Path) -> None:
    """`--password-stdin` without a line is refused, not taken for a user without a password."""
    words = ("users", "create", "empty@example.com", "empty", "--password-stdin")
    assert "password" in _refused(command(folder, *words), 1)
    assert command(folder, "users", "show", "empty").returncode == 1


def test_wrong_setting_with_a_secret_is_not_repeated(folder: Path) -> None:
    """The variable is named, what stood in it is not."""
    done = command(folder, "users", "list", DENIZEN_DATABASE_URL="mysql://me:canary@x/y")

    line = _refused(done, 2)
    assert "DENIZEN_DATABASE_URL" in line
    assert "canary" not in line


def test_settings_table_masks_a_secret_from_a_file(folder: Path, tmp_path: Path) -> None:
    """For people: one row for each; `DENIZEN_X_FILE` is read, its secret not shown."""
    secret = tmp_path / "url"
    secret.write_text("postgresql://me:canary@db.example.com/users\n")
    done = command(folder, "settings", DENIZEN_DATABASE_URL_FILE=str(secret))

    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()[1:]} == {
        f"DENIZEN_{name.upper()}" for name in Settings.model_fields
    }
    assert "users at db.example.com:5432" in done.stdout
    assert "canary" not in done.stdout


def test_data_folder_that_is_a_file_is_out_of_reach(tmp_path: Path) -> None:
    """3, with the path, in one line."""
    (tmp_path / "taken").write_text("mine")
    line = _refused(command(tmp_path / "taken", "users", "list"), 3)

    assert f"the data folder {tmp_path / 'taken'} can't be used" in line


def test_doctor_as_the_first_command_is_content(tmp_path: Path) -> None:
    """The embedded database migrates itself at its first use; a mail server alone is missing."""
    findings = _json(command(tmp_path / "data", "doctor", "--json"))

    (warned,) = [finding for finding in findings if finding["status"] != "ok"]
    assert (warned["status"], warned["about"]) == ("warn", "mail")
    assert "DENIZEN_MAIL_URL" in warned["said"]


def test_doctor_names_a_schema_that_is_behind(folder: Path, blank: Databases) -> None:
    """On an own database that nobody migrated: 1, and what to run."""
    done = command(folder, "doctor", DENIZEN_DATABASE_URL=blank.app_url)

    assert done.returncode == 1
    assert "denizen migrate" in done.stdout
    assert _count(blank, "pg_tables WHERE schemaname = 'public'") == 0


@pytest.mark.parametrize("words", [("users", "list"), ("doctor",)])
def test_role_without_grants_is_told_in_one_line(
    folder: Path, blank: Databases, words: tuple[str, ...]
) -> None:
    """Migrated without naming the serving role: no SQL and no stack, but what is wrong."""
    migrated = command(folder, "migrate", DENIZEN_DATABASE_URL=blank.owner_url)
    assert migrated.returncode == 0, migrated.stderr
    done = command(folder, *words, DENIZEN_DATABASE_URL=blank.app_url)

    assert done.returncode in {1, 3}
    assert "Traceback" not in done.stderr
    assert "SELECT" not in done.stdout + done.stderr
