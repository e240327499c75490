"""Checks that know the outer interface alone: correctness, races, faults, what answers tell."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from styles.contract.crash import crash_after_each_statement
from styles.contract.ground import (
    PASSWORD,
    Ground,
    State,
    cutting_the_wire,
    end_others,
    failing_commit,
    open_ground,
    others,
    until_no_others,
)
from styles.contract.properties import hold, holds

CALLERS: Final = 50
MOST_STATEMENTS: Final = 20
MOST_TRIES: Final = 10
TAKEN: Final = {400, 409}  # which of the two is right is a property of its own


@holds()
async def sign_up_makes_one_durable_user(ground: Ground) -> None:
    """A sign-up is there for everybody once it is answered, with a hash and no password."""
    answer = await ground.sign_up("Ann@example.com", "ann")

    hold(answer.status_code == 201, f"answered {answer.status_code}")
    hold("argon2" not in answer.text and PASSWORD not in answer.text, "the answer tells a secret")
    row = await ground.watcher.fetchrow("SELECT * FROM users")
    hold(row is not None, "the user is not there")
    hold((row["email"], row["username"]) == ("Ann@example.com", "ann"), "something else is stored")
    hold(row["hashed_password"].startswith("$argon2id$"), "what is stored is no hash")


@holds()
async def taken_address_is_refused(ground: Ground) -> None:
    """A second sign-up with the same address is refused and changes nothing."""
    await ground.sign_up("ann@example.com", "ann")
    before = await ground.state()

    answer = await ground.sign_up("ann@example.com", "bob")

    hold(answer.status_code in TAKEN, f"answered {answer.status_code}")
    hold(await ground.state() == before, "something was written")


@holds()
async def changed_address_is_durable(ground: Ground) -> None:
    """A change of address is there for everybody once it is answered."""
    user_id = await ground.a_user()

    answer = await ground.change_email(user_id, "new@example.com")

    hold(answer.status_code == 200, f"answered {answer.status_code}")
    hold(answer.json()["email"] == "new@example.com", "the answer shows another address")
    stored = {email for email, _ in (await ground.state()).users}
    hold(stored == {"new@example.com"}, "another address is stored")


@holds()
async def change_to_a_taken_address_is_refused(ground: Ground) -> None:
    """A change to somebody's address is refused and changes nothing."""
    await ground.sign_up("ann@example.com", "ann")
    user_id = await ground.a_user()
    before = await ground.state()

    answer = await ground.change_email(user_id, "ann@example.com")

    hold(answer.status_code in TAKEN, f"answered {answer.status_code}")
    hold(await ground.state() == before, "something was written")


@holds()
async def change_of_nobody_is_404(ground: Ground) -> None:
    """Nobody's address can't be changed."""
    answer = await ground.change_email(uuid.uuid4(), "new@example.com")

    hold(answer.status_code == 404, f"answered {answer.status_code}")


@holds()
async def erased_user_is_gone_with_everything(ground: Ground) -> None:
    """Erasing takes the user and their sessions, nobody else's, and leaves one audit row."""
    user_id, other_id = await ground.a_user(), await ground.a_user()

    answer = await ground.erase(user_id)

    state = await ground.state()
    hold(answer.status_code == 204, f"answered {answer.status_code}")
    hold(len(state.users) == 1, f"{len(state.users)} users are left of two")
    hold(set(state.sessions) == {other_id}, "the wrong sessions are left")
    hold(state.audit == ((user_id, "user.erased"),), f"the audit tells {len(state.audit)} events")


@holds(row=1, breaks="ab")
async def of_fifty_sign_ups_one_is_made(ground: Ground) -> None:
    """Of fifty at once with one address one is made, and 49 are told that it is taken."""
    await _fill_the_pool(ground)

    answers = await _at_once(lambda n: ground.sign_up("ann@example.com", f"ann{n}"))

    _one_wins(answers, 201)
    hold(len((await ground.state()).users) == 1, "more than one is stored")


@holds(row=1, breaks="ab")
async def of_fifty_moves_to_one_address_one_is_made(ground: Ground) -> None:
    """Of fifty users who move to one address at once one does, and 49 are told it is taken."""
    ids = [await ground.a_user(sessions=0) for _ in range(CALLERS)]
    await _fill_the_pool(ground)

    answers = await _at_once(lambda n: ground.change_email(ids[n], "one@example.com"))

    _one_wins(answers, 200)


@holds(row=2, breaks="ab")
async def taken_username_is_told(ground: Ground) -> None:
    """A taken username is refused like a taken address, and both are told at once."""
    await ground.sign_up("ann@example.com", "ann")

    name = await ground.sign_up("other@example.com", "ann")
    both = await ground.sign_up("ann@example.com", "ann")

    hold(name.status_code in TAKEN, f"a taken username answers {name.status_code}")
    hold("sername" in name.text, "the username is not told")
    hold("mail" in both.text and "sername" in both.text, "one of two taken fields is told")


