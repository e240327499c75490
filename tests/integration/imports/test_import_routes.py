"""`/v1/imports`: an upload is taken, imported in the background, and told of."""

import asyncio
from typing import Any

import httpx

from support import Api

CSV = b"email,username\nann@example.com,ann\nbob@example.com,bob\n"


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


async def test_upload_is_imported_in_the_background(admin: Api) -> None:
    """202 with where to look; then everything is told, and the users are there, unconfirmed."""
    answer = await _upload(admin)
    assert answer.headers["location"] == f"/v1/imports/{answer.json()['id']}"
    told = await _ended(admin, answer)

    assert (told["state"], told["label"], told["records"]) == ("finished", "users.csv", 2)
    counts = [told[name] for name in ("done", "created", "updated", "skipped", "refused")]
    assert counts == [2, 2, 0, 0, 0]
    ann = (await admin.get("/v1/users?username=ann")).json()["items"][0]
    assert (ann["email_verified"], ann["is_active"], ann["role"]) == (False, True, "user")
