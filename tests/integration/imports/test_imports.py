"""Imports: what becomes of each row, what is told, and what never happens."""

import asyncio
import contextlib
import csv
import json
import logging
from typing import Any

import pytest

from denizen.app import Denizen
from denizen.db.errors import OutcomeUnknownError, TakenError
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, superuser
from denizen.errors import InvalidError
from denizen.imports.files import FileError
from denizen.imports.model import Import
from denizen.imports.schemas import ImportOptions
from denizen.users.model import UserModel
from support import PASSWORD, Api, StatementCounter, a_user

Service = Denizen[UserModel]
HASH = "$2b$05$iMiDb7txSSmaZYxr53xgO.5vRFoy9uPr0234Ac5Zp16OPotdhSRaq"


async def _import(denizen: Service, content: str, **options: Any) -> Import:
    path = denizen.settings.data_dir.parent / "users.csv"
    path.write_text(content, encoding="utf-8")
    return await denizen.imports.import_file(path, ImportOptions(**options))


async def _refusals(denizen: Service, found: Import) -> list[tuple[int, str]]:
    return [(one.line, one.code) for one in await denizen.imports.list_refusals(found.id)]


async def _users(databases: Databases) -> list[dict[str, Any]]:
    async with superuser(databases.superuser_url) as watcher:
        return [dict(row) for row in await watcher.fetch("SELECT * FROM users ORDER BY email_key")]


def _counts(found: Import) -> tuple[int, int, int, int]:
    return found.created, found.updated, found.skipped, found.refused


async def test_row_says_who_a_user_is_and_the_rest_is_the_default(
    denizen: Service, databases: Databases
) -> None:
    """An active, unconfirmed ordinary user without a password, as POST /v1/users makes one."""
    made = await a_user(denizen, email="a@example.com", username="a", verified=False)

    found = await _import(denizen, "email,username\nb@example.com,B\n")

    assert (found.state, found.records, _counts(found)) == ("finished", 1, (1, 0, 0, 0))
    one, two = await _users(databases)
    assert one["id"] == made.id
    differing = {"id", "email", "email_key", "username", "username_key", "created_at", "updated_at"}
    assert {n: v for n, v in one.items() if n not in differing} == {
        n: v for n, v in two.items() if n not in differing
    }
    assert (two["username"], two["username_key"]) == ("B", "b")


async def test_skip_leaves_users_as_they_are(denizen: Service, databases: Databases) -> None:
    """Who is there already, in whatever spelling, is skipped; nothing of them changes."""
    await a_user(denizen, email="ann@example.com", username="ann")
    before = await _users(databases)

    found = await _import(denizen, "email,username,role\nANN@example.com,other,admin\n")

    assert _counts(found) == (0, 0, 1, 0)
    assert await _users(databases) == before


async def test_name_or_id_of_somebody_else_is_refused_in_every_mode(denizen: Service) -> None:
    """The same user is who has the same address; a name or an id alone is a conflict."""
    ann = await a_user(denizen, email="ann@example.com", username="ann")
    content = f"id,email,username\n,bob@example.com,ANN\n{ann.id},eve@example.com,eve\n"

    for mode in ("skip", "update", "fail"):
        found = await _import(denizen, content, on_conflict=mode)
        assert await _refusals(denizen, found) == [(2, "username_taken"), (3, "id_taken")]
        assert found.state == ("failed" if mode == "fail" else "finished")


async def test_update_changes_what_the_file_says(denizen: Service, databases: Databases) -> None:
    """Role, locale, name and state; a missing password and confirmation are added. One version."""
    ann = await a_user(denizen, email="ann@example.com", username="ann", verified=False)
    row = f"Ann@example.com,Anna,support,ru,false,true,{HASH}"

    found = await _import(
        denizen,
        f"email,username,role,locale,is_active,email_verified,hashed_password\n{row}\n",
        on_conflict="update",
    )

    assert _counts(found) == (0, 1, 0, 0)
    (after,) = await _users(databases)
    assert (after["id"], after["email"], after["version"]) == (ann.id, "ann@example.com", 2)
    assert (after["username"], after["username_key"]) == ("Anna", "anna")
    assert (after["role"], after["locale"], after["is_active"]) == ("support", "ru", False)
    assert after["hashed_password"] == HASH
    assert after["email_verified_at"] is not None
    assert after["updated_at"] > ann.updated_at


