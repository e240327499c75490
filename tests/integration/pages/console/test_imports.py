"""The console's imports: upload, check, start, progress, report; and what no upload may do."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from denizen.app import Denizen, create_app
from denizen.imports.model import Import
from denizen.pages.console.imports import IMPORTS, REFUSED
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import StatementCounter, a_user
from webforms import FROM_HERE, Browser, Form, Page
from xss import EVIL, is_inert

NEW = f"{IMPORTS}/new"
CSV = b"email,username\nann@example.com,ann\nbob@example.com,bob\nno address,carl\n"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$YWFhYWFhYWE$YmJiYmJiYmJiYmJiYmJiYg"


@pytest.fixture
async def background(denizen: Denizen[UserModel]) -> AsyncIterator[None]:
    """Import what is uploaded, while the test runs."""
    async with denizen.imports.serving():
        yield


async def _post(
    browser: Browser,
    form: Form,
    content: bytes = CSV,
    *,
    name: str = "staff.csv",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Page:
    """Send the form with a file, as a browser does; its token stands before the file."""
    answer = await browser.client.post(
        form.action,
        data=form.fields | fields,
        files={"file": (name, content)},
        headers=FROM_HERE if headers is None else headers,
        follow_redirects=True,
    )
    return Page(answer)


async def _upload(browser: Browser, content: bytes = CSV, **fields: Any) -> Page:
    form = (await browser.open(NEW)).forms[NEW]
    form.fields.pop("file")
    return await _post(browser, form, content, **fields)


async def _ended(browser: Browser, page: Page) -> Page:
    """Look again and again until the import has come to an end."""
    async with asyncio.timeout(60):
        while "data-poll" in page.text:
            await asyncio.sleep(0.05)
            page = await browser.open(page.path)
    return page


def _counts(page: Page) -> dict[str, int]:
    found = re.findall(r"<dt>(\w+)</dt><dd><b>([\d,]+)</b>", page.text)
    return {name: int(number.replace(",", "")) for name, number in found}


def _files(denizen: Denizen[UserModel]) -> list[str]:
    folder: Path = denizen.imports.folder._path
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


async def _only(denizen: Denizen[UserModel]) -> Import:
    (found,) = await denizen.imports.list_imports()
    return found


@pytest.mark.usefixtures("background")
async def test_file_is_checked_started_and_reported_on(
    console: Browser, denizen: Denizen[UserModel]
) -> None:
    """Checked by default: columns, rows as read, counts; then imported, with what was refused."""
    page = await _upload(console)
    checked = await _ended(console, page)
    nobody_yet = await denizen.users.find_user("root")
    started = await console.send(checked.forms[f"{page.path}/start"])
    done = await _ended(console, started)
    report = await console.client.get(f"{page.path}/report")
    listed = await console.open(IMPORTS)

    assert checked.heading == "staff.csv"
    assert _counts(checked) == {"Rows": 3, "New": 2, "Taken": 0, "Invalid": 1}
    assert "nothing is imported yet" in checked.text
    assert "<dt><code>email</code></dt><dd>E-mail address</dd>" in checked.text
    assert '<td role="cell" data-label="Username">carl</td>' in checked.text
    assert nobody_yet.username == "root"
    assert _counts(done) == {"Rows": 3, "New": 2, "Taken": 0, "Invalid": 1}
    assert started.said == "The import started."
    assert "This is not an e-mail address." in done.text
    assert report.headers["content-type"].startswith("text/csv")
    assert report.headers["content-disposition"].startswith('attachment; filename="refused-')
    assert report.text.splitlines()[1].startswith("4,email,")
    assert "by root" in listed.text
    assert (await denizen.users.find_user("ann")).email == "ann@example.com"
    assert _files(denizen) == [f"{(await _only(denizen)).id}.csv"]


@pytest.mark.usefixtures("background")
async def test_check_can_be_left_out(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Without the tick it is imported at once, with the options of the form."""
    await a_user(denizen, email="ann@example.com", username="ann")
    content = b"Mail,Name,phone\nann@example.com,ann,1\nzoe@example.com,zoe,2\n"
    columns = "Mail=email\r\nName = username \n\nphone=\n"
    page = await _ended(
        console, await _upload(console, content, check="", on_conflict="update", columns=columns)
    )

    assert "Finished" in page.text
    assert _counts(page) == {"Rows": 2, "New": 1, "Changed": 0, "Taken": 1, "Invalid": 0}


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        (b"", {}, "The file is empty."),
        (b"ann@example.com,ann\n", {}, "Line 1: The first line does not name the columns."),
        (b"\x89PNG\r\n", {}, "neither CSV nor JSON"),
        (b"email,shoe\na@example.com,43\n", {}, "or that they are to be left: shoe"),
        (b"name\nann\n", {"columns": "name=username"}, "none holds e-mail addresses"),
        (CSV, {"columns": "email=nothing"}, "be used"),
        (CSV, {"on_conflict": "explode"}, "be used"),
        (CSV, {"recipe": "oracle"}, "be used"),
        (CSV, {"hash_config": "rounds = 8"}, "be used"),
    ],
)
async def test_file_that_can_not_be_used_is_refused_at_its_field(
    console: Browser, denizen: Denizen[UserModel], content: bytes, fields: dict[str, str], said: str
) -> None:
    """422 with the reason, what was chosen kept, nothing on the disk and nothing begun."""
    page = await _upload(console, content, **{"on_conflict": "update"} | fields)

    assert page.status == 422
    assert said in page.alert
    if "on_conflict" not in fields:
        assert re.search(r'value="update"[^>]* checked', page.text)
    assert "rounds = 8" not in page.text
    assert _files(denizen) == []
    assert list(await denizen.imports.list_imports()) == []