@holds(row=2, breaks="ab")
async def of_fifty_sign_ups_with_one_name_one_is_made(ground: Ground) -> None:
    """Of fifty at once with one username one is made, and 49 are told that it is taken."""
    await _fill_the_pool(ground)

    answers = await _at_once(lambda n: ground.sign_up(f"ann{n}@example.com", "ann"))

    _one_wins(answers, 201)


@holds(row=3, breaks="a")
async def answers_tell_no_sql_and_no_value(ground: Ground) -> None:
    """No refusal and no failure tells SQL, the driver's words, or a stored value."""
    await ground.sign_up("ann@example.com", "canary")
    user_id = await ground.a_user()
    answers = [await ground.sign_up("other@example.com", "canary")]
    async with failing_commit(ground.watcher, "users"):
        answers.append(await ground.sign_up("third@example.com", "third"))
        answers.append(await ground.change_email(user_id, "fourth@example.com"))
        answers.append(await ground.erase(user_id))

    for answer in answers:
        for word in ("INSERT", "UPDATE", "DELETE", "asyncpg", "sqlalche", "$argon2", "late"):
            hold(word not in answer.text, f"an answer of {answer.status_code} tells {word!r}")


@holds(row=4, breaks="a")
async def fifty_different_sign_ups_all_succeed(ground: Ground) -> None:
    """Fifty at once who have nothing to do with each other all get their account."""
    answers = await _at_once(lambda n: ground.sign_up(f"u{n}@example.com", f"u{n}"))

    told = _told(answers)
    hold(told == {201: CALLERS}, f"of fifty strangers at once {_words(told)}")
    hold(len((await ground.state()).users) == CALLERS, "not all are stored")


@holds(row=4, breaks="a")
async def failure_of_one_leaves_the_next_alone(ground: Ground) -> None:
    """After a connection broke at any statement the next caller is served."""
    for cut in range(1, MOST_STATEMENTS):
        user_id = await ground.a_user()
        with cutting_the_wire(cut) as sent:
            await ground.change_email(user_id, f"moved{cut}@example.com")
        answer = await ground.sign_up(f"next{cut}@example.com", f"next{cut}")
        hold(answer.status_code == 201, f"after a break the next is answered {answer.status_code}")
        if len(sent) < cut:
            return


@holds(row=4, breaks="a")
async def no_transaction_stays_open(ground: Ground) -> None:
    """Once a call is answered, whatever the answer, no transaction stands open."""
    await ground.sign_up("ann@example.com", "ann")
    await ground.sign_up("ann@example.com", "bob")
    await ground.change_email(uuid.uuid4(), "new@example.com")
    await asyncio.sleep(0.02)

    count = await others(ground.watcher, "state LIKE 'idle in transaction%'")
    hold(count == 0, f"{count} transaction is still open after the last answer")


@holds()
async def crash_at_any_statement_leaves_all_or_nothing(ground: Ground) -> None:
    """The process is killed after each statement of each scenario: all is stored, or nothing."""
    for crash in await crash_after_each_statement(ground):
        hold(crash.is_whole, f"killed after statement {crash.after} of {crash.scenario}: a part")
        hold(crash.is_kept, f"{crash.scenario} was answered, and is not stored")


@holds()
async def broken_connection_leaves_all_or_nothing(ground: Ground) -> None:
    """The connection breaks after each statement: all is stored, or nothing, as the answer says."""
    for name in _acts(ground):
        for cut in range(1, MOST_STATEMENTS):
            async with open_ground(ground.letter, ground.url) as fresh:
                if not await _breaks_whole(fresh, name, cut):
                    break


@holds()
async def commit_that_fails_is_never_a_success(ground: Ground) -> None:
    """When COMMIT fails, nothing is stored and the answer is no 2xx."""
    user_id = await ground.a_user()
    before = await ground.state()
    async with failing_commit(ground.watcher, "users"):
        answers = [await act(user_id, 0) for act in _acts(ground).values()]

    told = _told(answers)
    hold(all(status >= 400 for status in told), f"where COMMIT fails {_words(told)}")
    hold(await ground.state() == before, "something is stored")


@holds()
async def refused_second_step_leaves_the_first_undone(ground: Ground) -> None:
    """When the audit can't be written, the erasure has not happened either."""
    user_id = await ground.a_user()
    before = await ground.state()
    await ground.watcher.execute("ALTER TABLE audit_events ADD CONSTRAINT no_room CHECK (false)")
    try:
        answer = await ground.erase(user_id)
    finally:
        await ground.watcher.execute("ALTER TABLE audit_events DROP CONSTRAINT no_room")

    hold(answer.status_code >= 400, f"answered {answer.status_code}")
    hold(await ground.state() == before, "a part is stored")


@holds(row=10, breaks="b")
async def erasing_nobody_is_told(ground: Ground) -> None:
    """Erasing somebody who isn't there is a 404, and the audit tells of no erasure."""
    answer = await ground.erase(uuid.uuid4())

    hold(answer.status_code == 404, f"erasing nobody is answered {answer.status_code}")
    hold((await ground.state()).audit == (), "the audit tells of an erasure")


