"""The change: usernames that differ in letter case alone are the same name."""

from styles.contract.ground import Ground
from styles.contract.properties import hold, holds


@holds()
async def names_in_two_letter_cases_are_one(ground: Ground) -> None:
    """A name in another letter case is taken, and a name is shown as it was typed."""
    first = await ground.sign_up("ann@example.com", "Ann")
    second = await ground.sign_up("other@example.com", "aNN")

    hold(first.json()["username"] == "Ann", "the name is shown in another spelling")
    hold(second.status_code >= 400, f"another spelling is answered {second.status_code}")
    hold((await ground.state()).users == {("ann@example.com", "Ann")}, "something is stored")