async def test_form_without_a_file_says_so(console: Browser) -> None:
    """A browser sends an empty part, a program none."""
    form = (await console.open(NEW)).forms[NEW]
    form.fields.pop("file")
    empty = await _post(console, form, b"", name="")
    form = (await console.open(NEW)).forms[NEW]
    parts = {name: (None, value) for name, value in form.fields.items() if name != "file"}
    none = Page(await console.client.post(NEW, files=parts, headers=FROM_HERE))

    for page in (empty, none):
        assert (page.status, page.alert) == (422, "There is a problem Choose a file.")


@pytest.mark.parametrize("kind", ["none", "another's", "behind the file", "empty"])
async def test_t_csrf_1_upload_needs_a_token_before_its_file(
    console: Browser, helper: Browser, denizen: Denizen[UserModel], kind: str
) -> None:
    """T-CSRF-1: 403, nothing on the disk, nothing begun."""
    form = (await console.open(NEW)).forms[NEW]
    mine = form.fields["form"]
    theirs = (await helper.open("/account")).forms["/account/sign-out"].fields["form"]
    token = {"another's": theirs, "empty": ""}.get(kind, mine)
    parts: list[tuple[str, Any]] = [("file", ("staff.csv", CSV))]
    if kind != "none":
        parts.insert(1 if kind == "behind the file" else 0, ("form", (None, token)))
    answer = await console.client.post(NEW, files=parts, headers=FROM_HERE)

    assert answer.status_code == 403
    assert "can't be taken" in answer.text
    assert _files(denizen) == []
    assert list(await denizen.imports.list_imports()) == []