@holds(row=13, breaks="ab")
async def two_spellings_are_one_person(ground: Ground) -> None:
    """An address in another letter case is the same address."""
    await ground.sign_up("ann@example.com", "ann")

    answer = await ground.sign_up("ANN@Example.com", "bob")

    hold(answer.status_code in TAKEN, f"another spelling is answered {answer.status_code}")


@holds(row=20, breaks="ab")
async def dead_connection_does_not_reach_the_caller(ground: Ground) -> None:
    """After the server has ended every idle connection the next caller is served."""
    await ground.a_user()
    await end_others(ground.watcher)

    answer = await ground.sign_up("ann@example.com", "ann")

    hold(
        answer.status_code == 201,
        f"after a restart the next is answered {answer.status_code}",
    )


@holds(row=22, breaks="ab")
async def change_over_a_newer_version_is_refused(ground: Ground) -> None:
    """Of two who read the same version the second is told, and overwrites nothing."""
    user_id = await ground.a_user()
    version = (await ground.change_email(user_id, "read@example.com")).json()["version"]
    await ground.change_email(user_id, "first@example.com", version)

    answer = await ground.change_email(user_id, "second@example.com", version)

    hold(version is not None, "there is no version")
    hold(answer.status_code == 412, f"answered {answer.status_code}")


@holds(row=23, breaks="ab")
async def new_account_waits_for_its_confirmation(ground: Ground) -> None:
    """An account whose address nobody has confirmed can't be used."""
    answer = await ground.sign_up("somebody.else@example.com", "ann")

    hold(answer.json()["is_active"] is False, "a stranger's address makes an active account")


@holds(row=24, breaks="ab")
async def taken_is_a_conflict(ground: Ground) -> None:
    """A taken address is answered 409 with a stable code."""
    await ground.sign_up("ann@example.com", "ann")

    answer = await ground.sign_up("ann@example.com", "bob")

    hold(answer.status_code == 409, f"a taken address is answered {answer.status_code}")
    hold(answer.json().get("code") == "email_taken", "there is no code")


async def _fill_the_pool(ground: Ground) -> None:
    """Connect first: or the fastest is done before the others are connected, and nobody races."""
    await _at_once(lambda _: ground.change_email(uuid.uuid4(), "x@example.com"))


async def _at_once(act: Callable[[int], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """Let fifty callers act at once; who is told to come back (503, Retry-After) does."""

    async def patiently(number: int) -> httpx.Response:
        answer = await act(number)
        for _ in range(MOST_TRIES):
            if answer.status_code != 503 or "Retry-After" not in answer.headers:
                break
            answer = await act(number)
        return answer

    return await asyncio.gather(*(patiently(number) for number in range(CALLERS)))


def _told(answers: list[httpx.Response]) -> dict[int, int]:
    return dict(sorted(Counter(answer.status_code for answer in answers).items()))


def _words(told: dict[int, int]) -> str:
    return ", ".join(f"{count} are answered {status}" for status, count in told.items())


def _one_wins(answers: list[httpx.Response], success: int) -> None:
    told = _told(answers)
    refused = sum(count for status, count in told.items() if status in TAKEN)
    hold((told.get(success), refused) == (1, len(answers) - 1), f"of fifty at once {_words(told)}")


def _acts(
    ground: Ground,
) -> dict[str, Callable[[uuid.UUID, int], Awaitable[httpx.Response]]]:
    """Give the three scenarios, each for a user and a number that makes it new."""
    return {
        "create_user": lambda _, n: ground.sign_up(f"c{n}@example.com", f"c{n}"),
        "change_email": lambda user_id, n: ground.change_email(user_id, f"m{n}@example.com"),
        "delete_user": lambda user_id, _: ground.erase(user_id),
    }


def _is_done(name: str, before: State, after: State, user_id: uuid.UUID) -> bool | None:
    """Whether a scenario has happened; None when a part of it has."""
    if after == before:
        return False
    has_sessions = user_id in after.sessions
    is_recorded = (user_id, "user.erased") in after.audit
    is_there = len(after.users) >= len(before.users)
    is_erasure = name == "delete_user"
    whole = (has_sessions, is_recorded, is_there) == (not is_erasure, is_erasure, not is_erasure)
    return True if whole else None


async def _breaks_whole(ground: Ground, name: str, cut: int) -> bool:
    """Break the wire after the n-th statement and look; whether there was an n-th."""
    user_id = await ground.a_user()
    before = await ground.state()
    with cutting_the_wire(cut) as sent:
        answer = await _acts(ground)[name](user_id, cut)
    is_done = _is_done(name, before, await _settled(ground), user_id)
    hold(is_done is not None, f"broken after statement {cut} of {name}: a part is stored")
    hold(answer.status_code >= 300 or is_done, f"{name} is answered and not stored")
    return len(sent) >= cut


async def _settled(ground: Ground) -> State:
    """Look at what is stored once no statement runs any more."""
    await until_no_others(ground.watcher, "state = 'active'")
    return await ground.state()
