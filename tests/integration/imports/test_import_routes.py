"""`/v1/imports`: an upload is taken, imported in the background, and told of."""

import asyncio
import os
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from denizen.app import Denizen, create_app
from denizen.db.testing import Databases, superuser
from denizen.idempotency.model import LEASE
from denizen.imports.folder import ImportFolder
from denizen.imports.scenarios import POLL
from denizen.imports.schemas import ImportOptions
from denizen.keys.model import SCOPES
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, Api, a_user

CSV = b"email,username\nann@example.com,ann\nbob@example.com,bob\n"
BOUNDARY = "xyz"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


async def _upload(
    api: Api, content: bytes = CSV, name: str = "users.csv", **fields: Any
) -> httpx.Response:
    return await api.post("/v1/imports", files={"file": (name, content)}, data=fields)


async def _ended(api: Api, answer: httpx.Response) -> dict[str, Any]:
    """Ask until the import has ended."""
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(30):
        while True:
            told: dict[str, Any] = (await api.get(answer.headers["location"])).json()
            if told["state"] not in {"waiting", "checking", "writing"}:
                return told
            await asyncio.sleep(0.05)


async def _begun(denizen: Denizen[UserModel]) -> None:
    """Wait until the first batch is written."""
    async with asyncio.timeout(30):
        while not any(found.done for found in await denizen.imports.list_imports()):  # noqa: ASYNC110  # another process tells nobody
            await asyncio.sleep(0.01)


def _files(denizen: Denizen[UserModel]) -> list[str]:
    folder = denizen.settings.data_dir / "imports"
    return sorted(path.suffix for path in folder.iterdir()) if folder.is_dir() else []