async def test_update_never_undoes_what_the_user_did(
    denizen: Service, databases: Databases
) -> None:
    """A password that was set, a confirmed address, an id stay; what is the same is no change."""
    ann = await a_user(denizen, email="ann@example.com", username="ann", password=PASSWORD)
    before = await _users(databases)
    row = f"0b0c3a60-95d6-4f6e-9a3f-0c5c6f1f8a11,ann@example.com,false,{HASH},2020-01-01,9"
    head = "id,email,email_verified,hashed_password,created_at,version"

    found = await _import(denizen, f"{head}\n{row}\n", on_conflict="update")

    assert _counts(found) == (0, 0, 1, 0)
    assert await _users(databases) == before
    assert ann.version == 1


async def test_update_of_a_column_that_is_not_there_changes_nothing(
    denizen: Service, databases: Databases
) -> None:
    """A file without roles demotes nobody; one without names renames nobody."""
    await a_user(denizen, email="ann@example.com", username="ann")
    before = await _users(databases)

    found = await _import(denizen, "email\nann@example.com\n", on_conflict="update")

    assert _counts(found) == (0, 0, 1, 0)
    assert await _users(databases) == before


async def test_update_that_disables_ends_the_sessions(denizen: Service, anonymous: Api) -> None:
    """Signed out at the next request, as when an admin does it."""
    user = await a_user(denizen, email="ann@example.com", password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)

    await _import(denizen, "email,is_active\nann@example.com,f\n", on_conflict="update")
    assert (await ann.get("/v1/me")).status_code == 401
    await _import(denizen, "email,is_active\nann@example.com,t\n", on_conflict="update")
    assert (await ann.get("/v1/me")).status_code == 401


@pytest.mark.parametrize("role", ["admin", "support"])
async def test_administrators_are_never_changed(
    denizen: Service, databases: Databases, role: Any
) -> None:
    """Neither demoted nor disabled nor given a password: the row is refused."""
    await a_user(denizen, email="root@example.com", role=role)
    before = await _users(databases)
    content = f"email,role,is_active,hashed_password\nroot@example.com,user,f,{HASH}\n"

    found = await _import(denizen, content, on_conflict="update")

    assert await _refusals(denizen, found) == [(2, "role_kept")]
    assert await _users(databases) == before


async def test_names_that_cross_are_refused_and_the_others_go_on(
    denizen: Service, databases: Databases
) -> None:
    """Two who would swap names, two who would get one name: no error of the database's."""
    for name in ("ann", "bob", "cid", "dan"):
        await a_user(denizen, email=f"{name}@example.com", username=name)
    rows = ["ann@example.com,bob", "bob@example.com,ann", "cid@example.com,new"]
    content = "\n".join(["email,username", *rows, "dan@example.com,NEW"])

    found = await _import(denizen, content, on_conflict="update")

    expected = [(2, "username_taken"), (3, "username_taken"), (5, "username_taken")]
    assert await _refusals(denizen, found) == expected
    assert [row["username"] for row in await _users(databases)] == ["ann", "bob", "new", "dan"]


@pytest.mark.parametrize(
    ("mode", "counts", "role"),
    [("skip", (1, 0, 1, 0), "user"), ("update", (1, 1, 0, 0), "support")],
)
async def test_address_that_occurs_twice_in_a_file_is_one_user(
    denizen: Service, databases: Databases, mode: Any, counts: tuple[int, ...], role: str
) -> None:
    """In another spelling, too; told the same by a dry run, in one batch or in two."""
    content = "email,username,role\nann@example.com,ann,\nANN@Example.com,ann2,support\n"

    rehearsed = await _import(denizen, content, on_conflict=mode, dry_run=True)
    found = await _import(denizen, content, on_conflict=mode)

    assert _counts(rehearsed) == _counts(found) == counts
    (user,) = await _users(databases)
    assert user["role"] == role


async def test_fail_imports_nothing_when_anybody_is_there(
    denizen: Service, databases: Databases
) -> None:
    """One address of many belongs to a user: failed, told by line, and nothing is written."""
    await a_user(denizen, email="b@example.com")
    before = await _users(databases)
    content = "email\na@example.com\nb@example.com\nnonsense\n"

    found = await _import(denizen, content, on_conflict="fail")

    assert (found.state, found.problem and found.problem["code"]) == ("failed", "conflicts")
    assert await _refusals(denizen, found) == [(3, "email_taken"), (4, "email_invalid")]
    assert await _users(databases) == before


async def test_fail_imports_all_when_nobody_is_there(
    denizen: Service, databases: Databases
) -> None:
    """A row that breaks a rule is no conflict: it is reported, the others are taken."""
    found = await _import(
        denizen, "email\na@example.com\nb@example.com\nnonsense\n", on_conflict="fail"
    )

    assert (found.state, _counts(found)) == ("finished", (2, 0, 0, 1))
    assert await _refusals(denizen, found) == [(4, "email_invalid")]
    assert len(await _users(databases)) == 2


