"""The new scenario: a user is disabled, their sessions end, the audit tells."""

import uuid

from styles.contract.ground import Ground, cutting_the_wire, open_ground, until_no_others
from styles.contract.properties import hold, holds

MOST_STATEMENTS = 20


@holds()
async def disabled_user_has_no_sessions(ground: Ground) -> None:
    """Disabling ends the user's sessions, nobody else's, and leaves one row; nobody is a 404."""
    user_id, other_id = await ground.a_user(), await ground.a_user()
    await ground.watcher.execute("UPDATE users SET is_active = true")

    answer = await ground.http.post(f"/users/{user_id}/disable")
    nobody = await ground.http.post(f"/users/{uuid.uuid4()}/disable")

    state = await ground.state()
    active = await ground.watcher.fetch("SELECT id FROM users WHERE is_active")
    hold((answer.status_code, nobody.status_code) == (204, 404), "answered otherwise")
    hold([row["id"] for row in active] == [other_id], "the wrong users are active")
    hold(set(state.sessions) == {other_id}, "the wrong sessions are left")
    hold(state.audit == ((user_id, "user.disabled"),), f"the audit tells {len(state.audit)} events")


@holds()
async def disabling_is_one_transaction(ground: Ground) -> None:
    """Wherever the connection breaks, all of it has happened, or nothing."""
    for cut in range(1, MOST_STATEMENTS):
        async with open_ground(ground.letter, ground.url) as fresh:
            user_id = await fresh.a_user()
            await fresh.watcher.execute("UPDATE users SET is_active = true")
            with cutting_the_wire(cut) as sent:
                await fresh.http.post(f"/users/{user_id}/disable")
            await until_no_others(fresh.watcher, "state = 'active'")
            state = await fresh.state()
            is_active = await fresh.watcher.fetchval("SELECT is_active FROM users")
        parts = {is_active, user_id in state.sessions, state.audit == ()}
        hold(len(parts) == 1, f"broken after statement {cut}: a part is stored")
        if len(sent) < cut:
            return