async def test_upload_is_imported_in_the_background(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """202 with where to look; then all is told, the users are there, and the file is gone."""
    answer = await _upload(admin)
    assert answer.headers["location"] == f"/v1/imports/{answer.json()['id']}"
    told = await _ended(admin, answer)

    assert (told["state"], told["label"], told["records"]) == ("finished", "users.csv", 2)
    counts = [told[name] for name in ("done", "created", "updated", "skipped", "refused")]
    assert counts == [2, 2, 0, 0, 0]
    assert (told["report"], told["refusals"], told["problem"]) == (None, [], None)
    ann = (await admin.get("/v1/users?username=ann")).json()["items"][0]
    assert (ann["email_verified"], ann["is_active"], ann["role"]) == (False, True, "user")
    assert _files(denizen) == []


async def test_what_is_refused_is_told_and_can_be_fetched(admin: Api) -> None:
    """Line, field, code and a sentence; the report as a file of our naming."""
    content = b"email,username\nann@example.com,ann\nbob,bob\n"
    told = await _ended(admin, await _upload(admin, content, name="../../etc/pass\u202ewd.csv"))

    (refusal,) = told["refusals"]
    message = "This is not an e-mail address."
    assert refusal == {
        "line": 3,
        "field": "email",
        "code": "email_invalid",
        "message": message,
    }
    assert told["label"] == "passwd.csv"
    report = await admin.get(told["report"])
    assert report.headers["content-disposition"] == (
        f'attachment; filename="refused-{told["id"]}.csv"'
    )
    assert report.headers["content-type"] == "text/csv; charset=utf-8"
    assert report.text.splitlines()[1] == f"3,email,{message},bob,bob"


async def test_dry_run_is_started_when_it_pleases(
    admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Checked first, nothing written; then imported for real, from the same upload."""
    answer = await _upload(admin, dry_run="true", verified="true", on_conflict="update")
    told = await _ended(admin, answer)
    async with superuser(databases.superuser_url) as watcher:
        before = await watcher.fetchval("SELECT count(*) FROM users WHERE role = 'user'")
    (found,) = await denizen.imports.list_imports()
    await denizen.imports.start(found.id, actor=found.actor)
    again = await _ended(admin, answer)

    assert (told["state"], told["dry_run"], told["created"], before) == ("checked", True, 2, 0)
    assert (again["state"], again["dry_run"], again["created"]) == ("finished", False, 2)
    ann = (await admin.get("/v1/users?username=ann")).json()["items"][0]
    assert ann["email_verified"] is True


async def test_upload_that_outlasts_a_lease_happens_once(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """A key is claimed when the file is there: who asks again meanwhile is first, and not alone."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    arriving, going_on = asyncio.Event(), asyncio.Event()

    async def sent(*, is_slow: bool) -> AsyncIterator[bytes]:
        yield head.encode() + CSV[:10]
        if is_slow:
            arriving.set()
            await going_on.wait()
        yield CSV[10:] + f"\r\n--{BOUNDARY}--\r\n".encode()

    headers = {**FORM, "Idempotency-Key": "k"}
    slow = asyncio.create_task(
        admin.post("/v1/imports", content=sent(is_slow=True), headers=headers)
    )
    await arriving.wait()
    denizen.clock.skew = 2 * LEASE
    quick = await admin.post("/v1/imports", content=sent(is_slow=False), headers=headers)
    going_on.set()
    answers = [await slow, quick]

    assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(await denizen.imports.list_imports()) == 1
    await _ended(admin, quick)


async def test_columns_are_mapped_and_ignored_by_the_form(admin: Api) -> None:
    """`map` and `ignore` may be repeated; empty choices of a form are no choice."""
    content = b"mail;login;age;note\nann@example.com;ann;7;x\n"
    fields: dict[str, Any] = {
        "map": ["mail=email", "login=username"],
        "ignore": ["age", "note"],
        "recipe": "",
        "encoding": "",
    }

    assert (await _ended(admin, await _upload(admin, content, **fields)))["created"] == 1


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        (b"PK\x03\x04" + b"x" * 100, {}, (415, None)),
        (b"\x1f\x8b\x08\x00" + b"x" * 100, {}, (415, None)),
        (b"\x89PNG\r\n\x1a\n", {}, (415, None)),
        (b"email\0", {}, (415, None)),
        (b"", {}, (422, "file")),
        (b"email,is_admin\na@example.com,1\n", {}, (422, "file")),
        (b"nothing\n", {}, (422, "file")),
        ("email\nmüller@example.com\n".encode("latin-1"), {}, (422, "file")),
        (CSV, {"on_conflict": "replace"}, (422, "on_conflict")),
        (CSV, {"on_conflict": ["skip", "update"]}, (422, "on_conflict")),
        (CSV, {"map": "username=is_admin"}, (422, "columns.username")),
        (CSV, {"map": "username"}, (422, "columns.username")),
        (CSV, {"dry_run": "perhaps"}, (422, "dry_run")),
        (CSV, {"hash_config": "canary: 7"}, (422, "hash_config")),
        (CSV, {"hash_config": "c" * 5000}, (422, "hash_config")),
        (CSV, {"role": "admin"}, (422, "role")),
        (CSV, {"columns": "{}"}, (422, "columns")),
    ],
)
async def test_bad_upload_is_refused_and_leaves_nothing(
    admin: Api,
    denizen: Denizen[UserModel],
    content: bytes,
    fields: dict[str, Any],
    expected: tuple[int, str | None],
) -> None:
    """By its content 415, by its columns or options 422 with the field; no file stays."""
    status, field = expected

    answer = await _upload(admin, content, **fields)

    assert answer.status_code == status, answer.text
    if field is not None:
        assert [issue["field"] for issue in answer.json()["errors"]] == [field]
    assert "canary" not in answer.text
    assert _files(denizen) == []


