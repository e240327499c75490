"""What `make bench` measured, beside what was wanted."""

import statistics
from collections.abc import Iterator
from typing import Any

from bench.programs import HAND, OURS

Figures = dict[str, Any]


def goals(figures: Figures) -> Iterator[tuple[str, str]]:
    """Give each goal: what was measured, and what was wanted."""
    reads = figures["who_am_i"]
    yield f"who am I: {spread(reads[OURS], reads[HAND])} of the hand-written one", ">=0.80 (0.60)"
    for peer, goal in (("fastapi-users 15.0.5, database tokens", 6), ("better-auth 1.7.25", 4)):
        if peer in reads:
            yield f"who am I: {spread(reads[OURS], reads[peer])} of {peer}", f">={goal}"
    ratio = figures["get_by_id"]
    yield f"get_by_id: {ratio:.2f} of the same ORM read by hand", "<=1.3"
    storms = figures["storm"][OURS]
    ours, by_hand = (_of_the_limit(figures, name) for name in (OURS, HAND))
    said = f"{ours:.2f} of cores / time of a hash (by hand: {by_hand:.2f})"
    yield f"sign-ins alone: {said}", ">=0.9"
    worst = statistics.median(one["storm_p99_ms"] for one in storms)
    yield f"reads in a storm: p99 {worst:.0f} ms", "<=100 ms"
    kept = statistics.median(one["storm_reads_s"] / one["calm_reads_s"] for one in storms)
    yield f"reads in a storm: {kept:.0%} of calm", ">=30 %"
    share = statistics.median(one["storm_sign_ins_s"] / one["alone_s"] for one in storms)
    yield f"sign-ins in a storm: {share:.2f} of alone", ">=0.5"
    beyond = figures["beyond"]
    yield f"beyond the limit: refused within {beyond['refused_max_ms'] or 0:.0f} ms", "<=1000 ms"
    pages = figures["lists"]["pages"]
    said = (
        f"{pages['first_buffers']} and {pages['deep_buffers']} blocks, ratio {pages['ratio']:.2f}"
    )
    yield f"first page and last page: {said}", "the same, <=1.2"
    searches = figures["lists"]["searches"].values()
    yield f"search: slowest p95 {max(one['plain'] for one in searches):.0f} ms", "<=50 ms"
    filtered = max(one["filtered"] for one in searches)
    yield f"search with a filter: slowest p95 {filtered:.0f} ms", "<=500 ms"
    bulk = figures["bulk"]
    yield f"import: {spread(bulk['COPY'], bulk['import'])} of a bare COPY", ">=0.5"
    yield f"import: {bulk['peak_bytes'] / 2**20:.0f} MiB in all its processes", "<=200 MB"
    yield f"export: {spread(bulk['COPY TO'], bulk['export'])} of COPY TO", ">=0.5"
    yield f"second start: {figures['second_start_s']:.2f} s to the first answer", "<=3 s"


def _of_the_limit(figures: Figures, name: str) -> float:
    """Give what part of the sign-ins a second that the cores could hash a program had alone."""
    rounds = figures["storm"][name]
    found = (one["alone_s"] * one["hash_seconds"] / figures["cores"] for one in rounds)
    return float(statistics.median(found))


def spread(mine: list[float], theirs: list[float]) -> str:
    """Give the ratios of rounds: their median, the lowest and the highest."""
    ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
