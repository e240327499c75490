"""The change: a change of address leaves an audit row, in the same transaction."""

from styles.contract.ground import Ground, cutting_the_wire, open_ground, until_no_others
from styles.contract.properties import hold, holds

MOST_STATEMENTS = 20


@holds()
async def change_of_address_is_recorded(ground: Ground) -> None:
    """A change leaves one row, a refused one none."""
    user_id = await ground.a_user()
    await ground.sign_up("ann@example.com", "ann")

    await ground.change_email(user_id, "ann@example.com")
    refused = (await ground.state()).audit
    await ground.change_email(user_id, "new@example.com")
    made = (await ground.state()).audit

    hold(refused == (), "a refused change is recorded")
    hold(made == ((user_id, "user.email_changed"),), f"the audit tells {len(made)} events")


@holds()
async def change_and_its_record_are_one(ground: Ground) -> None:
    """Wherever the connection breaks, the change is there with its row, or neither is."""
    for cut in range(1, MOST_STATEMENTS):
        async with open_ground(ground.letter, ground.url) as fresh:
            user_id = await fresh.a_user()
            with cutting_the_wire(cut) as sent:
                await fresh.change_email(user_id, "new@example.com")
            await until_no_others(fresh.watcher, "state = 'active'")
            state = await fresh.state()
        is_changed = any(email == "new@example.com" for email, _ in state.users)
        hold(is_changed == (state.audit != ()), f"broken after statement {cut}: a part is stored")
        if len(sent) < cut:
            return