async def test_file_broken_later_on_fails_with_its_line(admin: Api, databases: Databases) -> None:
    """What only the whole file tells is told by the import: nothing is written."""
    content = CSV + b"".join(b"u%d@example.com,u%d\n" % (n, n) for n in range(9000))
    told = await _ended(admin, await _upload(admin, content + b'"x'))

    assert told["state"] == "failed"
    assert (told["problem"]["code"], told["problem"]["line"]) == ("csv_invalid", 9004)
    async with superuser(databases.superuser_url) as watcher:
        assert await watcher.fetchval("SELECT count(*) FROM users WHERE role = 'user'") == 0


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/csv"}, CSV, 415),
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({"Content-Type": "multipart/form-data"}, CSV, 415),
        ({"Content-Type": "multipart/form-data; boundary=" + "x" * 300}, CSV, 400),
        ({}, b"", 415),
        (FORM, b"", 400),
        (FORM, b"no boundary at all", 400),
        (FORM, b"--xyz\r\nContent-Disposition: form-data; name=file\r\n\r\nemail\n", 400),
        (FORM, b"--xyz\r\n" + b"X: y\r\n" * 50 + b"\r\n\r\n--xyz--\r\n", 400),
        (FORM, b"--xyz--\r\n", 422),
        (FORM, b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--xyz--\r\n', 422),
        (
            FORM,
            b'--xyz\r\nContent-Disposition: form-data; name="file"\r\n\r\nemail\n\r\n' * 2
            + b"--xyz--\r\n",
            400,
        ),
    ],
)
async def test_malformed_body_is_refused(
    admin: Api, denizen: Denizen[UserModel], headers: dict[str, str], body: bytes, status: int
) -> None:
    """Other kinds, no boundary, cut short, too many headers, two files, none."""
    answer = await admin.post("/v1/imports", content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert _files(denizen) == []


async def test_many_or_large_fields_beside_the_file_are_too_much(admin: Api) -> None:
    """413 for a hundred thousand fields, and for one of megabytes."""
    part = b'--xyz\r\nContent-Disposition: form-data; name="ignore"\r\n\r\n%s\r\n'
    for body in ((part % b"x") * 100_000, part % (b"x" * 1_000_000)):
        answer = await admin.post("/v1/imports", content=body + b"--xyz--\r\n", headers=FORM)
        assert answer.status_code == 413


async def test_t_imp_1_upload_beyond_the_limit_is_refused_while_it_streams(
    settings: Settings, admin: Api
) -> None:
    """413 long before the end, in flat memory, and nothing stays; a declared length at once."""
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--xyz\r\nContent-Disposition: form-data; name="file"; filename=x\r\n\r\n'
        for _ in range(1000):
            sent += 2**16
            yield b"x" * 2**16

    small = create_app(settings.model_copy(update={"import_max": 1}))
    async with (
        small.router.lifespan_context(small),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=small), base_url="http://denizen.test"
        ) as client,
    ):
        api = Api(client, admin.token)
        tracemalloc.start()
        answer = await api.post("/v1/imports", content=body(), headers=FORM)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        declared = await api.post(
            "/v1/imports", content=b"x", headers=FORM | {"Content-Length": str(10 * 2**30)}
        )

        assert (answer.status_code, declared.status_code) == (413, 413)
        assert sent < 3 * 2**20
        assert peak < 16 * 2**20
        assert _files(small.state.denizen) == []


