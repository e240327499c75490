"""A service that takes no strangers: by invitation alone, or not at all."""

import httpx
import pytest

from denizen.app import Denizen, create_app
from denizen.settings import Settings
from denizen.tokens.model import LinkToken, registration_id
from denizen.users.model import UserModel
from post import Post


@pytest.mark.parametrize("registration", ["invite", "off"])
async def test_closed_registration_is_403_and_sends_nothing(
    settings: Settings, denizen: Denizen[UserModel], post: Post, registration: str
) -> None:
    """Neither asked for nor confirmed, not even by a link that was sent while it was open."""
    await denizen.registrations.request("ann@example.com", "en")
    open_link = (await post.one_to("ann@example.com")).token
    app = create_app(settings.model_copy(update={"registration": registration}))
    await app.state.denizen.start()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    guessed = LinkToken.new(registration_id("ann@example.com")).text
    chosen = {"username": "ann", "password": "a fine long passphrase 77"}
    async with httpx.AsyncClient(transport=transport, base_url="http://d.test") as client:
        answers = [
            await client.post("/v1/registrations", json={"email": "ben@example.com"}),
            *[
                await client.post("/v1/registrations/confirm", json=chosen | {"token": token})
                for token in (open_link, guessed)
            ],
        ]
    await app.state.denizen.stop()

    told = {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert told == {(403, "registration_closed")}
    assert await post.all_to("ben@example.com") == []
