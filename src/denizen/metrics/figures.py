"""What one process has to say, family by family, and how figures of several are added."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from denizen.db.manager import DBSessionManager
from denizen.db.tally import Durations
from denizen.parts import Parts
from denizen.tally import STATUS_CLASSES

Kind = Literal["counter", "gauge", "histogram"]
# by the values of a family's labels: a number, or the counts of a histogram and their sum
Series = Mapping[tuple[str, ...], Sequence[float]]
Figures = Mapping[str, Series]


@dataclass(frozen=True, slots=True)
class Family:
    """A family of figures: its name, what kind it is, what its labels are called, what it means."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


_POOL: Final = ("server",)  # `primary`, and `replica` where there are any
_OF_A_PROCESS: Final = (
    Family(
        "denizen_requests",
        "counter",
        ("method", "route", "status"),
        "Requests answered, by the class of the status; none: nobody waited for the answer.",
    ),
    Family(
        "denizen_request_seconds",
        "histogram",
        ("method", "route"),
        "From the head of a request to the end of its answer.",
    ),
    Family("denizen_statement_seconds", "histogram", (), "SQL statements, answered or refused."),
    Family(
        "denizen_reruns",
        "counter",
        ("sqlstate_class",),
        "Units of work run again, by the class of the SQLSTATE; none: nobody answered.",
    ),
    Family("denizen_pool_size", "gauge", _POOL, "Database connections that may be open."),
    Family("denizen_pool_in_use", "gauge", _POOL, "Database connections that are in use."),
    Family("denizen_pool_waits", "counter", _POOL, "Times that all connections were in use."),
    Family("denizen_pool_timeouts", "counter", _POOL, "Times that none became free in time."),
    Family("denizen_replica_misses", "counter", (), "Reads that no replica could answer."),
    Family("denizen_hashes", "counter", (), "Password hashes computed."),
    Family("denizen_hashes_refused", "counter", (), "Hashes refused since the queue was full."),
    Family("denizen_hash_queue_waiting", "gauge", (), "Places taken in the queue for hashing."),
    Family("denizen_hash_queue_running", "gauge", (), "Hashes that are being computed."),
    Family("denizen_throttled", "counter", ("limit",), "Tries refused, by the limit reached."),
    Family(
        "denizen_mails",
        "counter",
        ("outcome",),
        "Mails handed over, dropped since nothing was to be sent any more, put off, given up.",
    ),
    Family("denizen_processes", "gauge", (), "Processes of the service that are alive."),
)
_OF_THE_DATABASE: Final = (
    Family("denizen_database_up", "gauge", (), "Whether the database answered just now."),
    Family("denizen_outbox_waiting", "gauge", (), "Mails that wait to be sent."),
    Family("denizen_outbox_age_seconds", "gauge", (), "Age of the mail that waits longest; or 0."),
)
FAMILIES: Final = _OF_A_PROCESS + _OF_THE_DATABASE


def figures_of(parts: Parts[Any]) -> Figures:
    """Give what this process has done so far, and how it is at the moment."""
    tally, data, hasher = parts.tally, parts.db.tally, parts.hasher
    found: dict[str, Series] = {
        "denizen_requests": {
            (*name, status): [count]
            for name, one in tally.requests.items()
            for status, count in zip(STATUS_CLASSES, one.statuses, strict=True)
            if count
        },
        "denizen_request_seconds": {n: _told(r.durations) for n, r in tally.requests.items()},
        "denizen_statement_seconds": {(): _told(data.statements)},
        "denizen_reruns": _counted(data.reruns),
        "denizen_throttled": _counted(tally.throttled),
        "denizen_mails": _counted(tally.mails),
        **_pools(parts.db),
    }
    plain = {
        "denizen_replica_misses": parts.db.missed,
        "denizen_hashes": hasher.evaluations,
        "denizen_hashes_refused": hasher.queue.refused,
        "denizen_hash_queue_waiting": hasher.queue.waiting,
        "denizen_hash_queue_running": hasher.queue.running,
        "denizen_processes": 1,
    }
    return found | {name: {(): [value]} for name, value in plain.items()}


def without_gauges(figures: Figures) -> Figures:
    """Give what stays true of a process that is gone."""
    gauges = {family.name for family in FAMILIES if family.kind == "gauge"}
    return {name: series for name, series in figures.items() if name not in gauges}


def added(all_figures: Iterable[Figures]) -> Figures:
    """Give the figures of several processes as those of one."""
    total: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for figures in all_figures:
        for name, series in figures.items():
            sums = total.setdefault(name, {})
            for labels, values in series.items():
                before = sums.get(labels, [0] * len(values))
                sums[labels] = [a + b for a, b in zip(before, values, strict=True)]
    return total


def _pools(db: DBSessionManager) -> Figures:
    pools = {("primary",): db.pool}
    if db.replica_pool is not None:
        pools["replica",] = db.replica_pool
    return {
        "denizen_pool_size": {name: [pool.size] for name, pool in pools.items()},
        "denizen_pool_in_use": {name: [pool.in_use] for name, pool in pools.items()},
        "denizen_pool_waits": {name: [pool.waited] for name, pool in pools.items()},
        "denizen_pool_timeouts": {name: [pool.timed_out] for name, pool in pools.items()},
    }


def _told(durations: Durations) -> list[float]:
    return [*durations.counts, durations.total]


def _counted(counts: Mapping[Any, int]) -> Series:
    return {(str(name),): [count] for name, count in counts.items()}