async def test_imports_are_for_admins_alone(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Nobody else may begin, see, or fetch one; no key either; the body is not even read."""
    told = await _ended(admin, await _upload(admin, b"email\nx\n"))
    path = f"/v1/imports/{told['id']}"
    text, _ = await denizen.keys.create_key("all", list(SCOPES))
    user = await a_user(denizen, password=PASSWORD)
    support = await a_user(denizen, password=PASSWORD, role="support")
    callers = {
        401: [anonymous],
        403: [
            await anonymous.signed_in(user.email, PASSWORD),
            await anonymous.signed_in(support.email, PASSWORD),
            Api(anonymous.client, text),
        ],
    }
    for status, apis in callers.items():
        for api in apis:
            answers = [
                await _upload(api),
                await api.get(path),
                await api.get(f"{path}/report"),
            ]
            assert [answer.status_code for answer in answers] == [status] * 3


async def test_unknown_import_is_404(admin: Api) -> None:
    """Of no id, and the report of one that has none."""
    told = await _ended(admin, await _upload(admin))

    for path in (f"{told['id']}/report", "0b0c3a60-95d6-7f6e-9a3f-0c5c6f1f8a11"):
        assert (await admin.get(f"/v1/imports/{path}")).status_code == 404
    assert (await admin.get("/v1/imports/7")).status_code == 422
    assert (await admin.get(f"/v1/imports/{told['id']}?x=1")).status_code == 422


async def test_import_is_stopped_and_goes_on(
    admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """After the batch at hand; resumed, it ends as if it had not been stopped."""
    rows = b"".join(b"u%d@example.com,u%d\n" % (n, n) for n in range(40_000))
    answer = await _upload(admin, b"email,username\n" + rows)
    (found,) = await denizen.imports.list_imports()
    import_id, actor = found.id, found.actor
    await _begun(denizen)
    stopped = await denizen.imports.stop(import_id, actor=actor)
    await asyncio.sleep(0.5)
    rested = await denizen.imports.get_import(import_id)
    async with superuser(databases.superuser_url) as watcher:
        count = await watcher.fetchval("SELECT count(*) FROM users WHERE role = 'user'")

    assert stopped.state == rested.state == "stopped"
    assert 0 < rested.done < 40_000
    assert rested.done == count
    await denizen.imports.resume(import_id, actor=actor)
    assert (await _ended(admin, answer))["created"] == 40_000


async def test_import_of_a_dead_process_is_taken_over_and_no_other(
    admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Whoever was heard of a moment ago has it; after seconds of silence it is anybody's."""
    async with superuser(databases.superuser_url) as watcher:
        await watcher.execute(
            """
            CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                NEW.runner = gen_random_uuid(); NEW.beat_at = now(); RETURN NEW; END $$;
            CREATE TRIGGER hold BEFORE INSERT ON imports FOR EACH ROW EXECUTE FUNCTION hold();
            """
        )
        answer = await _upload(admin)
        await asyncio.sleep(2 * POLL)
        held = (await admin.get(answer.headers["location"])).json()
        await watcher.execute("UPDATE imports SET beat_at = now() - interval '9 seconds'")
        told = await _ended(admin, answer)

    assert (held["state"], held["done"]) == ("waiting", 0)
    assert (told["state"], told["created"]) == ("finished", 2)


async def test_run_that_was_taken_over_ends_without_a_trace(
    denizen: Denizen[UserModel], databases: Databases, tmp_path: Path
) -> None:
    """Two at the same file at once: whoever comes later has it, and each row is there once."""
    path = tmp_path / "users.csv"
    rows = "".join(f"u{n}@example.com,u{n}\n" for n in range(20_000))
    path.write_text("email,username\n" + rows)
    first = asyncio.create_task(denizen.imports.import_file(path, ImportOptions()))
    await _begun(denizen)

    second = await denizen.imports.import_file(path, ImportOptions())
    await first

    assert (second.state, second.done, second.created) == ("finished", 20_000, 20_000)
    assert len((await denizen.imports.list_imports()).items) == 1
    async with superuser(databases.superuser_url) as watcher:
        assert await watcher.fetchval("SELECT count(*) FROM users") == 20_000


def test_tidying_removes_what_nobody_came_for(tmp_path: Path) -> None:
    """Half an upload after a day, an upload after a week, a report after a month."""
    folder = ImportFolder(tmp_path)
    ages = {".part": 1, ".upload": 7, ".csv": 30, ".jsonl": 30}
    for ending, days in ages.items():
        for name, age in (("kept", days * 86_400 - 60), ("gone", days * 86_400 + 60)):
            path = tmp_path / f"{name}{ending}"
            path.touch()
            then = time.time() - age
            os.utime(path, (then, then))

    folder.tidy()

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"kept{e}" for e in ages)


async def test_uploads_and_reports_are_for_the_service_alone(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """A folder and files that no other user of the machine can read."""
    await _ended(admin, await _upload(admin, b"email\nx\n", dry_run="on"))
    folder = denizen.settings.data_dir / "imports"

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert _files(denizen) == [".csv", ".upload"]


async def test_admin_who_was_dismissed_while_the_file_came_begins_nothing(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """T-AZ-5: whoever may no more when the last octet is there is refused, and no file stays."""
    await a_user(denizen, role="admin")
    me = (await admin.get("/v1/me")).json()["id"]

    async def body() -> AsyncIterator[bytes]:
        yield b'--xyz\r\nContent-Disposition: form-data; name="file"; filename=x.csv\r\n\r\n'
        yield CSV
        await denizen.users.update_user(uuid.UUID(me), UpdateUser(role="user"))
        yield b"\r\n--xyz--\r\n"

    answer = await admin.post("/v1/imports", content=body(), headers=FORM)

    assert answer.status_code in {401, 403}
    assert len(await denizen.imports.list_imports()) == 0
    assert _files(denizen) == []
