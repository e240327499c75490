"""What one process has done since it began, in plain numbers; `denizen.metrics` tells them.

Names and limits of the values are the program's own: routes, methods, limits, kinds of outcome.
Nothing that came with a request stands here.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final, Literal

from denizen.db.tally import Durations

MailOutcome = Literal["sent", "dropped", "put_off", "given_up"]
STATUS_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class RequestTally:
    """The requests of one method and route.

    Attributes:
        durations: how long they took, from the head to the end of the answer.
        statuses: how many had an answer of each of `STATUS_CLASSES`.
    """

    __slots__ = ("durations", "statuses")

    def __init__(self) -> None:
        self.durations = Durations()
        self.statuses = [0] * len(STATUS_CLASSES)


@dataclass(slots=True)
class Tally:
    """What happened in this process.

    Attributes:
        requests: by method and route.
        throttled: tries that were refused, by the limit.
        mails: tries to hand one over, by their outcome.
    """

    requests: defaultdict[tuple[str, str], RequestTally] = field(
        default_factory=lambda: defaultdict(RequestTally)
    )
    throttled: Counter[str] = field(default_factory=Counter)
    mails: Counter[MailOutcome] = field(default_factory=Counter)
