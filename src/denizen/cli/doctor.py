"""`denizen doctor`: looks at what the service stands on, and says what to mend."""

import asyncio
from typing import Final

import typer

from denizen.cli.running import (
    OUT_OF_REACH,
    REFUSED,
    AsJson,
    CommandError,
    DataDir,
    Urls,
    bring_up_to_date,
    database_of,
    out,
    print_json,
    reporting,
)
from denizen.db.engine import describe_url
from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.doctor.examination import examine
from denizen.doctor.findings import Finding
from denizen.settings import Settings

# by the class of the SQLSTATE; none: nobody answered
_MENDING: Final = {
    "": "does not answer: see that the server runs, and the address in DENIZEN_DATABASE_URL",
    "28": "refuses the login: see the role and the password in DENIZEN_DATABASE_URL",
    "3D": "is not there: create the database, or see its name in DENIZEN_DATABASE_URL",
}


def doctor(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check database, schema, durability and clock; status 1 when something must be mended."""
    with reporting():
        settings = Settings.load(data_dir=data_dir)
        with database_of(settings) as urls:
            if urls.is_embedded:
                asyncio.run(bring_up_to_date(settings, urls))
            findings = _examined(settings, urls)
    if as_json:
        print_json([{"status": f.status, "about": f.about, "said": f.said} for f in findings])
    else:
        for finding in findings:
            out.print(f"{finding.status:<5} {finding.about:<12} {finding.said}", markup=False)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(REFUSED)


def _examined(settings: Settings, urls: Urls) -> list[Finding]:
    """Look at everything; where nothing can be looked at, say what to mend first."""
    try:
        return asyncio.run(_examine(settings, urls))
    except UnavailableError as error:
        said = _MENDING.get((error.sqlstate or "")[:2])
        if said is None:
            raise
        raise CommandError(f"{describe_url(urls.serving)} {said}", OUT_OF_REACH) from None


async def _examine(settings: Settings, urls: Urls) -> list[Finding]:
    db = DBSessionManager(settings.database(urls.serving))
    db.init()
    try:
        return await examine(db, settings, has_one_role=urls.serving == urls.owning)
    finally:
        await db.close_connections()
