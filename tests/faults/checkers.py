"""What a history and the rows that are there must fulfil: pure functions, empty when all is well.

Each is seen to find what it is there for, on a history made for it (`test_checkers.py`) and on a
service that is broken on purpose (`test_controls.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from faults.recorder import Outcome, Try


@dataclass(frozen=True, slots=True)
class Sets:
    """How the acts that were told and the rows that are there differ.

    Attributes:
        lost: told to be done, and not there.
        phantom: told not to be done, and there.
        doubled: there more than once.
        unresolved: nobody was told, however often they asked.
    """

    lost: set[str] = field(default_factory=set)
    phantom: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    unresolved: set[str] = field(default_factory=set)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong; what nobody was told may be there or not."""
        return not (self.lost or self.phantom or self.doubled)


def compare(told: Mapping[str, Outcome], rows: Iterable[str]) -> Sets:
    """Give what is wrong with the rows, each named by its act."""
    there = Counter(rows)
    by: defaultdict[Outcome, set[str]] = defaultdict(set)
    for value, outcome in told.items():
        by[outcome].add(value)
    return Sets(
        lost=by["ok"] - there.keys(),
        phantom=by["fail"] & there.keys(),
        doubled={value for value, count in there.items() if count > 1},
        unresolved=by["info"],
    )


def shared(values: Iterable[str], same: Callable[[str], str]) -> set[str]:
    """Give what more than one has, where what is the same by that function may be there once."""
    return {value for value, count in Counter(map(same, values)).items() if count > 1}


def used_again(tries: Iterable[Try], kind: str = "consume") -> set[str]:
    """Give the tokens that were good more than once."""
    good = Counter(one.value for one in tries if one.kind == kind and one.outcome == "ok")
    return {value for value, count in good.items() if count > 1}


def alive_after_revocation(
    tries: Iterable[Try], *, use: str = "use", revoke: str = "revoke"
) -> set[str]:
    """Give the sessions that let somebody in who asked after their revocation was told."""
    tries = list(tries)
    dead: dict[str, float] = {}
    for one in tries:
        if one.kind == revoke and one.outcome == "ok":
            dead[one.value] = min(one.ended, dead.get(one.value, one.ended))
    never = float("inf")
    return {
        one.value
        for one in tries
        if one.kind == use and one.outcome == "ok" and one.began > dead.get(one.value, never)
    }


def without_mail(told: Mapping[str, Outcome], mails: Iterable[str]) -> set[str]:
    """Give the acts that were told to be done and whose mail is not in the outbox."""
    return {value for value, outcome in told.items() if outcome == "ok"} - set(mails)


def audited_otherwise(rows: Iterable[str], events: Iterable[str]) -> set[str]:
    """Give the acts that the audit log tells more or less often than they happened."""
    happened, told = Counter(rows), Counter(events)
    return {value for value in happened | told if happened[value] != told[value]}