async def test_t_csrf_1_refused_upload_is_not_read_to_its_end(console: Browser) -> None:
    """With a wrong token the first octet of the file is the last that is read."""
    boundary = "xyz"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield head.encode()
        for _ in range(100):
            yield b"a" * 65536
        raise AssertionError("it was read to its end")

    headers = FROM_HERE | {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = await console.client.post(NEW, content=body(), headers=headers)

    assert answer.status_code == 403


async def test_t_csrf_1_upload_is_taken_from_this_site_alone(
    console: Browser, denizen: Denizen[UserModel]
) -> None:
    """T-CSRF-1: by what the browser says of the sender; before anything is read."""
    form = (await console.open(NEW)).forms[NEW]
    form.fields.pop("file")
    page = await _post(
        console, form, headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    )

    assert page.status == 403
    assert _files(denizen) == []


@pytest.mark.parametrize("is_told", [True, False], ids=["length told", "stream"])
async def test_too_large_a_file_is_refused_while_it_comes(
    settings: Settings, denizen: Denizen[UserModel], *, is_told: bool
) -> None:
    """413 in words, and nothing of it stays."""
    app = create_app(settings.model_copy(update={"import_max": 1}))
    await app.state.denizen.start()
    browser = Browser.of(app)
    root = await a_user(denizen, role="admin", password="a fine long passphrase 77")
    await browser.sign_in(root.email, "a fine long passphrase 77")
    form = (await browser.open(NEW)).forms[NEW]
    parts: dict[str, Any] = {
        "form": (None, form.fields["form"]),
        "file": ("a.csv", b"a" * (2 * 2**20 if is_told else 2**20 + 1)),
    }
    request = browser.client.build_request("POST", NEW, files=parts, headers=FROM_HERE)
    await request.aread()

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(request.content), 65536):
            yield request.content[begin : begin + 65536]

    headers = FROM_HERE | {"Content-Type": request.headers["content-type"]}
    content: Any = request.content if is_told else pieces()
    answer = await browser.client.post(NEW, content=content, headers=headers)
    await app.state.denizen.stop()

    assert answer.status_code == 413
    assert "too much at once" in answer.text
    assert _files(denizen) == []


async def test_form_that_comes_twice_begins_one_import(
    console: Browser, denizen: Denizen[UserModel]
) -> None:
    """The same file leads to the same import; another file in the same form is another import."""
    form = (await console.open(NEW)).forms[NEW]
    form.fields.pop("file")
    first = await _post(console, form)
    second = await _post(console, form)
    third = await _post(console, form, CSV + b"dan@example.com,dan\n")

    assert first.path == second.path
    assert third.path != first.path
    assert len(await denizen.imports.list_imports()) == 2
    assert len(_files(denizen)) == 2


async def test_progress_is_shown_without_a_script(
    console: Browser, denizen: Denizen[UserModel]
) -> None:
    """A bar, words with the rate and what is left, a refresh for browsers without a script."""
    page = await _upload(console)
    found = await _only(denizen)
    async with denizen.db.get_session() as db:
        imports = denizen.parts.tables.imports
        values = {"state": "writing", "records": 10_000, "done": 6_120, "rate": 64.6}
        await db.execute(imports.update().where(imports.c.id == found.id).values(values))
    page = await console.open(page.path)

    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page.text
    assert '<progress max="10000" value="6120" aria-label="Progress"></progress>' in page.text
    assert "6,120 of 10,000 rows, 65 rows a second, 60 seconds left" in page.text


async def test_import_is_stopped_and_resumed(console: Browser, denizen: Denizen[UserModel]) -> None:
    """By buttons; what the import is past already changes nothing, and the audit tells of both."""
    page = await _upload(console, check="")
    stopped = await console.send(page.forms[f"{page.path}/stop"])
    late = Form(f"{page.path}/stop", stopped.forms["/account/sign-out"].fields)
    again = await console.send(late)
    resumed = await console.send(stopped.forms[f"{page.path}/resume"])
    events = [event.action for event in await denizen.audit.list_events(limit=4)]

    assert stopped.said == "The import is stopped. What was imported stays."
    assert again.said == "The import is in another state by now."
    assert resumed.said == "The import goes on."
    assert (await _only(denizen)).state == "waiting"
    assert events[:2] == ["import.resumed", "import.stopped"]


@pytest.mark.usefixtures("background")
async def test_many_refused_rows_come_in_pages(console: Browser) -> None:
    """A hundred at a time, in the order of the file."""
    content = b"email\n" + b"nobody\n" * (REFUSED + 5)
    page = await _ended(console, await _upload(console, content, check=""))
    more = await console.open(f"{page.path}?after={REFUSED}")

    assert page.text.count("This is not an e-mail address.") == REFUSED
    assert f'href="{page.path}?after={REFUSED}#refused"' in page.text
    assert more.text.count("This is not an e-mail address.") == 5
    for after in ("x", "-1", "9" * 30, "²"):
        assert (await console.open(f"{page.path}?after={after}")).status == 200


