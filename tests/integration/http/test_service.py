"""What the service has beside the API: its pages, its probes, and what its document shows."""

from typing import Any

import httpx
import pytest

from denizen.app import create_app
from denizen.settings import Settings
from support import Api


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/readyz"])
async def test_watchers_may_ask_with_head(anonymous: Api, path: str) -> None:
    """HEAD is answered as GET is, and `Allow` says so."""
    answers = [await anonymous.send(method, path) for method in ("GET", "HEAD")]
    refused = await anonymous.post(path)

    assert [answer.status_code for answer in answers] == [200, 200]
    own = {"set-cookie": "", "x-request-id": ""}  # each its own
    headers = [dict(answer.headers) | own for answer in answers]
    assert headers[0] == headers[1]
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(("docs", "is_there"), [("on", True), ("off", False)])
async def test_page_links_to_what_is_there(settings: Settings, docs: str, is_there: bool) -> None:
    """Every link of the front page leads somewhere; without documents to none of them."""
    app = create_app(settings.model_copy(update={"docs": docs}))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://denizen.test") as client,
    ):
        page = (await client.get("/")).text
        for path in ("/docs", "/openapi.json"):
            assert (f'href="{path}"' in page) == is_there
            assert (await client.get(path)).is_success == is_there


async def test_example_of_the_document_is_accepted(admin: Api, anonymous: Api) -> None:
    """What `/docs` fills in for a new user and a sign-in can be sent as it stands."""
    document = (await anonymous.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]

    created = await admin.post("/v1/users", json=_example(schemas["CreateUser"]))
    refused = await anonymous.post("/v1/sessions", json=_example(schemas["SignIn"]))

    assert created.status_code == 201, created.text
    assert refused.json()["code"] == "sign_in_failed"  # nobody has confirmed the address


def _example(schema: dict[str, Any]) -> dict[str, Any]:
    """Give the first example of each property that has one."""
    found = {}
    for name, told in schema["properties"].items():
        for one in (told, *told.get("anyOf", ())):
            if "examples" in one:
                found[name] = one["examples"][0]
                break
    assert "password" in found
    return found