@pytest.mark.parametrize("mode", ["skip", "update", "fail"])
async def test_dry_run_writes_nothing_and_tells_what_a_run_does(
    denizen: Service, databases: Databases, mode: Any
) -> None:
    """The same counts and the same refusals, duplicates inside the file included."""
    await a_user(denizen, email="old@example.com", username="old")
    await a_user(denizen, email="root@example.com", role="admin")
    before = await _users(databases)
    rows = [
        "new@example.com,new,ru",
        "old@example.com,,ru",
        "root@example.com,,ru",
        "other@example.com,OLD,",
        "twin@example.com,twin,",
        "twin2@example.com,TWIN,",
        "bad,bad,",
    ]
    content = "\n".join(["email,username,locale", *rows])

    rehearsed = await _import(denizen, content, on_conflict=mode, dry_run=True)
    assert await _users(databases) == before
    found = await _import(denizen, content, on_conflict=mode)

    assert rehearsed.state == "checked"
    assert await _refusals(denizen, rehearsed) == await _refusals(denizen, found)
    assert _counts(rehearsed) == _counts(found)


async def test_plain_text_password_is_refused_and_repeated_nowhere(
    denizen: Service, databases: Databases, admin: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """With its line; not in the users, the report, the answers, the audit or the log."""
    caplog.set_level(logging.DEBUG)
    content = "email,password\na@example.com,canary canary canary\nb@example.com,\n"

    found = await _import(denizen, content)

    assert await _refusals(denizen, found) == [(2, "hash_unknown")]
    assert "a@example.com" not in {user["email"] for user in await _users(databases)}
    report = denizen.imports.folder.report(found.id)
    assert report is not None
    answers = [
        (await admin.get(f"/v1/imports/{found.id}")).text,
        (await admin.get(f"/v1/imports/{found.id}/report")).text,
        (await admin.get("/v1/audit-events")).text,
    ]
    async with superuser(databases.superuser_url) as watcher:
        rows = await watcher.fetch("SELECT * FROM imports NATURAL JOIN import_refusals")
    assert "canary" not in str([report.read_text("utf-8-sig"), *answers, rows]) + caplog.text


async def test_report_can_be_mended_and_imported_again(
    denizen: Service, databases: Databases
) -> None:
    """Line, field and reason before the original columns; inert in a spreadsheet."""
    content = "email;username\na@example.com;=cmd()|x y\nb@example.com;b\n'=c@example.com;'=d e\n"
    found = await _import(denizen, content)
    path = denizen.imports.folder.report(found.id)
    assert path is not None

    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    mended = path.read_text("utf-8-sig").replace("x y", "xy").replace("d e", "de")
    again = await _import(denizen, mended)

    assert rows[0] == ["line", "field", "error", "email", "username"]
    assert [row[:2] + row[3:] for row in rows[1:]] == [
        ["2", "username", "a@example.com", "'=cmd()|x y"],
        ["4", "username", "'=c@example.com", "'=d e"],
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    assert _counts(again) == (2, 0, 0, 0)
    names = {user["email"]: user["username"] for user in await _users(databases)}
    assert names["a@example.com"] == "=cmd()|xy"
    assert names["=c@example.com"] == "=de"


async def test_report_of_json_is_json(denizen: Service) -> None:
    """The object as it was, the reason beside it, without its hash; broken lines by number."""
    lines = [
        {"email": "a@example.com", "hashed_password": HASH, "role": "king"},
        {"email": "half \ud800"},
    ]
    content = "\n".join([json.dumps(lines[0]), "broken", '{"email": "b@example.com"}'])

    found = await _import(denizen, content)
    path = denizen.imports.folder.report(found.id)
    assert path is not None
    one, two = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    assert (one["line"], one["field"], one["role"]) == (1, "role", "king")
    assert one["hashed_password"] == "(left out)"
    assert (two["line"], two["field"]) == (2, "row")


@pytest.mark.parametrize(
    "content",
    [
        'email,username\na@example.com,a\nb@example.com,"b\n',
        "email,nothing\na@example.com,a\n",
        "a@example.com,a\n",
    ],
)
async def test_malformed_file_is_refused_with_nothing_written(
    denizen: Service, databases: Databases, content: str
) -> None:
    """Neither its good rows nor a trace of an import."""
    with pytest.raises(FileError):
        await _import(denizen, content)

    assert await _users(databases) == []
    async with superuser(databases.superuser_url) as watcher:
        assert await watcher.fetchval("SELECT count(*) FROM imports") == 0


async def test_firebase_hashes_need_parameters(denizen: Service) -> None:
    """Without, nothing is imported: accounts without their passwords are not what was asked."""
    with pytest.raises(FileError):
        await _import(denizen, '{"email": "a@example.com", "passwordHash": "x", "salt": "y"}')
    with pytest.raises(InvalidError):
        await _import(denizen, "email\n", hash_config="rounds: 8")


async def test_import_is_told_in_the_audit(denizen: Service, admin: Api) -> None:
    """Begun and ended, by whom, with the counts; not an event for each user."""
    await _import(denizen, "email\na@example.com\nb@example.com\nx\n")

    events = (await admin.get("/v1/audit-events?limit=200")).json()["items"]

    ended, started = [event for event in events if event["action"].startswith("import.")]
    assert [started["action"], ended["action"]] == ["import.started", "import.finished"]
    assert ended["actor_kind"] == "operator"
    told = {name: ended["after"][name] for name in ("done", "created", "refused", "label")}
    assert told == {"done": 3, "created": 2, "refused": 1, "label": "users.csv"}
    assert not [event for event in events if event["action"] == "user.created"]


async def test_batch_costs_a_few_statements_however_many_rows(
    denizen: Service, statements: StatementCounter
) -> None:
    """Thousands of new users: a table, COPY, one INSERT, one UPDATE of how far it is."""
    content = "email\n" + "".join(f"u{n}@example.com\n" for n in range(3000))
    async with statements.listening() as heard:
        await _import(denizen, content)

    batch = next(n for n, text in enumerate(heard) if "CREATE TEMPORARY" in text)
    end = next(n for n, text in enumerate(heard) if n > batch and text == "COMMIT")
    kinds = {text.split()[0] for text in heard[batch:end]}
    assert kinds <= {
        "BEGIN",
        "SELECT",
        "CREATE",
        "COPY",
        "SAVEPOINT",
        "INSERT",
        "RELEASE",
        "UPDATE",
    }
    assert end - batch < 12


async def test_sign_up_at_the_same_moment_wins_or_loses_whole(
    denizen: Service, databases: Databases
) -> None:
    """Users are created while an import runs over the same addresses: one account for each."""
    content = "email,username\n" + "".join(f"u{n}@example.com,u{n}\n" for n in range(4000))

    async def sign_up() -> int:
        won = 0
        for number in range(0, 4000, 100):
            with contextlib.suppress(TakenError):
                await a_user(denizen, email=f"U{number}@example.com", username=f"other{number}")
                won += 1
        return won

    found, won = await asyncio.gather(_import(denizen, content), sign_up())

    assert (found.created + found.skipped, found.skipped) == (4000, won)
    assert len(await _users(databases)) == 4000


@pytest.mark.parametrize("is_applied", [True, False])
async def test_lost_answer_to_commit_is_settled_by_the_row_itself(
    denizen: Service,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_applied: bool,
) -> None:
    """Applied or not, the import knows, and each row is there once."""
    content = "email\n" + "".join(f"u{n}@example.com\n" for n in range(12_000))
    if is_applied:
        commit, answers = DBSessionManager._commit, iter([False, False, False, False, True])

        async def lose(self: DBSessionManager, *work: Any) -> Any:
            done = await commit(self, *work)
            if next(answers, False):
                raise OutcomeUnknownError
            return done

        monkeypatch.setattr(DBSessionManager, "_commit", lose)
    else:
        async with superuser(databases.superuser_url) as watcher:
            await watcher.execute(
                """
                CREATE SEQUENCE deaths; GRANT USAGE ON SEQUENCE deaths TO PUBLIC;
                CREATE FUNCTION die() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
                BEGIN
                    IF NEW.done = 10000 AND nextval('deaths') = 1 THEN
                        PERFORM pg_terminate_backend(pg_backend_pid());
                    END IF;
                    RETURN NULL;
                END $$;
                CREATE CONSTRAINT TRIGGER die AFTER UPDATE ON imports DEFERRABLE
                INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die();
                """
            )

    found = await _import(denizen, content)

    assert (found.state, _counts(found)) == ("finished", (12_000, 0, 0, 0))
    assert len(await _users(databases)) == 12_000
    if not is_applied:
        async with superuser(databases.superuser_url) as watcher:
            assert await watcher.fetchval("SELECT last_value FROM deaths") > 1
