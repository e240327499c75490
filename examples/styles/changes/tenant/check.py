"""The change: users belong to a tenant, and no scenario reaches another tenant's."""

import uuid

from styles.contract.ground import PASSWORD, Ground
from styles.contract.properties import hold, holds

BODY = {"email": "ann@example.com", "username": "ann", "password": PASSWORD}


@holds()
async def tenants_share_nothing(ground: Ground) -> None:
    """The same address and name may be in two tenants, once in each."""
    statuses = [
        (await ground.http.post("/users", json=BODY, headers={"X-Tenant": tenant})).status_code
        for tenant in ("two", "three", "two")
    ]

    hold(statuses[:2] == [201, 201], f"the same address in two tenants: {statuses[:2]}")
    hold(statuses[2] >= 400, f"twice in one tenant is answered {statuses[2]}")


@holds()
async def another_tenants_user_is_nobody(ground: Ground) -> None:
    """Another tenant's user can't be changed or erased, nor their sessions ended."""
    user_id = await ground.a_user()
    before = await ground.state()
    headers = {"X-Tenant": "two"}

    changed = await ground.http.put(
        f"/users/{user_id}/email", json={"email": "new@example.com"}, headers=headers
    )
    erased = await ground.http.delete(f"/users/{user_id}", headers=headers)

    hold((changed.status_code, erased.status_code) == (404, 404), "it is reached")
    hold(await ground.state() == before, "something is written")
    hold(user_id in before.sessions, "there were no sessions to end")
    nobody = await ground.http.delete(f"/users/{uuid.uuid4()}", headers=headers)
    hold(nobody.status_code == 404, f"nobody is answered {nobody.status_code}")
