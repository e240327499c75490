"""Registration: open to strangers, or not."""

import pytest

from denizen.app import Denizen
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import PASSWORD, Api


@pytest.mark.parametrize("who", ["invite", "off"])
class TestClosed:
    """Where `DENIZEN_REGISTRATION` is not `open`."""

    @pytest.fixture
    def settings(self, settings: Settings, who: str) -> Settings:
        """Give settings of a service that strangers can't join."""
        return settings.model_copy(update={"registration": who})

    async def test_strangers_are_refused_at_both_doors(
        self, anonymous: Api, denizen: Denizen[UserModel]
    ) -> None:
        """403 `registration_closed`, and nothing is mailed; also with a link from before."""
        asked = await anonymous.post("/v1/registrations", json={"email": "ann@example.com"})
        body = {"token": "from before", "username": "ann", "password": PASSWORD}
        confirmed = await anonymous.post("/v1/registrations/confirm", json=body)

        for answer in (asked, confirmed):
            assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")
        assert await denizen.mail.send_due() == 0

    async def test_admin_still_makes_accounts(
        self, admin: Api, denizen: Denizen[UserModel]
    ) -> None:
        """Who is made an account for gets a link to set a password."""
        made = await admin.post("/v1/users", json={"email": "ann@example.com", "username": "ann"})

        assert made.status_code == 201
        assert await denizen.mail.send_due() == 1