@pytest.mark.usefixtures("background")
async def test_secrets_of_a_file_are_shown_to_nobody(console: Browser) -> None:
    """Hashes, and whatever its column's name calls a secret."""
    content = f"email,hashed_password,api_token\na@example.com,{HASH},canary-token\n".encode()
    page = await _ended(console, await _upload(console, content, columns="api_token="))

    assert "(left out)" in page.text
    assert "YmJiYmJi" not in page.text
    assert "canary" not in page.text


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
async def test_texts_of_a_file_are_text(console: Browser, kind: str) -> None:
    """T-XSS-1: its name, its columns, its cells; in a refused form as well."""
    cell = EVIL.replace('"', '""')
    quoted = EVIL.replace("\\", "\\\\").replace('"', '\\"')
    line = f'{{"email": "{quoted}", "{quoted}": ["{quoted}"]}}'
    content = {
        "csv": f'email,"{cell}"\n"{cell}","{cell}"\n',
        "jsonl": f"{line}\n",
        "json": f'{{"users": [{line}]}}',
    }[kind]
    page = await _upload(console, content.encode(), name=EVIL, columns=f"{EVIL}=\n")
    checked = await _ended(console, page)
    refused = await _upload(console, content.encode(), name=EVIL, columns=f"{EVIL}=x")
    listed = await console.open(IMPORTS)

    for one in (page, checked, listed):
        assert one.status == 200
    assert "Checked" in checked.text
    assert refused.status == 422
    for one in (page, checked, refused, listed):
        assert is_inert(one.text)


async def test_file_that_is_gone_is_said(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Uploads are kept for a week; then there is nothing to start."""
    async with denizen.imports.serving():
        page = await _ended(console, await _upload(console))
    denizen.imports.folder.upload((await _only(denizen)).id).unlink()
    page = await console.open(page.path)

    assert "The file is not here any more" in page.text
    assert f"{page.path}/start" not in page.forms


async def test_support_imports_nothing(
    console: Browser, helper: Browser, denizen: Denizen[UserModel]
) -> None:
    """T-AZ: with a form of its own session 403, and nothing changes."""
    page = await _upload(console)
    form = (await helper.open("/account")).forms["/account/sign-out"]
    form.action = NEW
    uploaded = await _post(helper, form)
    told = [uploaded.status]
    for act in ("start", "stop", "resume"):
        form.action = f"{page.path}/{act}"
        told.append((await helper.post(form)).status_code)
    told += [
        (await helper.open(p)).status for p in (IMPORTS, NEW, page.path, f"{page.path}/report")
    ]

    assert told == [403] * 8
    assert (await _only(denizen)).state == "waiting"
    assert len(_files(denizen)) == 1


async def test_no_import_is_a_page_that_says_so(console: Browser) -> None:
    """Of an id that nothing has, and of one that is none."""
    form = (await console.open("/account")).forms["/account/sign-out"]
    for found in (str(uuid.uuid4()), "nonsense"):
        assert (await console.open(f"{IMPORTS}/{found}")).status == 404
        assert (await console.open(f"{IMPORTS}/{found}/report")).status == 404
        form.action = f"{IMPORTS}/{found}/start"
        assert (await console.send(form)).status == 404


async def test_pages_of_imports_take_few_statements(
    console: Browser, statements: StatementCounter
) -> None:
    """The list and its names; the import; beside who is behind the cookie."""
    page = await _upload(console)
    counts = []
    for path in (IMPORTS, NEW, page.path):
        async with statements.listening() as heard:
            await console.open(path)
        counts.append(len(heard))

    assert counts == [3, 1, 2]


@pytest.mark.usefixtures("background")
async def test_imports_are_in_russian_too(console: Browser) -> None:
    """States, counts, reasons."""
    await console.fill("/account/language", locale="ru")
    page = await _ended(console, await _upload(console))

    assert "Проверен" in page.text
    assert "Это не адрес почты." in page.text
    assert "Начать импорт" in page.text
